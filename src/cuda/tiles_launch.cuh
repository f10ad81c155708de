// Which partition of the work a launch of tiles_kernel gets, and the launch.
#pragma once

#include "cuda/limits.h"
#include "cuda/tiles.cuh"

namespace lowbit::cuda {

// A kernel that is to start beside its predecessor gets half of an SM's shared memory.
constexpr int kWholeSm = 226 * 1024, kHalfSm = 112 * 1024;
constexpr int kStaticShared = 2 * 1024;
constexpr int kLeastRing = 48 * 1024;
constexpr int kLeastSlots = 2;  // of a ring, where blocks are small enough
constexpr int kPartialBytes = 8 * 1024;

constexpr int round_up(int value, int to) { return (value + to - 1) / to * to; }

// Of one chunk of x in shared memory.
inline int staged_bytes(int units, int sums_per_unit, int rows, int pitch) {
  return rows * (units * kUnit + 8) * 2 + units * pitch * 4 * sums_per_unit;
}

// How many parts of a tile (as a power of two) keep the CTA's warps busiest; of equals the fewest.
inline int best_log_parts(int tiles_per_cta, int blocks, int block_bytes) {
  int best = 0;
  double most = 0;
  for (int log_parts = 0; log_parts <= kLogTileWarps; ++log_parts) {
    const int parts = 1 << log_parts;
    if (parts > 1 && (blocks < parts || blocks / parts * block_bytes < 512)) break;
    const int rounds = (tiles_per_cta * parts + kTileWarps - 1) / kTileWarps;
    const double busy = static_cast<double>(tiles_per_cta * parts) / (rounds * kTileWarps);
    if (busy > most * 1.04) most = busy, best = log_parts;
  }
  return best;
}

struct TileLaunch {
  TileArgs args;
  int grid, shared_bytes;
};

inline TileLaunch plan_tiles(const LinearArgs& l, const TileShape& shape, int sums_per_unit,
                             bool bf16, int pitch) {
  TileArgs a{};
  a.linear = l;
  a.shape = shape;
  a.sums_per_unit = sums_per_unit;
  const int rows = (bf16 ? 2 : 1) * l.m;
  const int grid = a.shape.tiles < sm_count() ? a.shape.tiles : sm_count();
  const int partial = kPartialBytes > kTileWarps * l.m * kTileRows * 4
                          ? kPartialBytes
                          : kTileWarps * l.m * kTileRows * 4;
  int room = kHalfSm - kStaticShared - partial;
  a.chunk_blocks = a.shape.blocks;
  a.x_bytes = staged_bytes(a.chunk_blocks * shape.units, sums_per_unit, rows, pitch);
  if (a.x_bytes > room - kLeastRing) room = kWholeSm - kStaticShared - partial;
  int x_total = a.x_bytes;
  while (x_total > room - kLeastRing) {  // two chunks at a time instead of all of x
    a.chunk_blocks = (a.chunk_blocks + 1) / 2;
    a.x_bytes = staged_bytes(a.chunk_blocks * shape.units, sums_per_unit, rows, pitch);
    x_total = 2 * a.x_bytes;
  }
  a.chunks = (a.shape.blocks + a.chunk_blocks - 1) / a.chunk_blocks;
  const int tiles_per_cta = (a.shape.tiles + grid - 1) / grid;
  a.log_parts = best_log_parts(tiles_per_cta, a.chunk_blocks, a.shape.block_bytes);
  const int parts = 1 << a.log_parts;
  a.rounds = (tiles_per_cta * parts + kTileWarps - 1) / kTileWarps;
  a.flush_rounds = partial / (kTileWarps * l.m * kTileRows * 4);
  const int part_blocks = (a.chunk_blocks + parts - 1) / parts;
  const int ring = (room - x_total) / kTileWarps;
  a.piece_blocks = ring / kLeastSlots / a.shape.block_bytes;
  if (a.piece_blocks < 1) a.piece_blocks = 1;
  if (a.piece_blocks > part_blocks) a.piece_blocks = part_blocks;
  a.slot_bytes = a.piece_blocks * a.shape.block_bytes;
  a.slots = ring / a.slot_bytes;
  if (a.slots > kMaxSlots) a.slots = kMaxSlots;
  const int shared = kTileWarps * a.slots * a.slot_bytes + x_total + partial;
  return {a, grid, shared};
}

// One CTA for each token.
template <bool kBf16>
__global__ void __launch_bounds__(kTileThreads) prepare_kernel(const __grid_constant__ TileArgs a) {
  __shared__ StageMemory memory;
  pdl_launch_dependents();
  prefetch_norm(a.linear);
  pdl_wait();
  const int t = blockIdx.x;
  const float scale = stage_token<kBf16>(a.linear, a.sums_per_unit, t,
                                         a.shape.blocks * a.shape.units, memory, a.prepared);
  if (threadIdx.x == 0) a.prepared_scale[t] = scale;
}

template <class W, class S, int kN>
void launch_kernel(const LinearArgs& l, const TileShape& shape, cudaStream_t stream) {
  const int sums = S::kZeros && shape.zero != Zero::kNone ? S::kGroups : 0;
  TileLaunch plan = plan_tiles(l, shape, sums, W::kBf16, kN * 8);
  TileArgs& a = plan.args;
  if (a.chunks > 1 || l.m > 1) {
    const int rows = (W::kBf16 ? 2 : 1) * l.m, units = shape.blocks * shape.units;
    a.prepared.pitch = kN * 8;
    a.prepared.row_halves = units * kUnit;
    a.prepared.x = static_cast<uint16_t*>(l.workspace);
    a.prepared.sums =
        reinterpret_cast<float*>(a.prepared.x + int64_t{rows} * a.prepared.row_halves);
    a.prepared_scale = a.prepared.sums + int64_t{units} * sums * a.prepared.pitch;
    launch_pdl(prepare_kernel<W::kBf16>, l.m, kTileThreads, 0, stream, a);
  }
  static const bool allowed = [] {
    LB_CUDA(cudaFuncSetAttribute(tiles_kernel<W, S, kN>,
                                 cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 kWholeSm - kStaticShared));
    return true;
  }();
  (void)allowed;
  launch_pdl(tiles_kernel<W, S, kN>, plan.grid, kTileThreads, plan.shared_bytes, stream, a);
}

// The first of several Scales that takes the stream; one of them does.
template <class... Ss>
struct Among {
  template <class W, int kN>
  static void launch(const LinearArgs& l, const TileShape& shape, cudaStream_t stream) {
    (void)((Ss::fits(shape) && (launch_kernel<W, Ss, kN>(l, shape, stream), true)) || ...);
  }
};

// Any number of tokens, up to 32 at a time; few are up to 8.
template <class W, class Few, class Many>
void launch_tiles(const LinearArgs& args, Stream stream_) {
  const auto stream = static_cast<cudaStream_t>(stream_);
  const TileShape shape = tile_shape(args.w, args.n, args.k);
  for (int32_t t = 0; t < args.m; t += kMaxTokens) {
    const LinearArgs l = rows_of(args, t, args.m - t < kMaxTokens ? args.m - t : kMaxTokens);
    if (l.m <= 8) {
      Few::template launch<W, 1>(l, shape, stream);
    } else {
      Many::template launch<W, 4>(l, shape, stream);
    }
  }
}

// Integers, whose scales and zeros come in many kinds.
template <class W>
void launch_integers(const LinearArgs& args, Stream stream) {
  using Symmetric = GroupScales<In::k16, 1>;
  using FloatZeros = GroupScales<In::k16, 1, With::kFloatZeros>;
  launch_tiles<W,
               Among<RowScales, Symmetric, FloatZeros, GroupScales<In::k16, 1, With::kAnyZeros>,
                     GroupScales<In::k16, 2>, AnyScales>,
               Among<RowScales, Symmetric, FloatZeros, AnyScales>>(args, stream);
}
// Floats, of which the mx formats have groups of 32.
template <class W>
void launch_floats(const LinearArgs& args, Stream stream) {
  using Kinds = Among<RowScales, GroupScales<In::kE8M0, 2>, AnyScales>;
  launch_tiles<W, Kinds, Kinds>(args, stream);
}
template <class W>
void launch_rare(const LinearArgs& args, Stream stream) {
  using Kinds = Among<RowScales, AnyScales>;
  launch_tiles<W, Kinds, Kinds>(args, stream);
}

}  // namespace lowbit::cuda
