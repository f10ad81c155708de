// Which partition of the work a launch of tiles_kernel gets, and the launch.
#pragma once

#include "cuda/limits.h"
#include "cuda/tiles.cuh"

namespace lowbit::cuda {

// A kernel that is to start beside its predecessor gets half of an SM's shared memory.
constexpr int kWholeSm = 226 * 1024, kHalfSm = 112 * 1024;
constexpr int kStaticShared = 4 * 1024;
constexpr int kLeastRing = 48 * 1024;
constexpr int kPieceBytes = 2048;
constexpr int kPartialBytes = 16 * 1024;

constexpr int round_up(int value, int to) { return (value + to - 1) / to * to; }

// Of one chunk of x in shared memory.
inline int staged_bytes(const TileShape& s, int chunk_blocks, int rows, int pitch) {
  const int units = chunk_blocks * s.units;
  const int per_unit = s.zero == Zero::kNone ? 0 : s.group < kUnit ? kUnit / s.group : 1;
  return rows * (units * kUnit + 8) * 2 + units * pitch * 4 * (1 + per_unit);
}

// Parts of a tile that keep the CTA's warps busiest; of equals the fewest.
inline int best_parts(int tiles_per_cta, int blocks, int block_bytes) {
  int best = 1;
  double most = 0;
  for (int parts = 1; parts <= kTileWarps; parts *= 2) {
    if (parts > 1 && (blocks / parts < 1 || blocks / parts * block_bytes < 512)) break;
    const int rounds = (tiles_per_cta * parts + kTileWarps - 1) / kTileWarps;
    const double busy = static_cast<double>(tiles_per_cta * parts) / (rounds * kTileWarps);
    if (busy > most * 1.04) most = busy, best = parts;
  }
  return best;
}

struct TileLaunch {
  TileArgs args;
  int grid, shared_bytes;
};

inline TileLaunch plan_tiles(const LinearArgs& l, bool bf16, int pitch) {
  TileArgs a{};
  a.linear = l;
  a.shape = tile_shape(l.w, l.n, l.k);
  const int rows = (bf16 ? 2 : 1) * l.m;
  const int grid = a.shape.tiles < sm_count() ? a.shape.tiles : sm_count();
  const int partial = kPartialBytes > kTileWarps * l.m * kTileRows * 4
                          ? kPartialBytes
                          : kTileWarps * l.m * kTileRows * 4;
  int room = kHalfSm - kStaticShared - partial;
  a.chunk_blocks = a.shape.blocks;
  a.x_bytes = staged_bytes(a.shape, a.chunk_blocks, rows, pitch);
  if (a.x_bytes > room - kLeastRing) room = kWholeSm - kStaticShared - partial;
  int x_total = a.x_bytes;
  while (x_total > room - kLeastRing) {  // two chunks at a time instead of all of x
    a.chunk_blocks = (a.chunk_blocks + 1) / 2;
    a.x_bytes = staged_bytes(a.shape, a.chunk_blocks, rows, pitch);
    x_total = 2 * a.x_bytes;
  }
  a.chunks = (a.shape.blocks + a.chunk_blocks - 1) / a.chunk_blocks;
  const int tiles_per_cta = (a.shape.tiles + grid - 1) / grid;
  a.parts = best_parts(tiles_per_cta, a.chunk_blocks, a.shape.block_bytes);
  a.rounds = (tiles_per_cta * a.parts + kTileWarps - 1) / kTileWarps;
  a.flush_rounds = partial / (kTileWarps * l.m * kTileRows * 4);
  const int part_blocks = (a.chunk_blocks + a.parts - 1) / a.parts;
  a.piece_blocks = kPieceBytes / a.shape.block_bytes;
  if (a.piece_blocks < 1) a.piece_blocks = 1;
  if (a.piece_blocks > part_blocks) a.piece_blocks = part_blocks;
  a.slot_bytes = a.piece_blocks * a.shape.block_bytes;
  a.slots = (room - x_total) / kTileWarps / a.slot_bytes;
  if (a.slots > kMaxSlots) a.slots = kMaxSlots;
  const int shared = kTileWarps * a.slots * a.slot_bytes + x_total + partial;
  return {a, grid, shared};
}

// Where x is prepared in global memory, of at most kMaxTokens tokens.
inline size_t prepared_bytes(const TileShape& s, int rows, int pitch) {
  return static_cast<size_t>(staged_bytes(s, s.blocks, rows, pitch));
}

// One CTA for each token.
template <bool kBf16>
__global__ void __launch_bounds__(kTileThreads)
    prepare_kernel(const __grid_constant__ TileArgs a) {
  __shared__ float squares[kNormWarps];
  pdl_launch_dependents();
  pdl_wait();
  const int t = blockIdx.x;
  const LinearArgs& l = a.linear;
  __shared__ float inverse[kMaxTokens];
  if (l.norm_weight) {
    const float sum = warp_squares(static_cast<const float*>(l.x.data) + t * l.x.ld, l.k);
    if (threadIdx.x % 32 == 0) squares[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x == 0) inverse[t] = inverse_rms(squares, l.k, l.norm_eps);
    __syncthreads();
  }
  stage<kBf16>(l, a.shape, t, t + 1, a.shape.blocks * a.shape.units, inverse, a.prepared);
}

template <class W, bool kWhole, int kN>
void launch_few(const LinearArgs& l, cudaStream_t stream) {
  TileLaunch plan = plan_tiles(l, W::kBf16, kN * 8);
  TileArgs& a = plan.args;
  if (a.chunks > 1) {
    const int rows = (W::kBf16 ? 2 : 1) * l.m, units = a.shape.blocks * a.shape.units;
    a.prepared.pitch = kN * 8;
    a.prepared.row_halves = units * kUnit;
    a.prepared.x = static_cast<uint16_t*>(l.workspace);
    a.prepared.scale = reinterpret_cast<float*>(a.prepared.x + int64_t{rows} * a.prepared.row_halves);
    a.prepared.sums = a.prepared.scale + units * a.prepared.pitch;
    launch_pdl(prepare_kernel<W::kBf16>, l.m, kTileThreads, 0, stream, a);
  }
  static const bool allowed = [] {
    LB_CUDA(cudaFuncSetAttribute(tiles_kernel<W, kWhole, kN>,
                                 cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 kWholeSm - kStaticShared));
    return true;
  }();
  (void)allowed;
  launch_pdl(tiles_kernel<W, kWhole, kN>, plan.grid, kTileThreads, plan.shared_bytes, stream, a);
}

// Any number of tokens, up to 32 at a time.
template <class W, bool kAnyGroup = true>
void launch_tiles(const LinearArgs& args, Stream stream_) {
  const auto stream = static_cast<cudaStream_t>(stream_);
  for (int32_t t = 0; t < args.m; t += kMaxTokens) {
    LinearArgs l = rows_of(args, t, args.m - t < kMaxTokens ? args.m - t : kMaxTokens);
    const int32_t group = tile_shape(l.w, l.n, l.k).group;
    const bool whole = !kAnyGroup || group == 0 || group >= kUnit;
    if constexpr (kAnyGroup) {
      if (!whole) {
        l.m <= 8 ? launch_few<W, false, 1>(l, stream) : launch_few<W, false, 4>(l, stream);
        continue;
      }
    }
    l.m <= 8 ? launch_few<W, true, 1>(l, stream) : launch_few<W, true, 4>(l, stream);
  }
}

}  // namespace lowbit::cuda
