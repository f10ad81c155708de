// y[m, n] (+)= x[m, k] w[n, k]^T for 9 to 256 tokens, w in layout kTiles, of one Linear or several
// that follow each other: wgmma from weights that are decoded in registers, as in matmul.cuh, with
// N = 32 or 64.
//
// A CTA makes 256 columns of y for N tokens and one of several slices of k: sixteen warps stream a
// tile each, one more fetches panels of x. The rings of weights do not stop between Linears.
//   staging   each token has a CTA or several (batch_tokens.cuh): they add up the slices that the
//             Linear before left of it, in order, finish its y and stage that as x, in panels
//   staged    all CTAs arrive; whoever fetches waits
//   products  of all items of a CTA; y at once where k has one slice, else sums in a.sliced
//   all       all CTAs arrive; those that have tokens wait
// In bf16 a token's norm comes last: x is staged times the norm's weight, its squares beside it,
// and find_scales() has the factor for the sums.
//   bytes   the stream once for every N tokens, x once for every 256 rows, sums of slices; the last
//           two from L2
//   limits  sm_90a, all CTAs resident; m is padded to N, below N to a multiple of 8
#pragma once

#include "cuda/batch_tokens.cuh"
#include "cuda/fragments.cuh"
#include "cuda/grid_barrier.cuh"
#include "cuda/panels.cuh"
#include "cuda/pdl.cuh"

namespace lowbit::cuda {

constexpr int kBatchTiles = kTileWarps;  // of a CTA: one for each warp that multiplies
// And one that fetches; registers go by warpgroups.
constexpr int kBatchThreads = kTileThreads + 128;
constexpr int kBatchFetchRegisters = 32, kBatchRegisters = 112;
constexpr int kBatchPanelBytes = 16 * 1024;  // of N tokens
template <int kN>
constexpr int kBatchUnits = kBatchPanelBytes / (kN * kUnit * 2);  // of a panel

// How a CTA's dynamic shared memory is divided: panels, rings of warps, scales, arguments,
// barriers. Code that is called would fetch arguments one after the other from the L2: whoever
// waits for another CTA empties the L1.
template <int kN>
struct BatchMemory {
  static_assert(sizeof(ChainArgs) % 8 == 0);  // barriers follow
  static constexpr int kScaleBytes = kMostBatch * 4;
  static constexpr int kArgumentBytes = sizeof(ChainArgs);
  static constexpr int kBarrierBytes = PanelRing::kBarrierBytes + 8 * kTileWarps * kMaxSlots;

  __device__ explicit BatchMemory(const TileArgs& a) {
    extern __shared__ __align__(1024) uint8_t memory[];
    const int unit_bytes = bytes_of_unit(a.linear.m);
    rings = memory + a.panels * kBatchUnits<kN> * unit_bytes;
    scales = reinterpret_cast<float*>(rings + kTileWarps * a.slots * a.slot_bytes);
    arguments = reinterpret_cast<ChainArgs*>(scales + kMostBatch);
    const uint32_t barriers = shared_address(arguments) + kArgumentBytes;
    x = {shared_address(memory), barriers, barriers + 8 * kMostPanels, a.panels, unit_bytes,
         kBatchUnits<kN>};
    pieces = barriers + PanelRing::kBarrierBytes;
  }
  // Of x of m tokens: of those that there are, eight at a time. (wgmma reads on to the end of kN.)
  LB_HOST_DEVICE static constexpr int bytes_of_unit(int m) {
    return (m > kN ? kN : (m + 7) / 8 * 8) * kUnit * 2;
  }

  PanelRing x;
  uint8_t* rings;
  float* scales;  // [kMostBatch]: of tokens
  ChainArgs* arguments;
  uint32_t pieces;  // barriers, [kTileWarps, kMaxSlots]
};

// What a CTA makes at once of a Linear: 256 rows for some tokens, over a slice of k. A CTA has
// every gridDim.x-th of them.
struct BatchItem {
  int first_tile, token_block, slice, first_block, blocks;

  __device__ BatchItem(const TileArgs& a, int item) {
    const int block = item / a.slices;
    slice = item - block * a.slices;
    const int row_block = block / a.token_blocks;
    token_block = block - row_block * a.token_blocks;
    first_tile = row_block * kBatchTiles;
    first_block = a.shape.blocks * slice / a.slices;
    blocks = a.shape.blocks * (slice + 1) / a.slices - first_block;
  }
};

// A warp's runs of one Linear after the other.
class BatchRuns {
 public:
  __device__ BatchRuns(const ChainArgs& chain, int warp)
      : chain_(chain), warp_(warp), item_(blockIdx.x) {}
  __device__ Run next() {
#pragma unroll 1
    for (; op_ < chain_.count; ++op_, item_ = blockIdx.x) {
      const TileArgs& a = chain_.ops[op_].tile;
#pragma unroll 1
      while (item_ < a.items) {
        const BatchItem item(a, item_);
        item_ += gridDim.x;
        const int tile = item.first_tile + warp_;
        if (tile < a.shape.tiles) return run_of(a, tile, item.first_block, item.blocks);
      }
    }
    return {};
  }

 private:
  const ChainArgs& chain_;
  const int warp_;
  int op_ = 0, item_;
};

// ---- x ------------------------------------------------------------------------------------------

// The warps that multiply have staged what is theirs; the one that fetches waits for them.
__device__ __forceinline__ void tell_fetcher() {
  __syncwarp();
  asm volatile("bar.arrive 2, %0;" ::"n"(kTileThreads + 32) : "memory");
}
__device__ __forceinline__ void await_stagers() {
  asm volatile("bar.sync 2, %0;" ::"n"(kTileThreads + 32) : "memory");
}
// The warp that fetches has found the tokens' scales; those that multiply wait for it.
__device__ __forceinline__ void tell_scales() {
  __syncwarp();
  asm volatile("bar.arrive 4, %0;" ::"n"(kTileThreads + 32) : "memory");
}
__device__ __forceinline__ void await_scales() {
  asm volatile("bar.sync 4, %0;" ::"n"(kTileThreads + 32) : "memory");
}
// All warps of a CTA without items wait here until all tokens are staged: else its next arrival
// would overtake those of others. (The two kinds of warps come from two places of the code, which
// bar.sync does not allow.)
__device__ __forceinline__ void await_others() {
  asm volatile("barrier.sync 3, %0;" ::"n"(kTileThreads + 32) : "memory");
}

// What the sums of tokens still have to be multiplied with, `factor` being the weights' part of it.
template <XTerms kX>
__device__ __forceinline__ void find_scales(const TileArgs& a, float factor, float* scales) {
  const LinearArgs& l = a.linear;
  for (int t = threadIdx.x % 32; t < l.m; t += 32) {
    float scale = factor * a.prepared_scale[t];
    if (kX == XTerms::kPanelBf16 && a.plain_x && l.norm_weight) {
      scale *= inverse_rms(a.squares + t * kTileWarps, l.k, l.norm_eps);
    }
    scales[t] = scale;
  }
}

// The panels of all items, each Linear's once its tokens are staged. By one warp.
template <XTerms kX, int kN>
__device__ void fetch_panels(const ChainArgs& chain, const BatchMemory<kN>& memory, float factor) {
  constexpr int kUnits = kBatchUnits<kN>, kUnitBytes = kN * kUnit * 2;  // there and in memory
  const PanelRing& ring = memory.x;
  const bool first_lane = threadIdx.x % 32 == 0;
  GridBarrier staged(chain.staged);
  PanelTurn turn;
#pragma unroll 1
  for (int i = 0; i < chain.count; ++i) {
    const TileArgs& a = chain.ops[i].tile;
    await_stagers();
    if (first_lane) {
      staged.arrive_alone();
      staged.wait_alone();
      fence_before_copies();
    }
    __syncwarp();
    if (static_cast<int>(blockIdx.x) >= a.items) {
      await_others();
      continue;
    }
    find_scales<kX>(a, factor, memory.scales);
    tell_scales();
    const int all_units = a.shape.blocks * a.shape.units;
#pragma unroll 1
    for (int at = blockIdx.x; at < a.items; at += gridDim.x) {
      const BatchItem item(a, at);
      const auto* from =
          reinterpret_cast<const uint8_t*>(a.prepared.x) +
          (int64_t{item.token_block} * all_units + item.first_block * a.shape.units) * kUnitBytes;
#pragma unroll 1
      for (int left = item.blocks * a.shape.units; left > 0; left -= kUnits) {
        const uint32_t full = ring.full + 8 * turn.panel;
        const int count = min(left, kUnits);
        if (first_lane) {
          uint32_t to = ring.panel(turn.panel);
          barrier_wait(ring.empty + 8 * turn.panel, turn.phase ^ 1);
          barrier_expect(full, count * ring.unit_bytes);
          if (ring.unit_bytes == kUnitBytes) {
            bulk_copy(to, from, count * kUnitBytes, full);
          } else {
#pragma unroll 1
            for (int u = 0; u < count; ++u, to += ring.unit_bytes) {
              bulk_copy(to, from + u * kUnitBytes, ring.unit_bytes, full);
            }
          }
        }
        from += count * kUnitBytes;
        turn.next(ring.count);
      }
    }
    __syncwarp();
  }
}

// ---- y ------------------------------------------------------------------------------------------

// The sums of a warp's tile over a slice where their token's CTA finds them.
template <int kN>
__device__ __forceinline__ void store_slice(const TileArgs& a, const BatchItem& item, int tile,
                                            const float* scales, const float (&sums)[kN / 2]) {
  const int g = threadIdx.x % 32 / 4, q = threadIdx.x % 4, first = item.token_block * kN;
  const int rows = sliced_rows(a);
  float* to = a.sliced + int64_t{item.slice} * a.linear.m * rows + tile * kTileRows + g;
#pragma unroll
  for (int i = 0; i < kN / 8; ++i) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const int t = first + 8 * i + 2 * q + e;
      if (t >= a.linear.m) continue;
      to[int64_t{t} * rows] = scales[t] * sums[4 * i + e];
      to[int64_t{t} * rows + 8] = scales[t] * sums[4 * i + 2 + e];
    }
  }
}

// ---- the kernel ---------------------------------------------------------------------------------

// Before Linear i, or after the last: this CTA's parts of tokens.
template <XTerms kX>
__device__ void pass_tokens(const ChainArgs& chain, int i, const GridBarrier& all, float* looks,
                            StageMemory& shared) {
  const ChainedOp* before = i > 0 ? &chain.ops[i - 1] : nullptr;
  const bool stages = i < chain.count;
  if (!stages && before->tile.slices == 1) return;
  const TileArgs& a = stages ? chain.ops[i].tile : before->tile;
  const int parts = a.linear.m * a.token_ctas;
  if (static_cast<int>(blockIdx.x) >= parts) return;
  if (before) all.wait();
#pragma unroll 1
  for (int at = blockIdx.x; at < parts; at += gridDim.x) {
    const TokenPart part(at, a.token_ctas);
    if (stages) {
      stage_token_part<kX>(before, chain.ops[i], part, looks, shared);
    } else if (part.has_part) {
      finish_part(a, part);
    }
  }
}

// All Linears. `looks`: the mail's places, in f16.
template <XTerms kX, int kN, class Weights>
__device__ __forceinline__ void multiply_chain(const ChainArgs& chain,
                                               const BatchMemory<kN>& memory, Weights& weights,
                                               int warp, float* looks, StageMemory& shared) {
  GridBarrier all(chain.barrier);
  const auto give_back = [&](int panel) {
    __syncwarp();
    if (threadIdx.x % 32 == 0) barrier_arrive(memory.x.empty + 8 * panel);
  };
  PanelTurn turn;
#pragma unroll 1
  for (int i = 0; i < chain.count; ++i) {
    const TileArgs& a = chain.ops[i].tile;
    if (i + 1 < chain.count) prefetch_constants(chain.ops[i + 1].tile, threadIdx.x, kTileThreads);
    pass_tokens<kX>(*memory.arguments, i, all, looks, shared);
    fence_before_copies();
    tell_fetcher();
    if (static_cast<int>(blockIdx.x) >= a.items) {
      await_others();
    } else {
      await_scales();
    }
#pragma unroll 1
    for (int at = blockIdx.x; at < a.items; at += gridDim.x) {
      const BatchItem item(a, at);
      const int tile = item.first_tile + warp;
      const bool exists = tile < a.shape.tiles;
      float sums[kN / 2] = {};
      weights.begin(exists, item.blocks);
      multiply<kX, kN, kBatchUnits<kN>>(memory.x, weights, item.blocks * a.shape.units, turn, sums,
                                        give_back);
      if (!exists) continue;
      if (a.slices == 1) {
        const int token = item.token_block * kN;
        store_tile<kN>(a.linear, tile, token, memory.scales + token, sums);
      } else {
        store_slice<kN>(a, item, tile, memory.scales, sums);
      }
    }
    all.arrive();
  }
  pass_tokens<kX>(*memory.arguments, chain.count, all, looks, shared);
}

template <class W, class S, XTerms kX, int kN>
__device__ __forceinline__ void multiply_all(const ChainArgs& chain, const BatchMemory<kN>& memory,
                                             int warp, StageMemory& shared) {
  const TileArgs& first = chain.ops[0].tile;
  Fragments<W, S, BatchRuns> weights(first, memory.rings, memory.pieces + 8 * kMaxSlots * warp,
                                     BatchRuns(chain, warp), warp);
  prefetch_constants(first, threadIdx.x, kTileThreads);
  pdl_wait();
  if constexpr (kX == XTerms::kPanelF16) {
    const Mail mail(chain.mail);
    multiply_chain<kX, kN>(chain, memory, weights, warp, mail.at(0), shared);
    mail.leave();
  } else {
    multiply_chain<kX, kN>(chain, memory, weights, warp, nullptr, shared);
  }
}

template <class W, class S, XTerms kX, int kN>
__global__ void __launch_bounds__(kBatchThreads, 1)
    batch_kernel(const __grid_constant__ ChainArgs chain) {
  __shared__ StageMemory shared;
  const BatchMemory<kN> memory(chain.ops[0].tile);
  const int warp = uniform_warp();
  if (threadIdx.x == 0) memory.x.init(kTileWarps);
  constexpr int kWords = sizeof(ChainArgs) / 4;
  for (int i = threadIdx.x; i < kWords; i += kBatchThreads) {
    reinterpret_cast<uint32_t*>(memory.arguments)[i] = reinterpret_cast<const uint32_t*>(&chain)[i];
  }
  __syncthreads();
  if (warp >= kTileWarps) {
    fewer_registers<kBatchFetchRegisters>();
    pdl_wait();
    if (warp == kTileWarps) fetch_panels<kX, kN>(chain, memory, W::kFactor);
  } else {
    more_registers<kBatchRegisters>();
    multiply_all<W, S, kX, kN>(chain, memory, warp, shared);
  }
}

}  // namespace lowbit::cuda
