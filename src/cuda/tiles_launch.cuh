// Which partition of the work a launch of tiles_kernel gets, and the launch.
#pragma once

#include <algorithm>

#include "cuda/chain.h"
#include "cuda/limits.h"
#include "cuda/tiles.cuh"

namespace lowbit::cuda {

constexpr int kStaticShared = 2 * 1024;
constexpr int kLeastSlots = 2;  // of a ring, where blocks are small enough

// Of one chunk of x in shared memory.
inline int staged_bytes(int units, int sums_per_unit, int rows, int pitch) {
  return rows * (units * kUnit + 8) * 2 + units * pitch * 4 * sums_per_unit;
}

// How many parts of a tile (as a power of two) keep the CTA's warps busiest; of equals the fewest.
// Where x comes in chunks, every round takes all of it again: as few rounds as can be.
inline int best_log_parts(int tiles_per_cta, int blocks, int block_bytes, bool in_chunks) {
  int best = 0;
  double most = 0;
  for (int log_parts = 0; log_parts <= kLogTileWarps; ++log_parts) {
    const int parts = 1 << log_parts;
    if (parts > 1 && (blocks < parts || blocks / parts * block_bytes < 512)) break;
    const int rounds = (tiles_per_cta * parts + kTileWarps - 1) / kTileWarps;
    if (in_chunks && parts > 1 && rounds > 1) break;
    const double busy = static_cast<double>(tiles_per_cta * parts) / (rounds * kTileWarps);
    if (busy > most * 1.04) most = busy, best = log_parts;
  }
  return best;
}

// Pieces of a warp's part of a tile, alike in size, and as many slots for them as fit.
inline void share_ring(TileArgs& a, int bytes) {
  const int parts = 1 << a.log_parts;
  const int part_blocks = (a.chunk_blocks + parts - 1) / parts;
  const int most = std::max(1, std::min(part_blocks, bytes / kLeastSlots / a.shape.block_bytes));
  const int pieces = (part_blocks + most - 1) / most;
  a.piece_blocks = (part_blocks + pieces - 1) / pieces;
  a.slot_bytes = a.piece_blocks * a.shape.block_bytes;
  a.slots = std::min(bytes / a.slot_bytes, kMaxSlots);
  check_ring(a.slots, a.slot_bytes);
}

inline int dynamic_shared_bytes() { return shared_memory_bytes() - kStaticShared; }

struct TileLaunch {
  TileArgs args;
  int grid, shared_bytes;
};

inline TileLaunch plan_tiles(const LinearArgs& l, const TileShape& shape, int sums_per_unit,
                             int rows, int pitch) {
  TileArgs a{};
  a.linear = l;
  a.shape = shape;
  a.sums_per_unit = sums_per_unit;
  const int grid = a.shape.tiles < sm_count() ? a.shape.tiles : sm_count();
  const int round_bytes = kTileWarps * l.m * kTileRows * 4;
  const int partial = std::max(kPartialBytes, round_bytes);
  a.partial_bytes = partial;
  const int room = dynamic_shared_bytes() - partial, least_ring = room * 2 / 5;
  a.chunk_blocks = a.shape.blocks;
  a.x_bytes = staged_bytes(a.chunk_blocks * shape.units, sums_per_unit, rows, pitch);
  int x_total = a.x_bytes;
  // Two chunks at a time instead of all of x.
  while (x_total > room - least_ring && a.chunk_blocks > 1) {
    a.chunk_blocks = (a.chunk_blocks + 1) / 2;
    a.x_bytes = staged_bytes(a.chunk_blocks * shape.units, sums_per_unit, rows, pitch);
    x_total = 2 * a.x_bytes;
  }
  a.chunks = (a.shape.blocks + a.chunk_blocks - 1) / a.chunk_blocks;
  const int tiles_per_cta = (a.shape.tiles + grid - 1) / grid;
  a.log_parts = best_log_parts(tiles_per_cta, a.chunk_blocks, a.shape.block_bytes, a.chunks > 1);
  const int parts = 1 << a.log_parts;
  a.rounds = (tiles_per_cta * parts + kTileWarps - 1) / kTileWarps;
  a.flush_rounds = partial / round_bytes;
  share_ring(a, (room - x_total) / kTileWarps);
  const int shared = kTileWarps * a.slots * a.slot_bytes + x_total + partial;
  return {a, grid, shared};
}

// One CTA for each token.
template <XTerms kX>
__global__ void __launch_bounds__(kTileThreads) prepare_kernel(const __grid_constant__ TileArgs a) {
  __shared__ StageMemory memory;
  prefetch_constants(a);
  pdl_wait();
  const int t = blockIdx.x;
  const float scale = stage_token<kX>(a.linear, a.sums_per_unit, t, a.shape.blocks * a.shape.units,
                                      memory, a.prepared, nullptr);
  if (threadIdx.x == 0) a.prepared_scale[t] = scale;
}

// How many sums of x the products of a unit need.
template <class W, class S>
int sums_per_unit(const TileShape& shape) {
  bool needed = S::kZeros && shape.zero != Zero::kNone;
  if constexpr (W::kX == XTerms::kFixed) needed = needed || W::kOffset != 0;
  if (!needed) return 0;
  return S::kGroups == 0 ? 1 : S::kGroups;
}

// The plan of a launch, x prepared in the workspace where a CTA does not make it itself.
template <class W, class S, int kN>
TileLaunch plan_launch(const LinearArgs& l, const TileShape& shape) {
  const int sums = sums_per_unit<W, S>(shape), pitch = kN * tokens_of_mma(W::kX);
  const int rows = rows_of_token(W::kX) * l.m;
  TileLaunch plan = plan_tiles(l, shape, sums, rows, pitch);
  TileArgs& a = plan.args;
  if (a.chunks > 1 || l.m > 1) {
    const int units = shape.blocks * shape.units;
    a.prepared.pitch = pitch;
    a.prepared.row_halves = units * kUnit;
    a.prepared.x = static_cast<uint16_t*>(l.workspace);
    a.prepared.sums =
        reinterpret_cast<float*>(a.prepared.x + int64_t{rows} * a.prepared.row_halves);
    a.prepared_scale = a.prepared.sums + int64_t{units} * sums * pitch;
  }
  return plan;
}

template <class Kernel>
void allow_shared_memory(Kernel* kernel) {
  LB_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               dynamic_shared_bytes()));
}

// Linears that launch_kernel() held back.
template <class W, class S, int kN>
void launch_chain(std::span<const LinearArgs> linears, Stream stream) {
  ChainArgs chain{};
  int x_bytes = 0;
  for (const LinearArgs& l : linears) {
    TileArgs& a = chain.ops[chain.count++].tile;
    a = plan_launch<W, S, kN>(l, tile_shape(l.w, l.n, l.k)).args;
    x_bytes = std::max(x_bytes, a.x_bytes * (a.chunks > 1 ? 2 : 1));
  }
  const int ring = (dynamic_shared_bytes() - kPartialBytes - x_bytes) / kTileWarps / 128 * 128;
  int slot_bytes = 0;
  for (int i = 0; i < chain.count; ++i) {
    share_ring(chain.ops[i].tile, ring);
    slot_bytes = std::max(slot_bytes, chain.ops[i].tile.slot_bytes);
  }
  const int slots = std::min(ring / slot_bytes, kMaxSlots);
  for (int i = 0; i < chain.count; ++i) {
    chain.ops[i].tile.slot_bytes = slot_bytes, chain.ops[i].tile.slots = slots;
  }
  plan_chain(chain);
  static const bool allowed = (allow_shared_memory(chain_kernel<W, S, kN>), true);
  (void)allowed;
  launch_pdl(chain_kernel<W, S, kN>, sm_count(), kTileThreads,
             kTileWarps * slots * slot_bytes + kPartialBytes + x_bytes,
             static_cast<cudaStream_t>(stream), chain);
}

template <class W, class S, int kN>
void launch_kernel(const LinearArgs& l, const TileShape& shape, Stream stream_) {
  const TileLaunch plan = plan_launch<W, S, kN>(l, shape);
  const TileArgs& a = plan.args;
  constexpr bool kChains = kN * tokens_of_mma(W::kX) <= 8;
  if constexpr (kChains) {
    if (add_to_chain({launch_chain<W, S, kN>, launch_kernel<W, S, kN>}, l, stream_)) return;
  }
  end_chain(stream_);
  const auto stream = static_cast<cudaStream_t>(stream_);
  if (a.prepared.x) launch_pdl(prepare_kernel<W::kX>, l.m, kTileThreads, 0, stream, a);
  static const bool allowed = (allow_shared_memory(tiles_kernel<W, S, kN>), true);
  (void)allowed;
  launch_pdl(tiles_kernel<W, S, kN>, plan.grid, kTileThreads, plan.shared_bytes, stream, a);
}

// The first of several Scales that takes the stream; one of them does.
template <class... Ss>
struct Among {
  template <class W, int kN>
  static void launch(const LinearArgs& l, const TileShape& shape, Stream stream) {
    (void)((Ss::fits(shape) && (launch_kernel<W, Ss, kN>(l, shape, stream), true)) || ...);
  }
};

// Any number of tokens, up to 32 at a time; few are up to 8.
template <class W, class Few, class Many>
void launch_tiles(const LinearArgs& args, Stream stream) {
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

// The same with x in fixed point. One is for a token alone, where groups may be columns.
template <class W, class Few, class Many>
void launch_fixed(const LinearArgs& args, Stream stream) {
  const TileShape shape = tile_shape(args.w, args.n, args.k);
  for (int32_t t = 0; t < args.m; t += kMaxTokens) {
    const LinearArgs l = rows_of(args, t, args.m - t < kMaxTokens ? args.m - t : kMaxTokens);
    if (l.m == 1) {
      Few::template launch<W, 1>(l, shape, stream);
    } else if (l.m <= 8) {
      Many::template launch<W, 2>(l, shape, stream);
    } else {
      Many::template launch<W, 8>(l, shape, stream);
    }
  }
}

using Symmetric = GroupScales<In::k16, 1>;
using FloatZeros = GroupScales<In::k16, 1, With::kFloatZeros>;
using AnyZeros = GroupScales<In::k16, 1, With::kAnyZeros>;

// Integers, whose scales and zeros come in many kinds.
template <class W>
void launch_integers(const LinearArgs& args, Stream stream) {
  launch_fixed<
      W, Among<RowScales, Symmetric, FloatZeros, AnyZeros, GroupScales<In::k16, 2>, AnyScales>,
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
