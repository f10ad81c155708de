// How a launch of batch_kernel (batch.cuh) shares out its work.
#pragma once

#include <cstddef>

#include "cuda/limits.h"
#include "cuda/tiles_args.h"

namespace lowbit::cuda {

// The start of the workspace: sums of as many slices as CTAs have, 256 rows of 64 tokens each, and
// the scales and squares of tokens. What is different for every Linear comes after it.
inline constexpr size_t kSlicedBytes = size_t{kMultiprocessors} * 256 * 64 * sizeof(float);
inline constexpr size_t kBatchBytes =
    kSlicedBytes + size_t{kMostBatch} * (1 + kTileWarps) * sizeof(float);
inline constexpr int kBatchPanels = 4;  // of full size, in shared memory

// Into how many slices k is cut, where so many blocks of rows and tokens are made: as many as leave
// all of them room at once.
int slices_of(const TileShape& shape, int blocks);

// How many CTAs share a token of m.
int token_ctas_of(int m);

// Whether a Linear can be made in the launch of those before it: their streams are alike, and what
// it reads of them are rows of its own tokens.
bool follows(const ChainArgs& chain, const TileArgs& a);

}  // namespace lowbit::cuda
