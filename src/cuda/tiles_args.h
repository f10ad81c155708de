// What the kernels of layout kTiles are started with, and how they share out the work.
#pragma once

#include "cuda/tiles.h"
#include "ops/args.h"

namespace lowbit::cuda {

inline constexpr int kTileWarps = 16;
inline constexpr int kTileThreads = kTileWarps * 32;
inline constexpr int kMaxTokens = 32;  // rows of x in one launch
inline constexpr int kMaxSlots = 8;    // of a warp's ring

// x as the kernels multiply it: f16 (or bf16 in two terms), columns in the order of a unit's lanes,
// every 64 columns of a token divided by a power of two of their own.
struct StagedX {
  uint16_t* x;    // [rows, row_halves]: rows = m, or 2 m for the two terms of bf16
  float* scale;   // [units, pitch]
  float* sums;    // [units * groups per unit, pitch]: of the numbers, not of their f16
  int32_t pitch;  // tokens, padded to whole tensor-core tiles
  int32_t row_halves;
};

// A CTA takes tiles blockIdx.x + i gridDim.x. `parts` warps share a tile along k and 16 / parts
// tiles are under way at once; x is taken in chunks of blocks where not all of it fits.
struct TileArgs {
  LinearArgs linear;
  TileShape shape;
  StagedX prepared;     // in global memory, where x is taken in chunks; else null
  int32_t chunk_blocks, chunks;
  int32_t parts, rounds;
  int32_t flush_rounds;  // rounds between two sums over parts
  int32_t piece_blocks, slot_bytes, slots;
  int32_t x_bytes;  // of one chunk's StagedX in shared memory
};

}  // namespace lowbit::cuda
