// What the kernels of layout kTiles are started with, and how they share out the work.
#pragma once

#include "cuda/attention_token.h"
#include "cuda/tiles.h"
#include "ops/args.h"

namespace lowbit::cuda {

inline constexpr int kLogTileWarps = 4, kTileWarps = 1 << kLogTileWarps;
inline constexpr int kTileThreads = kTileWarps * 32;
inline constexpr int kMaxTokens = 32;  // rows of x in one launch
inline constexpr int kMaxSlots = 8;    // of a warp's ring

// As what the tensor cores see a number of x.
enum class XTerms : uint8_t {
  kF16,        // of the number divided by a power of two of its token's (of one token alone: of the
               // columns of a warp)
  kTwoBf16,    // a sum of two bf16, the second in row m + t
  kFixed,      // 256 high + low, bytes with a sign, in units of its token's: of 64 columns the low
               // bytes, then the high ones
  kPlanes,     // whole numbers of 16 bits in units of a warp's columns, as planes of their bits
               // (products_planes.cuh)
  kPanelF16,   // as kF16, in panels
  kPanelBf16,  // rounded to bf16, in panels
};
constexpr bool in_panels(XTerms x) { return x == XTerms::kPanelF16 || x == XTerms::kPanelBf16; }

// Units that a product takes at once: a warp's columns of x end with a whole one.
constexpr int units_at_once(XTerms x) { return x == XTerms::kPlanes ? 4 : 1; }
LB_HOST_DEVICE constexpr int own_units(int units, XTerms x) {
  return (units + units_at_once(x) - 1) / units_at_once(x) * units_at_once(x);
}

// In panels x lies unit after unit for so many tokens at a time, each 128 bytes of a unit, in the
// swizzle of wgmma_panel().
inline constexpr int kPanelTokens = 256;
inline constexpr int kMostBatch = 256;  // tokens that go by 32 or 64 instead (batch.cuh)

// Of 8 columns.
constexpr int tokens_of_mma(XTerms x) {
  return x == XTerms::kPlanes ? 1 : x == XTerms::kFixed ? 4 : 8;
}
constexpr int rows_of_token(XTerms x) { return x == XTerms::kTwoBf16 ? 2 : 1; }

// x as the kernels multiply it, columns in the order of a unit's lanes.
struct StagedX {
  uint16_t* x;    // [rows, row_halves]
  float* sums;    // [units * sums_per_unit, pitch]: of what stands for x
  int32_t pitch;  // tokens, padded to whole tensor-core tiles
  int32_t row_halves;
};

// In tiles.cuh a CTA takes tiles blockIdx.x + i gridDim.x. 2^log_parts warps share a tile along k
// and 16 / 2^log_parts tiles are under way at once; x is taken in chunks of blocks where not all of
// it fits.
struct TileArgs {
  LinearArgs linear;
  TileShape shape;
  StagedX prepared;        // in global memory; null where the kernel stages its one token itself
  float* prepared_scale;   // [m] beside it, of panels
  int32_t panel_tokens;    // where x is prepared in panels
  int32_t panels;          // of x in shared memory at once
  int32_t slices;          // of k, a CTA for each (batch.cuh)
  int32_t token_blocks;    // of panel_tokens
  int32_t items;           // of a batch: row blocks x token blocks x slices
  float* sliced;           // [slices, m, rows of all tiles]: sums where there are several slices
  int32_t token_ctas;      // that share the columns of a token when it is staged: a power of two
  float* squares;          // [m, kTileWarps]: sums of x^2, of what is normalised after the sums
  int32_t sums_per_unit;   // of x: 0, 1, 2 or 4
  int32_t tokens_inverse;  // 2^16 / m, rounded up
  bool plain_x;            // f32 in fours, of a width that a CTA takes at once
  int32_t chunk_blocks, chunks;
  int32_t log_parts, rounds;
  int32_t flush_rounds;  // rounds between two sums over parts
  int32_t piece_blocks;
  int32_t slot_bytes, slots;
  int32_t x_bytes;  // in shared memory: of one chunk's StagedX, or of a warp's columns

  // Of number i where each slot has m of them, i < 2^11.
  LB_HOST_DEVICE int slot_of(int i) const { return i * tokens_inverse >> 16; }
};

// Numbers on their way from CTA to CTA (mail.cuh).
inline constexpr int32_t kMailPlaces = 1 << 18;  // of one launch
inline constexpr int32_t kMostPosted = 14336;    // columns of an x
struct MailArgs {
  float* places;         // [2, kMailPlaces]
  uint32_t* departures;  // of CTAs
};

// How an op waits for what those before it in its launch wrote.
enum class Wait : uint8_t {
  kNothing,  // it needs none of it
  kMail,     // its x comes by mail
  kAll,      // until every CTA has come as far
};

struct ChainedOp {
  TileArgs tile;           // of a Linear
  int32_t attention = -1;  // which one of the chain it is; of a Linear -1
  Wait wait;
  int32_t x_place;  // of the mail, under kMail: row t is at x_place + t * x_row
  int32_t x_row;
  int32_t y_place;  // [m, y_row] of the mail; -1 where nobody needs y from there
  int32_t y_row;
  int32_t scales_place;  // [m]: of the prepared x
  int32_t looks_place;   // [m, 2, kTileWarps]: what warps saw of a token (batch.cuh)
};

// What one launch makes one after the other: Linears, the first op being one, and between those of
// one token its attention (tiles_token.cuh).
struct ChainArgs {
  static constexpr int kMost = 8;
  int32_t partial_bytes;  // of shared memory, for the sums of parts of tiles
  int32_t own_bytes;      // there, of a warp for the columns that it stages (tiles_token.cuh)
  bool posts;             // something goes by mail (tiles.cuh)
  uint64_t* barrier;      // arrivals of CTAs, never reset
  uint64_t* staged;       // the same, of those that have staged their tokens (batch.cuh)
  MailArgs mail;
  int32_t count;
  ChainedOp ops[kMost];
};
// The attentions among them; where the token's positions are is looked up once for all.
struct TokenAttentions {
  static constexpr int kMost = 2;
  int32_t count;
  TokenAttention at[kMost];
};

}  // namespace lowbit::cuda
