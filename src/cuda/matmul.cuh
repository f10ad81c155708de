// y[m, n] (+)= x[m, k] w[n, k]^T for prompts, w in layout kTiles: Hopper's tensor cores, weights
// decoded in registers on their way to them. (batch.cuh: fewer tokens.)
//
// Weights are the A operand of wgmma.m64nNk16, x the B operand, N = 256 tokens. A CTA makes 128
// columns of y: each of the eight warps of two warpgroups streams a tile of its own and decodes a
// unit while the one before it is multiplied; one more warp fetches panels of x. The two CTAs of a
// cluster have the same tokens: each fetches half of every panel for both. Codes whose scales are
// of whole rows are multiplied as they are, in f16; others times their scales and rounded to bf16.
//   bytes   the stream once for every 256 tokens, x once for every 256 rows; from L2, mostly
//   limits  sm_90a; m is padded to 256
#pragma once

#include "cuda/fragments.cuh"
#include "cuda/panels.cuh"
#include "cuda/pdl.cuh"

namespace lowbit::cuda {

constexpr int kMatmulWarps = 8, kMatmulTiles = kMatmulWarps;  // that multiply; a tile each
constexpr int kMatmulThreads = 32 * kMatmulWarps + 128;       // registers go by warpgroups
constexpr int kFetchRegisters = 40, kMultiplyRegisters = 232;
constexpr int kPanelBytes = kPanelTokens * kUnit * 2;  // a unit

// How a CTA's dynamic shared memory is divided: panels, rings of warps, scales, barriers.
struct MatmulMemory {
  static constexpr int kScaleBytes = 2 * kPanelTokens * 4;
  static constexpr int kBarrierBytes = PanelRing::kBarrierBytes + 8 * kMatmulWarps * kMaxSlots;

  __device__ explicit MatmulMemory(const TileArgs& a) {
    extern __shared__ __align__(1024) uint8_t memory[];
    rings = memory + a.panels * kPanelBytes;
    scales = reinterpret_cast<float*>(rings + kMatmulWarps * a.slots * a.slot_bytes);
    const uint32_t barriers = shared_address(scales) + kScaleBytes;
    x = {shared_address(memory), barriers, barriers + 8 * kMostPanels, a.panels, kPanelBytes, 1};
    pieces = barriers + PanelRing::kBarrierBytes;
  }

  PanelRing x;
  uint8_t* rings;
  float* scales;    // [2, kPanelTokens]: of tokens, of this block and the one before
  uint32_t pieces;  // barriers, [kMatmulWarps, kMaxSlots]
};

// What a CTA makes one after the other: 128 rows for 256 tokens each. The clusters of the grid take
// turns, tokens first.
struct Work {
  int item, step, end, token_blocks, rank;

  __device__ explicit Work(const TileArgs& a) : rank(static_cast<int>(cluster_rank())) {
    token_blocks = (a.linear.m + kPanelTokens - 1) / kPanelTokens;
    const int row_blocks = (a.shape.tiles + kMatmulTiles - 1) / kMatmulTiles;
    item = blockIdx.x / 2, step = gridDim.x / 2, end = token_blocks * ((row_blocks + 1) / 2);
  }
  __device__ bool exists() const { return item < end; }
  __device__ void next() { item += step; }
  __device__ int token_block() const { return item % token_blocks; }
  __device__ int first_token() const { return token_block() * kPanelTokens; }
  __device__ int first_tile() const { return (item / token_blocks * 2 + rank) * kMatmulTiles; }
};

// A warp's tiles.
class WorkRuns {
 public:
  __device__ WorkRuns(const TileArgs& a, const Work& work, int warp)
      : a_(a), work_(work), warp_(warp) {}
  __device__ Run next() {
    for (; work_.exists(); work_.next()) {
      const int tile = work_.first_tile() + warp_;
      if (tile >= a_.shape.tiles) continue;
      work_.next();
      return run_of(a_, tile, 0, a_.shape.blocks);
    }
    return {};
  }

 private:
  const TileArgs& a_;
  Work work_;
  int warp_;
};

// The panels of one item after the other, half of each for both CTAs of the cluster. By one thread.
__device__ inline void fetch_panels(const TileArgs& a, const PanelRing& ring, Work work) {
  constexpr int kShare = kPanelBytes / 2;
  const int units = a.shape.blocks * a.shape.units;
  const uint32_t offset = work.rank * kShare;
  PanelTurn turn;
#pragma unroll 1
  for (; work.exists(); work.next()) {
    const auto* from = reinterpret_cast<const uint8_t*>(a.prepared.x) + offset +
                       int64_t{work.token_block()} * units * kPanelBytes;
#pragma unroll 1
    for (int unit = 0; unit < units; ++unit, from += kPanelBytes) {
      const uint32_t full = ring.full + 8 * turn.panel;
      barrier_wait(ring.empty + 8 * turn.panel, turn.phase ^ 1);
      barrier_expect(full, kPanelBytes);
      bulk_copy_to_all(ring.panel(turn.panel) + offset, from, kShare, full, 3);
      turn.next(ring.count);
    }
  }
}

// All warps that multiply.
__device__ __forceinline__ void sync_multipliers() {
  asm volatile("bar.sync 1, %0;" ::"n"(32 * kMatmulWarps) : "memory");
}

template <class W, class S, XTerms kX>
__device__ __forceinline__ void multiply_all(const TileArgs& a, const MatmulMemory& memory,
                                             Work work, int warp) {
  Fragments<W, S, WorkRuns> weights(a, memory.rings, memory.pieces + 8 * kMaxSlots * warp,
                                    WorkRuns(a, work, warp), warp);
  pdl_wait();
  const int t = threadIdx.x;
  const auto give_back = [&](int panel) {
    if (t % 32 < 2) barrier_arrive(memory.x.empty + 8 * panel, t % 32);
  };
  PanelTurn turn;
#pragma unroll 1
  for (int i = 0; work.exists(); work.next(), ++i) {
    const int tile = work.first_tile() + warp, first_token = work.first_token();
    const bool exists = tile < a.shape.tiles;
    float* scales = memory.scales + i % 2 * kPanelTokens;
    if (first_token + t < a.linear.m) {
      scales[t] = W::kFactor * a.prepared_scale[first_token + t];
    }
    float sums[kPanelTokens / 2] = {};
    weights.begin(exists, a.shape.blocks);
    multiply<kX, kPanelTokens, 1>(memory.x, weights, a.shape.blocks * a.shape.units, turn, sums,
                                  give_back);
    sync_multipliers();  // all scales are there, and nobody reads those before them
    if (exists) store_tile<kPanelTokens>(a.linear, tile, first_token, scales, sums);
    __syncwarp();
  }
}

// A grid of clusters of two CTAs with the same tokens and neighbouring rows.
template <class W, class S, XTerms kX>
__global__ void __launch_bounds__(kMatmulThreads, 1)
    matmul_kernel(const __grid_constant__ TileArgs a) {
  const MatmulMemory memory(a);
  const int warp = uniform_warp();
  const Work work(a);
  if (threadIdx.x == 0) memory.x.init(2 * kMatmulWarps);
  cluster_meet();
  if (warp >= kMatmulWarps) {
    fewer_registers<kFetchRegisters>();
    pdl_wait();
    if (threadIdx.x == 32 * kMatmulWarps) fetch_panels(a, memory.x, work);
  } else {
    more_registers<kMultiplyRegisters>();
    multiply_all<W, S, kX>(a, memory, work, warp);
  }
  __syncwarp();
  cluster_meet();  // nobody's memory ends before what is on its way there
}

}  // namespace lowbit::cuda
