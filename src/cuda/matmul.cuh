// y[m, n] (+)= x[m, k] w[n, k]^T for more than a few tokens, w in layout kTiles: Hopper's tensor
// cores, weights decoded in registers on their way to them.
//
// Weights are the A operand of wgmma.m64nNk16, x the B operand, N = 64 or 256 tokens. A CTA makes
// 128 columns of y for N tokens: each of the eight warps of two warpgroups streams a tile of its
// own, as in tiles.cuh, and decodes a unit while the one before it is multiplied; one more warp
// fetches panels of x. With N = 256 the two CTAs of a cluster have the same tokens: each fetches
// half of every panel for both. With N = 64 they have the same rows and share out k; their sums are
// added in order through each other's shared memory. Codes whose scales are of whole rows are
// multiplied as they are, in f16; others times their scales and rounded to bf16.
//   bytes   the stream once for every N tokens, x once for every 128 (256) rows; from L2, mostly
//   limits  sm_90a; m is padded to N
#pragma once

#include "cuda/decode.cuh"
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
  static constexpr int kCount = 4;                      // in shared memory
  static constexpr int kFetchers = kShared ? 128 : 32;  // threads; registers go by warpgroups
  static constexpr int kThreads = 32 * kMatmulWarps + kFetchers;
  static constexpr int kCtas = kShared ? 1 : 2;  // of a multiprocessor
  static constexpr int kSums = kN / 2;           // of a thread
};

// How a CTA's dynamic shared memory is divided: panels, rings of warps, barriers.
template <int kN>
struct MatmulMemory {
  using P = Panels<kN>;
  static constexpr int kBarrierBytes = 16 * P::kCount + 8 * kMatmulWarps * kMaxSlots;

  __device__ explicit MatmulMemory(const TileArgs& a) : ring_bytes(a.slots * a.slot_bytes) {
    extern __shared__ __align__(1024) uint8_t memory[];
    panels = shared_address(memory);
    rings = memory + P::kCount * P::kBytes;
    full = shared_address(rings) + kMatmulWarps * ring_bytes;
    empty = full + 8 * P::kCount;
    pieces = empty + 8 * P::kCount;
  }
  __device__ uint8_t* ring(int warp) const { return rings + warp * ring_bytes; }

  int ring_bytes;
  uint32_t panels;
  uint8_t* rings;
  uint32_t full, empty;  // [P::kCount] each
  uint32_t pieces;       // [kMatmulWarps, kMaxSlots]
};

// The part of k that a CTA has.
struct Slice {
  int first, blocks;  // blocks of a tile
  __device__ Slice(const TileArgs& a, int rank)
      : first(a.shape.blocks * rank / a.slices),
        blocks(a.shape.blocks * (rank + 1) / a.slices - first) {}
};

// A slice of a warp's tile, block after block, through a ring of pieces in shared memory.
class TileStream {
 public:
  template <class Memory>
  __device__ TileStream(const TileArgs& a, const Memory& memory, int tile, const Slice& slice)
      : slots_(a.slots),
        slot_bytes_(a.slot_bytes),
        block_bytes_(a.shape.block_bytes),
        piece_blocks_(a.piece_blocks) {
    const int warp = threadIdx.x / 32;
    memory_ = memory.ring(warp);
    barriers_ = memory.pieces + 8 * kMaxSlots * warp;
    from_ = static_cast<const uint8_t*>(a.linear.w.codes) +
            (int64_t{tile} * a.shape.blocks + slice.first) * block_bytes_;
    left_ = tile < a.shape.tiles ? slice.blocks * block_bytes_ : 0;
    if (threadIdx.x % 32 == 0) {
      for (int slot = 0; slot < slots_; ++slot) barrier_init(barriers_ + 8 * slot, 1);
      fence_barrier_init();
      for (int slot = 0; slot < slots_; ++slot) start(slot);
    }
    __syncwarp();
  }
  // The next block, once it has arrived; the one before it is used up.
  __device__ const uint8_t* next() {
    if (in_piece_ > 0) {
      --in_piece_;
      return block_ += block_bytes_;
    }
    if (block_) {
      __syncwarp();
      if (threadIdx.x % 32 == 0) start(slot_);
      if (++slot_ == slots_) slot_ = 0, phase_ ^= 1;
    }
    barrier_wait(barriers_ + 8 * slot_, phase_);
    in_piece_ = piece_blocks_ - 1;
    return block_ = memory_ + slot_ * slot_bytes_;
  }

 private:
  __device__ void start(int slot) {
    if (left_ == 0) return;
    const int bytes = min(slot_bytes_, left_);
    barrier_expect(barriers_ + 8 * slot, bytes);
    bulk_copy(shared_address(memory_) + slot * slot_bytes_, from_, bytes, barriers_ + 8 * slot);
    from_ += bytes;
    left_ -= bytes;
  }

  const int slots_, slot_bytes_, block_bytes_, piece_blocks_;
  uint8_t* memory_;
  uint32_t barriers_;
  const uint8_t *from_, *block_ = nullptr;
  int left_, in_piece_ = 0, slot_ = 0;
  uint32_t phase_ = 0;
};

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

// The A fragments of a warp's tile, unit after unit; zeros where there is no tile.
template <class W, class S>
class Fragments {
 public:
  template <class Memory>
  __device__ Fragments(const TileArgs& a, const Memory& memory, int tile, const Slice& slice)
      : a_(a), stream_(a, memory, tile, slice), exists_(tile < a.shape.tiles) {}

  // Of each 16 columns j: a[4 j ..].
  __device__ __forceinline__ void next(uint32_t (&a)[16]) {
    uint32_t lo[8] = {}, hi[8] = {};
    if (exists_) {
      const int lane = threadIdx.x % 32, units = a_.shape.units;
      if (unit_ == 0) block_ = stream_.next();
      W::decode(block_ + unit_ * a_.shape.unit_bytes, lane, lo, hi);
      if constexpr (S::kGroups > 0) {
        scale_pairs(S(a_, block_ + units * a_.shape.unit_bytes, lane / 4), lo, hi);
      }
      if (++unit_ == units) unit_ = 0;
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      a[4 * j] = lo[2 * j], a[4 * j + 1] = hi[2 * j];
      a[4 * j + 2] = lo[2 * j + 1], a[4 * j + 3] = hi[2 * j + 1];
    }
  }

 private:
  const TileArgs& a_;
  TileStream stream_;
  const uint8_t* block_ = nullptr;
  int unit_ = 0;
  const bool exists_;
};

// Panel after panel of the CTA's tokens and slice: half of each for both CTAs of the cluster, or
// all of it. By one thread.
template <int kN>
__device__ void fetch_panels(const TileArgs& a, const MatmulMemory<kN>& memory, int token_block,
                             const Slice& slice) {
  using P = Panels<kN>;
  constexpr int kShare = P::kBytes / 2;
  const int units = slice.blocks * a.shape.units, all_units = a.shape.blocks * a.shape.units;
  const uint32_t offset = P::kShared ? cluster_rank() * kShare : 0;
  const int tokens = min(kN, a.linear.m - token_block * kN);
  const uint32_t bytes = P::kShared ? P::kBytes : (tokens + 7) / 8 * 8 * kUnit * 2;
  const auto* from = reinterpret_cast<const uint8_t*>(a.prepared.x) + offset +
                     (int64_t{token_block} * all_units + slice.first * a.shape.units) * P::kBytes;
#pragma unroll 1
  for (int unit = 0; unit < units; ++unit, from += P::kBytes) {
    const int panel = unit % P::kCount;
    const uint32_t full = memory.full + 8 * panel, to = memory.panels + panel * P::kBytes + offset;
    if (unit >= P::kCount) barrier_wait(memory.empty + 8 * panel, (unit / P::kCount - 1) & 1);
    barrier_expect(full, bytes);
    if constexpr (P::kShared) {
      bulk_copy_to_all(to, from, kShare, full, 3);
    } else {
      bulk_copy(to, from, bytes, full);
    }
  }
}

// What becomes of the sums of rows g and g + 8 of a tile (a gate and its up, of paired matrices).
class RowPair {
 public:
  __device__ RowPair(const TileArgs& a, int tile, int g, float code_factor)
      : a_(a), code_factor_(code_factor) {
    const LinearArgs& l = a.linear;
    const int half = l.w.paired ? l.n / 2 : 0;
    n_[0] = tile * (half ? 8 : kTileRows) + g;
    n_[1] = n_[0] + (half ? half : 8);
    exists_[0] = tile < a.shape.tiles && n_[0] < (half ? half : l.n);
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
  // What a token's outputs need besides the sums.
  struct Terms {
    float scale, old[2];
  };
  __device__ __forceinline__ Terms terms(int t) const {
    const LinearArgs& l = a_.linear;
    Terms terms = {0, {0, 0}};
    if (t >= l.m) return terms;
    terms.scale = code_factor_ * a_.prepared_scale[t];
    if (l.epilogue != Epilogue::kAdd) return terms;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (exists_[i]) terms.old[i] = l.y[t * l.ldy + n_[i]];
    }
    return terms;
  }
  __device__ __forceinline__ void put(int t, const Terms& terms, float low, float high) const {
    const LinearArgs& l = a_.linear;
    if (t >= l.m) return;
    const float v[2] = {low * terms.scale * factor_[0] + bias_[0],
                        high * terms.scale * factor_[1] + bias_[1]};
    float* y = l.y + t * l.ldy;
    if (l.epilogue == Epilogue::kSiluMul) {
      if (exists_[0]) y[n_[0]] = silu(v[0]) * v[1];
      return;
    }
    const bool add = l.epilogue == Epilogue::kAdd;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (exists_[i]) y[n_[i]] = add ? terms.old[i] + v[i] : v[i];
    }
  }

 private:
  const TileArgs& a_;
  const float code_factor_;
  int n_[2];
  bool exists_[2];
  float factor_[2] = {1, 1}, bias_[2] = {0, 0};
};

// y of a warp's tile, sums[4 i + e] being of token 8 i + 2 q + e % 2.
template <int kN>
__device__ __forceinline__ void store_tile(const TileArgs& a, int tile, int first_token,
                                           float code_factor, const float (&sums)[kN / 2]) {
  constexpr int kAtOnce = 8;  // tokens whose terms are on their way
  const RowPair rows(a, tile, threadIdx.x % 32 / 4, code_factor);
  const int first = first_token + threadIdx.x % 4 * 2;
#pragma unroll
  for (int i = 0; i < kN / 4; i += kAtOnce) {
    RowPair::Terms terms[kAtOnce];
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) terms[j] = rows.terms(first + (i + j) / 2 * 8 + j % 2);
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) {
      const int at = (i + j) / 2 * 4 + j % 2;
      rows.put(first + (i + j) / 2 * 8 + j % 2, terms[j], sums[at], sums[at + 2]);
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
template <class Memory>
__device__ void add_slices(const TileArgs& a, const Memory& memory, int first_tile, int rank,
                           float code_factor) {
  constexpr int kThreads = 32 * kMatmulWarps, kPairs = kTileRows / 2;
  const int m = a.linear.m, count = kMatmulTiles * m * kPairs;
  for (int i = rank * kThreads + threadIdx.x; i < count; i += a.slices * kThreads) {
    const int tile = i / (m * kPairs), t = i / kPairs % m, g = i % kPairs;
    const uint32_t at =
        shared_address(memory.ring(tile)) + (t * kTileRows + g) * static_cast<int>(sizeof(float));
    float low = 0, high = 0;
    for (int slice = 0; slice < a.slices; ++slice) {
      low += load_from_cta(at, slice);
      high += load_from_cta(at + kPairs * static_cast<int>(sizeof(float)), slice);
    }
    const RowPair rows(a, first_tile + tile, g, code_factor);
    rows.put(t, rows.terms(t), low, high);
  }
}

// The sums of a warp's tile over the CTA's slice.
template <XTerms kX, int kN, class Weights>
__device__ __forceinline__ void multiply(const MatmulMemory<kN>& memory, Weights& weights,
                                         int units, float (&sums)[kN / 2]) {
  using P = Panels<kN>;
  constexpr int kCtas = P::kShared ? 2 : 1;  // that wait for a panel to be read
  uint32_t fragments[2][16];
  weights.next(fragments[0]);
  const auto step = [&](int unit, const uint32_t(&now)[16], uint32_t(&then)[16]) {
    const int panel = unit % P::kCount;
    barrier_wait(memory.full + 8 * panel, unit / P::kCount & 1);
    const uint64_t x = wgmma_panel(memory.panels + panel * P::kBytes);
    wgmma_fence();
#pragma unroll
    for (int j = 0; j < 4; ++j) wgmma<kX == XTerms::kPanelBf16>(sums, now + 4 * j, x + 2 * j);
    wgmma_commit();
    wgmma_wait<1>();
    if (unit > 0 && threadIdx.x % 32 < kCtas) {
      const uint32_t empty = memory.empty + 8 * ((unit - 1) % P::kCount);
      barrier_arrive(empty, P::kShared ? threadIdx.x % 32 : cluster_rank());
    }
    if (unit + 1 < units) weights.next(then);
  };
#pragma unroll 1
  for (int unit = 0; unit < units; unit += 2) {
    step(unit, fragments[0], fragments[1]);
    if (unit + 1 < units) step(unit + 1, fragments[1], fragments[0]);
  }
  wgmma_wait<0>();
}

// Of 256 tokens, clusters of two CTAs with neighbouring rows, for each block of tokens (grid x) and
// 256 rows (y); of 64, clusters of a.slices CTAs for each 128 rows (y).
template <class W, class S, XTerms kX, int kN>
__global__ void __launch_bounds__(Panels<kN>::kThreads, Panels<kN>::kCtas)
    matmul_kernel(const __grid_constant__ TileArgs a) {
  using P = Panels<kN>;
  const MatmulMemory<kN> memory(a);
  const int warp = threadIdx.x / 32, rank = static_cast<int>(cluster_rank());
  const int token_block = P::kShared ? blockIdx.x / 2 : 0;
  const int row_block = P::kShared ? blockIdx.y * 2 + rank : blockIdx.y;
  const int tile = row_block * kMatmulTiles + warp;
  const Slice slice(a, P::kShared ? 0 : rank);
  if (threadIdx.x == 0) {
    for (int panel = 0; panel < P::kCount; ++panel) {
      barrier_init(memory.full + 8 * panel, 1);
      barrier_init(memory.empty + 8 * panel, kMatmulWarps * (P::kShared ? 2 : 1));
    }
    fence_barrier_init();
  }
  cluster_meet();
  float sums[P::kSums] = {};
  if (warp >= kMatmulWarps) {
    if constexpr (P::kShared) fewer_registers<kFetchRegisters>();
    pdl_wait();
    if (threadIdx.x == 32 * kMatmulWarps) fetch_panels(a, memory, token_block, slice);
  } else {
    if constexpr (P::kShared) more_registers<kMultiplyRegisters>();
    Fragments<W, S> weights(a, memory, tile, slice);
    pdl_wait();
    multiply<kX, kN>(memory, weights, slice.blocks * a.shape.units, sums);
    if (P::kShared || a.slices == 1) {
      store_tile<kN>(a, tile, token_block * kN, W::kFactor, sums);
    } else {
      share_sums<kN>(reinterpret_cast<float*>(memory.ring(warp)), a.linear.m, sums);
    }
  }
  __syncwarp();
  if (P::kShared || a.slices == 1) {
    cluster_meet();  // nobody's memory ends before what is on its way there
    return;
  }
  cluster_sync();
  if (warp < kMatmulWarps) add_slices(a, memory, row_block * kMatmulTiles, rank, W::kFactor);
  __syncwarp();
  cluster_meet();
}

}  // namespace lowbit::cuda
