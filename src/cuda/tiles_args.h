// What the kernels of layout kTiles are started with, and how they share out the work.
#pragma once

#include "cuda/tiles.h"
#include "ops/args.h"

namespace lowbit::cuda {

inline constexpr int kLogTileWarps = 4, kTileWarps = 1 << kLogTileWarps;
inline constexpr int kTileThreads = kTileWarps * 32;
inline constexpr int kMaxTokens = 32;  // rows of x in one launch
inline constexpr int kMaxSlots = 8;    // of a warp's ring

// x as the kernels multiply it: f16 (or bf16 in two terms), columns in the order of a unit's lanes,
// every token divided by a power of two of its own.
struct StagedX {
  uint16_t* x;    // [rows, row_halves]: rows = m, or 2 m for the two terms of bf16
  float* sums;    // [units * sums_per_unit, pitch]: of the f16
  int32_t pitch;  // tokens, padded to whole tensor-core tiles
  int32_t row_halves;
};

// A CTA takes tiles blockIdx.x + i gridDim.x. 2^log_parts warps share a tile along k and
// 16 / 2^log_parts tiles are under way at once; x is taken in chunks of blocks where not all of it
// fits.
struct TileArgs {
  LinearArgs linear;
  TileShape shape;
  StagedX prepared;       // in global memory; null where the kernel stages its one token itself
  float* prepared_scale;  // [m] beside it
  int32_t sums_per_unit;  // of x: 0, 1, 2 or 4
  int32_t chunk_blocks, chunks;
  int32_t log_parts, rounds;
  int32_t flush_rounds;  // rounds between two sums over parts
  int32_t piece_blocks, slot_bytes, slots;
  int32_t x_bytes;  // of one chunk's StagedX in shared memory
};

}  // namespace lowbit::cuda
