// y[m, n] (+)= x[m, k] w[n, k]^T for more than a few tokens, w in layout kTiles: Hopper's tensor
// cores, weights decoded in registers on their way to them.
//
// Weights are the A operand of wgmma.m64nNk16, x the B operand, N = 64 or 256 tokens. A CTA makes
// 128 columns of y for N tokens: one warp fetches stages, each a panel of x and a unit of eight
// tiles; each of the eight warps of two warpgroups has a tile and decodes a unit of it while the
// one before is multiplied. With N = 256 the two CTAs of a cluster have the same tokens: each
// fetches half of every panel for both. With N = 64 they have the same rows and share out k; their
// sums are added in order through each other's shared memory. Codes whose scales are of whole rows
// are multiplied as they are, in f16; others times their scales and rounded to bf16.
//   bytes   the stream once for every N tokens, x once for every 128 (256) rows; from L2, mostly
//   limits  sm_90a; m is padded to N
#pragma once

#include "cuda/decode_brain.cuh"
#include "cuda/pdl.cuh"
#include "cuda/scales.cuh"
#include "cuda/stage.cuh"
#include "cuda/wgmma.cuh"

namespace lowbit::cuda {

constexpr int kMatmulWarps = 8, kMatmulTiles = kMatmulWarps;  // that multiply; a tile each
constexpr int kFetchRegisters = 40, kMultiplyRegisters = 232;

// Of N tokens.
template <int kN>
struct Panels {
  static constexpr bool kShared = kN == 256;  // by the CTAs of a cluster, which else share out k
  static constexpr int kBytes = kN * kUnit * 2;
  static constexpr int kFetchers = kShared ? 128 : 32;  // threads; registers go by warpgroups
  static constexpr int kThreads = 32 * kMatmulWarps + kFetchers;
  static constexpr int kCtas = kShared ? 1 : 2;  // of a multiprocessor
  static constexpr int kSums = kN / 2;           // of a thread
};
constexpr int kMostStages = 8;

// How a CTA's dynamic shared memory is divided: stages, scales of tokens, barriers. A stage is a
// panel and, for each tile, the codes of a unit and the scales of its block.
template <int kN>
struct MatmulMemory {
  static constexpr int kScaleBytes = 2 * kN * 4, kBarrierBytes = 16 * kMostStages;

  __device__ explicit MatmulMemory(const TileArgs& a)
      : stages(a.stages), stage_bytes(a.stage_bytes), tile_bytes(a.slot_bytes) {
    extern __shared__ __align__(1024) uint8_t memory[];
    start = memory;
    scales = reinterpret_cast<float*>(memory + stages * stage_bytes);
    full = shared_address(scales) + kScaleBytes;
    empty = full + 8 * kMostStages;
  }
  __device__ uint32_t panel(int stage) const { return shared_address(start) + stage * stage_bytes; }
  __device__ uint8_t* tile(int stage, int warp) const {
    return start + stage * stage_bytes + Panels<kN>::kBytes + warp * tile_bytes;
  }
  // Where a warp leaves its sums after the last stage.
  __device__ float* sums(int warp) const {
    return reinterpret_cast<float*>(start) + warp * kN * kTileRows;
  }

  int stages, stage_bytes, tile_bytes;
  uint8_t* start;
  float* scales;         // [2, kN]: of tokens, of this block and the one before
  uint32_t full, empty;  // [kMostStages] each
};

// Which stage is next, and how often all of them have been before.
struct StageTurn {
  int stage = 0;
  uint32_t phase = 0;
  __device__ void next(int stages) {
    if (++stage == stages) stage = 0, phase ^= 1;
  }
};

// The part of k that a CTA has.
struct Slice {
  int first, blocks;  // blocks of a tile
  __device__ Slice(const TileArgs& a, int rank)
      : first(a.shape.blocks * rank / a.slices),
        blocks(a.shape.blocks * (rank + 1) / a.slices - first) {}
};

// What a CTA makes one after the other: 128 rows for the tokens of a panel each. Of 256 tokens, the
// clusters of the grid take turns, tokens first; of 64, a CTA has just its blockIdx.y.
template <int kN>
struct Work {
  int item, step, end, token_blocks, rank;

  __device__ explicit Work(const TileArgs& a) : rank(static_cast<int>(cluster_rank())) {
    token_blocks = (a.linear.m + kN - 1) / kN;
    if constexpr (Panels<kN>::kShared) {
      const int row_blocks = (a.shape.tiles + kMatmulTiles - 1) / kMatmulTiles;
      item = blockIdx.x / 2, step = gridDim.x / 2, end = token_blocks * ((row_blocks + 1) / 2);
    } else {
      item = blockIdx.y, step = 0, end = gridDim.y;
    }
  }
  __device__ bool exists() const { return item < end; }
  __device__ void next() { item = Panels<kN>::kShared ? item + step : end; }
  __device__ int token_block() const { return Panels<kN>::kShared ? item % token_blocks : 0; }
  __device__ int first_tile() const {
    const int row_block = Panels<kN>::kShared ? item / token_blocks * 2 + rank : item;
    return row_block * kMatmulTiles;
  }
};

// The units of one item after the other, on their way to the stages; by one warp, whose first eight
// lanes fetch a tile each, and the next one panels: half of each for both CTAs of the cluster, or
// all.
template <int kN>
class Fetcher {
  using P = Panels<kN>;

 public:
  __device__ Fetcher(const TileArgs& a, const MatmulMemory<kN>& memory, const Slice& slice,
                     const Work<kN>& work)
      : a_(a),
        memory_(memory),
        slice_(slice),
        lane_(threadIdx.x % 32),
        units_(slice.blocks * a.shape.units),
        panel_bytes_(P::kShared ? P::kBytes : (a.linear.m + 7) / 8 * 8 * kUnit * 2),
        weights_{work},
        panels_{work} {}

  __device__ void run() {
    // Weights need not wait for the kernel before this one.
    for (int stage = 0; stage < memory_.stages && weights_.exists(); ++stage) fetch_weights();
    pdl_wait();
    while (panels_.count != weights_.count) fetch_panel();
#pragma unroll 1
    while (weights_.exists()) {
      fetch_weights();
      fetch_panel();
    }
  }

 private:
  struct Place {
    Work<kN> work;
    int unit = 0, count = 0;
    StageTurn turn = {};
    __device__ bool exists() const { return work.exists(); }
    __device__ void next(int units, int stages) {
      ++count;
      turn.next(stages);
      if (++unit == units) unit = 0, work.next();
    }
  };

  __device__ void fetch_weights() {
    const TileShape& shape = a_.shape;
    const auto [stage, phase] = weights_.turn;
    const int first = weights_.work.first_tile(), tile = first + lane_;
    const uint32_t full = memory_.full + 8 * stage;
    if (lane_ == 0) {
      const int tiles = max(0, min(kMatmulTiles, shape.tiles - first));
      barrier_wait(memory_.empty + 8 * stage, phase ^ 1);
      barrier_expect(full, panel_bytes_ + tiles * memory_.tile_bytes);
    }
    __syncwarp();
    if (lane_ < kMatmulTiles && tile < shape.tiles) {
      const int block = slice_.first + weights_.unit / shape.units;
      const auto* from = static_cast<const uint8_t*>(a_.linear.w.codes) +
                         (int64_t{tile} * shape.blocks + block) * shape.block_bytes;
      const uint32_t to = shared_address(memory_.tile(stage, lane_));
      if (shape.units == 1) {
        bulk_copy(to, from, shape.block_bytes, full);
      } else {
        const int codes = shape.unit_bytes, scales = memory_.tile_bytes - codes;
        bulk_copy(to, from + weights_.unit % shape.units * codes, codes, full);
        if (scales > 0) bulk_copy(to + codes, from + shape.units * codes, scales, full);
      }
    }
    weights_.next(units_, memory_.stages);
  }
  __device__ void fetch_panel() {
    if (lane_ == kMatmulTiles) {
      constexpr int kShare = P::kBytes / 2;
      const uint32_t offset = P::kShared ? panels_.work.rank * kShare : 0;
      const int64_t before = int64_t{panels_.work.token_block()} * a_.shape.blocks + slice_.first;
      const auto* from = reinterpret_cast<const uint8_t*>(a_.prepared.x) + offset +
                         (before * a_.shape.units + panels_.unit) * P::kBytes;
      const int stage = panels_.turn.stage;
      const uint32_t to = memory_.panel(stage) + offset, full = memory_.full + 8 * stage;
      if constexpr (P::kShared) {
        bulk_copy_to_all(to, from, kShare, full, 3);
      } else {
        bulk_copy(to, from, panel_bytes_, full);
      }
    }
    panels_.next(units_, memory_.stages);
  }

  const TileArgs& a_;
  const MatmulMemory<kN>& memory_;
  const Slice slice_;
  const int lane_, units_, panel_bytes_;
  Place weights_, panels_;
};

// Whether codes come as bf16 already.
template <class S>
constexpr bool kInBrains = false;
template <bool kZeros>
constexpr bool kInBrains<BrainScales<kZeros>> = true;

// Codes of a unit, as f16 pairs, become weights in bf16.
template <class S>
__device__ __forceinline__ void scale_pairs(const S& scales, uint32_t (&lo)[8], uint32_t (&hi)[8]) {
  constexpr int kPairs = 8 / S::kGroups, kCodes = 2 * kPairs;
#pragma unroll
  for (int group = 0; group < S::kGroups; ++group) {
    float codes[2 * kCodes], ones[kCodes], weights[2 * kCodes] = {};
#pragma unroll
    for (int p = 0; p < kPairs; ++p) {
      const float2 low = __half22float2(reinterpret_cast<const __half2&>(lo[group * kPairs + p]));
      const float2 high = __half22float2(reinterpret_cast<const __half2&>(hi[group * kPairs + p]));
      codes[2 * p] = low.x, codes[2 * p + 1] = low.y;
      codes[kCodes + 2 * p] = high.x, codes[kCodes + 2 * p + 1] = high.y;
      ones[2 * p] = ones[2 * p + 1] = 1;
    }
    scales.template apply<kCodes>(group, codes, ones, weights);
#pragma unroll
    for (int p = 0; p < kPairs; ++p) {
      lo[group * kPairs + p] = pack_bf16(weights[2 * p], weights[2 * p + 1]);
      hi[group * kPairs + p] = pack_bf16(weights[kCodes + 2 * p], weights[kCodes + 2 * p + 1]);
    }
  }
}

// The A fragments of a unit, of each 16 columns j: a[4 j ..].
template <class W, class S>
__device__ __forceinline__ void decode_unit(const TileArgs& a, const uint8_t* unit,
                                            uint32_t (&fragments)[16]) {
  const int lane = threadIdx.x % 32;
  uint32_t lo[8], hi[8];
  W::decode(unit, lane, lo, hi);
  if constexpr (kInBrains<S>) {
    S(a, unit + a.shape.unit_bytes, lane / 4).scale(lo, hi);
  } else if constexpr (S::kGroups > 0) {
    scale_pairs(S(a, unit + a.shape.unit_bytes, lane / 4), lo, hi);
  }
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    fragments[4 * j] = lo[2 * j], fragments[4 * j + 1] = hi[2 * j];
    fragments[4 * j + 2] = lo[2 * j + 1], fragments[4 * j + 3] = hi[2 * j + 1];
  }
}

// What becomes of the sums of rows g and g + 8 of a tile (a gate and its up, of paired matrices).
class RowPair {
 public:
  __device__ RowPair(const LinearArgs& l, int tile, int g) : l_(l) {
    const int half = l.w.paired ? l.n / 2 : 0;
    n_[0] = tile * (half ? 8 : kTileRows) + g;
    n_[1] = n_[0] + (half ? half : 8);
    exists_[0] = n_[0] < (half ? half : l.n);
    exists_[1] = exists_[0] && n_[1] < l.n;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (!exists_[i]) continue;
      if (l.w.scales) {
        factor_[i] = static_cast<const float*>(l.w.scales)[tile * kTileRows + g + 8 * i];
      }
      if (l.bias) bias_[i] = l.bias[n_[i]];
    }
  }
  // What a token's y are before, where that counts.
  __device__ __forceinline__ float2 old(int t) const {
    const float* y = l_.y + t * l_.ldy;
    if (t >= l_.m || l_.epilogue != Epilogue::kAdd) return {0, 0};
    return {exists_[0] ? y[n_[0]] : 0, exists_[1] ? y[n_[1]] : 0};
  }
  // `scale`: of the sums.
  __device__ __forceinline__ void put(int t, float scale, float2 old, float low, float high) const {
    if (t >= l_.m) return;
    const float v[2] = {low * scale * factor_[0] + bias_[0], high * scale * factor_[1] + bias_[1]};
    float* y = l_.y + t * l_.ldy;
    if (l_.epilogue == Epilogue::kSiluMul) {
      if (exists_[0]) y[n_[0]] = silu(v[0]) * v[1];
      return;
    }
    const bool add = l_.epilogue == Epilogue::kAdd;
    if (exists_[0]) y[n_[0]] = add ? old.x + v[0] : v[0];
    if (exists_[1]) y[n_[1]] = add ? old.y + v[1] : v[1];
  }

 private:
  const LinearArgs& l_;
  int n_[2];
  bool exists_[2];
  float factor_[2] = {1, 1}, bias_[2] = {0, 0};
};

// y of a warp's tile, sums[4 i + e] being of token 8 i + 2 q + e % 2. `scales`: [kN].
template <int kN>
__device__ __forceinline__ void store_tile(const TileArgs& a, int tile, int first_token,
                                           const float* scales, const float (&sums)[kN / 2]) {
  constexpr int kAtOnce = kN / 16;  // tokens whose y is on its way
  const RowPair rows(a.linear, tile, threadIdx.x % 32 / 4);
  const int q = threadIdx.x % 4;
#pragma unroll
  for (int i = 0; i < kN / 4; i += kAtOnce) {
    float2 old[kAtOnce];
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) {
      old[j] = rows.old(first_token + (i + j) / 2 * 8 + 2 * q + j % 2);
    }
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) {
      const int t = (i + j) / 2 * 8 + 2 * q + j % 2, at = (i + j) / 2 * 4 + j % 2;
      rows.put(first_token + t, scales[t], old[j], sums[at], sums[at + 2]);
    }
  }
}

// The sums of a warp's slice where the other CTAs of the cluster find them: [tokens, kTileRows].
template <int kN>
__device__ __forceinline__ void share_sums(float* to, int m, const float (&sums)[kN / 2]) {
  const int g = threadIdx.x % 32 / 4, q = threadIdx.x % 4;
#pragma unroll
  for (int i = 0; i < kN / 8; ++i) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const int t = 8 * i + 2 * q + e;
      if (t >= m) continue;
      to[t * kTileRows + g] = sums[4 * i + e];
      to[t * kTileRows + g + 8] = sums[4 * i + 2 + e];
    }
  }
}
// y of this CTA's share of the cluster's rows, slices added in order.
template <int kN>
__device__ void add_slices(const TileArgs& a, const MatmulMemory<kN>& memory,
                           const Work<kN>& work) {
  constexpr int kThreads = 32 * kMatmulWarps, kPairs = kTileRows / 2;
  const int m = a.linear.m, count = kMatmulTiles * m * kPairs;
  for (int i = work.rank * kThreads + threadIdx.x; i < count; i += a.slices * kThreads) {
    const int warp = i / (m * kPairs), t = i / kPairs % m, g = i % kPairs;
    const int tile = work.first_tile() + warp;
    if (tile >= a.shape.tiles) return;
    const uint32_t at = shared_address(memory.sums(warp) + t * kTileRows + g);
    float low = 0, high = 0;
    for (int slice = 0; slice < a.slices; ++slice) {
      low += load_from_cta(at, slice);
      high += load_from_cta(at + kPairs * static_cast<int>(sizeof(float)), slice);
    }
    const RowPair rows(a.linear, tile, g);
    rows.put(t, memory.scales[t], rows.old(t), low, high);
  }
}

// All warps that multiply.
__device__ __forceinline__ void sync_multipliers() {
  asm volatile("bar.sync 1, %0;" ::"n"(32 * kMatmulWarps) : "memory");
}

// The sums of a warp's tile over the CTA's slice, of `units` stages from `turn` on. A warp without
// a tile multiplies zeros: products are of whole warpgroups.
template <class W, class S, XTerms kX, int kN>
__device__ __forceinline__ void multiply(const TileArgs& a, const MatmulMemory<kN>& memory,
                                         bool exists, int units, StageTurn& turn,
                                         float (&sums)[kN / 2]) {
  using P = Panels<kN>;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const auto arrived = [&](uint32_t(&fragments)[16]) {
    barrier_wait(memory.full + 8 * turn.stage, turn.phase);
    if (exists) decode_unit<W, S>(a, memory.tile(turn.stage, warp), fragments);
  };
  const auto give_back = [&](int stage) {
    const uint32_t empty = memory.empty + 8 * stage;
    if constexpr (P::kShared) {
      if (lane < 2) barrier_arrive(empty, lane);
    } else {
      if (lane == 0) barrier_arrive(empty);
    }
  };
  uint32_t fragments[2][16] = {};
  int before = -1;  // the stage that is still read
  arrived(fragments[0]);
  const auto step = [&](bool last, const uint32_t(&now)[16], uint32_t(&then)[16]) {
    const uint64_t x = wgmma_panel(memory.panel(turn.stage));
    wgmma_fence();
#pragma unroll
    for (int j = 0; j < 4; ++j) wgmma<kX == XTerms::kPanelBf16>(sums, now + 4 * j, x + 2 * j);
    wgmma_commit();
    wgmma_wait<1>();
    if (before >= 0) give_back(before);
    before = turn.stage;
    turn.next(memory.stages);
    if (!last) arrived(then);
  };
#pragma unroll 1
  for (int unit = 0; unit < units; unit += 2) {
    step(unit + 1 == units, fragments[0], fragments[1]);
    if (unit + 1 < units) step(unit + 2 == units, fragments[1], fragments[0]);
  }
  wgmma_wait<0>();
  give_back(before);
}

template <class W, class S, XTerms kX, int kN>
__device__ __forceinline__ void multiply_all(const TileArgs& a, const MatmulMemory<kN>& memory,
                                             const Slice& slice, Work<kN> work) {
  pdl_wait();
  const int warp = threadIdx.x / 32, t = threadIdx.x;
  StageTurn turn;
#pragma unroll 1
  for (int i = 0; work.exists(); work.next(), ++i) {
    const int tile = work.first_tile() + warp, first_token = work.token_block() * kN;
    const bool exists = tile < a.shape.tiles;
    float* scales = memory.scales + i % 2 * kN;
    if (t < kN && first_token + t < a.linear.m) {
      scales[t] = W::kFactor * a.prepared_scale[first_token + t];
    }
    float sums[kN / 2] = {};
    multiply<W, S, kX, kN>(a, memory, exists, slice.blocks * a.shape.units, turn, sums);
    sync_multipliers();  // all scales are there, and nobody reads those before them, nor a stage
    if (Panels<kN>::kShared || a.slices == 1) {
      if (exists) store_tile<kN>(a, tile, first_token, scales, sums);
      __syncwarp();
    } else {
      share_sums<kN>(memory.sums(warp), a.linear.m, sums);
    }
  }
}

// Of 256 tokens, a grid of clusters of two CTAs with the same tokens and neighbouring rows; of 64,
// clusters of a.slices CTAs for each 128 rows (y).
template <class W, class S, XTerms kX, int kN>
__global__ void __launch_bounds__(Panels<kN>::kThreads, Panels<kN>::kCtas)
    matmul_kernel(const __grid_constant__ TileArgs a) {
  using P = Panels<kN>;
  const MatmulMemory<kN> memory(a);
  const int warp = threadIdx.x / 32;
  const Work<kN> work(a);
  const Slice slice(a, P::kShared ? 0 : work.rank);
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < memory.stages; ++stage) {
      barrier_init(memory.full + 8 * stage, 1);
      barrier_init(memory.empty + 8 * stage, kMatmulWarps * (P::kShared ? 2 : 1));
    }
    fence_barrier_init();
  }
  __syncthreads();
  cluster_meet();
  if (warp >= kMatmulWarps) {
    if constexpr (P::kShared) fewer_registers<kFetchRegisters>();
    if (warp == kMatmulWarps) {
      Fetcher<kN>(a, memory, slice, work).run();
    } else {
      pdl_wait();
    }
  } else {
    if constexpr (P::kShared) more_registers<kMultiplyRegisters>();
    multiply_all<W, S, kX, kN>(a, memory, slice, work);
  }
  __syncwarp();
  if (P::kShared || a.slices == 1) {
    cluster_meet();  // nobody's memory ends before what is on its way there
    return;
  }
  cluster_sync();
  if (warp < kMatmulWarps) add_slices(a, memory, work);
  __syncwarp();
  cluster_meet();
}

}  // namespace lowbit::cuda
