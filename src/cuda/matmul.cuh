// y[m, n] (+)= x[m, k] w[n, k]^T for more than a few tokens, w in layout kTiles: Hopper's tensor
// cores, weights decoded in registers on their way to them.
//
// Weights are the A operand of wgmma.m64nNk16, x the B operand, N = 64 or 256 tokens. A CTA makes
// 128 columns of y for N tokens: each of the eight warps of two warpgroups streams a tile of its
// own, as in tiles.cuh, and decodes a unit while the one before it is multiplied; one more warp
// fetches panels of x. With N = 256 the two CTAs of a cluster have the same tokens: each fetches
// half of every panel for both. With N = 64 they have the same rows and tokens and share out k;
// their sums are added in order through each other's shared memory. Codes whose scales are of whole
// rows are multiplied as they are, in f16; others times their scales and rounded to bf16.
//   bytes   the stream once for every N tokens, x once for every 128 (256) rows; from L2, mostly
//   limits  sm_90a; m is padded to N, below 64 to a multiple of 8
#pragma once

#include "cuda/decode_bf16.cuh"
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
  static constexpr bool kShared = kN == 256;     // by the CTAs of a cluster, which else share out k
  static constexpr int kBytes = kN * kUnit * 2;  // of a unit
  static constexpr int kUnits = kShared ? 1 : 2;        // of a panel
  static constexpr int kFetchers = kShared ? 128 : 32;  // threads; registers go by warpgroups
  static constexpr int kThreads = 32 * kMatmulWarps + kFetchers;
  static constexpr int kCtas = kShared ? 1 : 2;  // of a multiprocessor
  static constexpr int kMost = 6;                // in shared memory; the rest holds weights
};
constexpr int kMostPanels = Panels<256>::kMost;
constexpr int kMostSmallPanels = 4;  // blocks of 64 tokens; more tokens go by 256

// How a CTA's dynamic shared memory is divided: panels, rings of warps, barriers, scales.
template <int kN>
struct MatmulMemory {
  using P = Panels<kN>;
  static constexpr int kBarrierBytes = 16 * kMostPanels + 8 * kMatmulWarps * kMaxSlots;
  static constexpr int kScaleBytes = 2 * kN * 4;

  __device__ explicit MatmulMemory(const TileArgs& a)
      : panel_count(a.panels),
        unit_bytes(bytes_of_unit(a.linear.m)),
        ring_bytes(a.slots * a.slot_bytes) {
    extern __shared__ __align__(1024) uint8_t memory[];
    panels = shared_address(memory);
    rings = memory + panel_count * P::kUnits * unit_bytes;
    scales = reinterpret_cast<float*>(rings + kMatmulWarps * ring_bytes);
    full = shared_address(scales) + kScaleBytes;
    empty = full + 8 * kMostPanels;
    pieces = empty + 8 * kMostPanels;
  }
  // Of x of m tokens: of those that there are, eight at a time. (wgmma reads on to the end of kN.)
  LB_HOST_DEVICE static constexpr int bytes_of_unit(int m) {
    return P::kShared || m > kN ? P::kBytes : (m + 7) / 8 * 8 * kUnit * 2;
  }
  __device__ uint8_t* ring(int warp) const { return rings + warp * ring_bytes; }
  __device__ uint32_t panel(int index) const { return panels + index * P::kUnits * unit_bytes; }

  int panel_count, unit_bytes, ring_bytes;
  uint32_t panels;
  uint8_t* rings;
  float* scales;         // [2, kN]: of tokens, of this block and the one before
  uint32_t full, empty;  // [kMostPanels] each
  uint32_t pieces;       // [kMatmulWarps, kMaxSlots]
};

// Which panel is next, and how often all of them have been before.
struct PanelTurn {
  int panel = 0;
  uint32_t phase = 0;
  __device__ void next(int count) {
    if (++panel == count) panel = 0, phase ^= 1;
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
  using P = Panels<kN>;
  int item, step, end, token_blocks, rank;

  __device__ explicit Work(const TileArgs& a) : rank(static_cast<int>(cluster_rank())) {
    token_blocks = (a.linear.m + kN - 1) / kN;
    if constexpr (P::kShared) {
      const int row_blocks = (a.shape.tiles + kMatmulTiles - 1) / kMatmulTiles;
      item = blockIdx.x / 2, step = gridDim.x / 2, end = token_blocks * ((row_blocks + 1) / 2);
    } else {
      item = blockIdx.y, step = 0, end = gridDim.y;
    }
  }
  __device__ bool exists() const { return item < end; }
  __device__ void next() { item = P::kShared ? item + step : end; }
  __device__ int token_block() const { return item % token_blocks; }
  __device__ int first_token() const { return token_block() * kN; }
  __device__ int first_tile() const {
    const int row_block = P::kShared ? item / token_blocks * 2 + rank : item / token_blocks;
    return row_block * kMatmulTiles;
  }
};

// A warp's slices of tiles, block after block, through a ring of pieces in shared memory.
template <int kN>
class TileStream {
 public:
  __device__ TileStream(const TileArgs& a, const MatmulMemory<kN>& memory, const Slice& slice,
                        const Work<kN>& work, int warp)
      : a_(a),
        warp_(warp),
        ring_(warp * memory.ring_bytes),
        to_(shared_address(memory.rings) + ring_),
        barriers_(memory.pieces + 8 * kMaxSlots * warp),
        slice_(slice),
        work_(work) {
    locate();
    if (threadIdx.x % 32 == 0) {
#pragma unroll 1
      for (int slot = 0; slot < a.slots; ++slot) barrier_init(barriers_ + 8 * slot, 1);
      fence_barrier_init();
#pragma unroll 1
      for (int slot = 0; slot < a.slots; ++slot) start(slot);
    }
    __syncwarp();
  }
  // From here on blocks of another tile.
  __device__ void begin() { unread_ = slice_.blocks; }
  // Where the next block lies from memory.rings on, once it has arrived; the one before it is used
  // up.
  __device__ __forceinline__ int next() {
    if (in_piece_ == 0) take();
    --in_piece_;
    const int at = at_;
    at_ += a_.shape.block_bytes;
    return at;
  }

 private:
  __device__ __forceinline__ void take() {
    if (taken_) {
      __syncwarp();
      if (threadIdx.x % 32 == 0) start(slot_);
      if (++slot_ == a_.slots) slot_ = 0, phase_ ^= 1;
    }
    taken_ = true;
    barrier_wait(barriers_ + 8 * slot_, phase_);
    in_piece_ = min(a_.piece_blocks, unread_);
    unread_ -= in_piece_;
    at_ = ring_ + slot_ * a_.slot_bytes;
  }
  // Where the warp's tile of an item is that is still to be fetched, or of one after it.
  __device__ void locate() {
    for (; work_.exists(); work_.next()) {
      const int tile = work_.first_tile() + warp_;
      if (tile >= a_.shape.tiles) continue;
      from_ = static_cast<const uint8_t*>(a_.linear.w.codes) +
              (int64_t{tile} * a_.shape.blocks + slice_.first) * a_.shape.block_bytes;
      left_ = slice_.blocks * a_.shape.block_bytes;
      return;
    }
  }
  __device__ void start(int slot) {
    if (left_ == 0) return;
    const int bytes = min(a_.slot_bytes, left_);
    barrier_expect(barriers_ + 8 * slot, bytes);
    bulk_copy(to_ + slot * a_.slot_bytes, from_, bytes, barriers_ + 8 * slot);
    from_ += bytes;
    left_ -= bytes;
    if (left_ == 0) {
      work_.next();
      locate();
    }
  }

  const TileArgs& a_;
  const int warp_, ring_;
  const uint32_t to_, barriers_;
  const Slice slice_;
  Work<kN> work_;  // of what is fetched
  const uint8_t* from_ = nullptr;
  int left_ = 0, unread_ = 0, in_piece_ = 0, at_ = 0, slot_ = 0;
  uint32_t phase_ = 0;
  bool taken_ = false;
};

// Whether codes are decoded to bf16 and scaled there.
template <class S>
constexpr bool kDecodesToBf16 = false;
template <bool kZeros>
constexpr bool kDecodesToBf16<Bf16Scales<kZeros>> = true;

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

// The A fragments of a warp's tiles, unit after unit; left as they are where there is no tile.
template <class W, class S, int kN>
class Fragments {
  static constexpr bool kOneUnit = kOneUnitBlocks<S>;

 public:
  __device__ Fragments(const TileArgs& a, const MatmulMemory<kN>& memory, const Slice& slice,
                       const Work<kN>& work, int warp)
      : a_(a), rings_(memory.rings), stream_(a, memory, slice, work, warp) {}

  __device__ void begin(bool exists) {
    exists_ = held(static_cast<int>(exists));
    stream_.begin();
  }
  // Of each 16 columns j: a[4 j ..].
  __device__ __forceinline__ void next(uint32_t (&a)[16]) {
    if (exists_ == 0) return;
    const int lane = threadIdx.x % 32, unit_bytes = a_.shape.unit_bytes;
    const int units = kOneUnit ? 1 : a_.shape.units;
    if (kOneUnit || unit_ == 0) block_ = stream_.next();
    uint32_t lo[8], hi[8];
    W::decode(rings_ + (block_ + (kOneUnit ? 0 : unit_ * unit_bytes)), lane, lo, hi);
    const uint8_t* scales = rings_ + (block_ + units * unit_bytes);
    if constexpr (kDecodesToBf16<S>) {
      S(a_, scales, lane / 4).scale(lo, hi);
    } else if constexpr (S::kGroups > 0) {
      scale_pairs(S(a_, scales, lane / 4), lo, hi);
    }
    if (!kOneUnit && ++unit_ == units) unit_ = 0;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      a[4 * j] = lo[2 * j], a[4 * j + 1] = hi[2 * j];
      a[4 * j + 2] = lo[2 * j + 1], a[4 * j + 3] = hi[2 * j + 1];
    }
  }

 private:
  const TileArgs& a_;
  const uint8_t* rings_;
  TileStream<kN> stream_;
  int block_ = 0, unit_ = 0, exists_ = 0;
};

// The panels of one item after the other: half of each for both CTAs of the cluster, or all of it.
// By one thread.
template <int kN>
__device__ void fetch_panels(const TileArgs& a, const MatmulMemory<kN>& memory, const Slice& slice,
                             Work<kN> work) {
  using P = Panels<kN>;
  constexpr int kShare = P::kBytes / 2;
  const int units = slice.blocks * a.shape.units, all_units = a.shape.blocks * a.shape.units;
  const uint32_t offset = P::kShared ? work.rank * kShare : 0;
  PanelTurn turn;
#pragma unroll 1
  for (; work.exists(); work.next()) {
    const auto* from =
        reinterpret_cast<const uint8_t*>(a.prepared.x) + offset +
        (int64_t{work.token_block()} * all_units + slice.first * a.shape.units) * P::kBytes;
#pragma unroll 1
    for (int left = units; left > 0; left -= P::kUnits) {
      const int count = min(left, P::kUnits);
      const uint32_t full = memory.full + 8 * turn.panel;
      uint32_t to = memory.panel(turn.panel) + offset;
      barrier_wait(memory.empty + 8 * turn.panel, turn.phase ^ 1);
      barrier_expect(full, count * memory.unit_bytes);
#pragma unroll 1
      for (int i = 0; i < count; ++i, from += P::kBytes, to += memory.unit_bytes) {
        if constexpr (P::kShared) {
          bulk_copy_to_all(to, from, kShare, full, 3);
        } else {
          bulk_copy(to, from, memory.unit_bytes, full);
        }
      }
      turn.next(memory.panel_count);
    }
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
  const int first_token = work.first_token(), m = min(kN, a.linear.m - first_token);
  const int count = kMatmulTiles * m * kPairs;
  for (int i = work.rank * kThreads + threadIdx.x; i < count; i += a.slices * kThreads) {
    const int warp = i / (m * kPairs), t = i / kPairs % m, g = i % kPairs;
    const int tile = work.first_tile() + warp;
    if (tile >= a.shape.tiles) return;
    const uint32_t at =
        shared_address(memory.ring(warp)) + (t * kTileRows + g) * static_cast<int>(sizeof(float));
    float low = 0, high = 0;
    for (int slice = 0; slice < a.slices; ++slice) {
      low += load_from_cta(at, slice);
      high += load_from_cta(at + kPairs * static_cast<int>(sizeof(float)), slice);
    }
    const RowPair rows(a.linear, tile, g);
    rows.put(first_token + t, memory.scales[t], rows.old(first_token + t), low, high);
  }
}

// The sums of a warp's tile over the CTA's slice.
template <XTerms kX, int kN, class Weights>
__device__ __forceinline__ void multiply(const MatmulMemory<kN>& memory, Weights& weights,
                                         int units, PanelTurn& turn, float (&sums)[kN / 2]) {
  using P = Panels<kN>;
  constexpr int kCtas = P::kShared ? 2 : 1;  // that wait for a panel to be read
  const uint32_t rank = P::kShared ? threadIdx.x % 32 : cluster_rank();
  const auto give_back = [&](int panel) {
    if (threadIdx.x % 32 < kCtas) barrier_arrive(memory.empty + 8 * panel, rank);
  };
  uint32_t fragments[2][16] = {};
  int before = -1;  // the panel that is still read
  uint32_t panel = 0;
  weights.next(fragments[0]);
  // The first or second unit of two.
  const auto step = [&]<bool kSecond>(bool last, const uint32_t(&now)[16], uint32_t(&then)[16]) {
    constexpr bool kOpens = !kSecond || P::kUnits == 1;
    if constexpr (kOpens) {
      panel = memory.panel(turn.panel);
      barrier_wait(memory.full + 8 * turn.panel, turn.phase);
    } else {
      panel += memory.unit_bytes;
    }
    const uint64_t x = wgmma_panel(panel);
    wgmma_fence();
#pragma unroll
    for (int j = 0; j < 4; ++j) wgmma<kX == XTerms::kPanelBf16>(sums, now + 4 * j, x + 2 * j);
    wgmma_commit();
    wgmma_wait<1>();
    if constexpr (kOpens) {
      if (before >= 0) give_back(before);
      before = turn.panel;
      turn.next(memory.panel_count);
    }
    if (!last) weights.next(then);
  };
#pragma unroll 1
  for (int unit = 0; unit < units; unit += 2) {
    step.template operator()<false>(unit + 1 == units, fragments[0], fragments[1]);
    if (unit + 1 < units) {
      step.template operator()<true>(unit + 2 == units, fragments[1], fragments[0]);
    }
  }
  wgmma_wait<0>();
  give_back(before);
}

// All warps that multiply.
__device__ __forceinline__ void sync_multipliers() {
  asm volatile("bar.sync 1, %0;" ::"n"(32 * kMatmulWarps) : "memory");
}

template <class W, class S, XTerms kX, int kN>
__device__ __forceinline__ void multiply_all(const TileArgs& a, const MatmulMemory<kN>& memory,
                                             const Slice& slice, Work<kN> work, int warp) {
  Fragments<W, S, kN> weights(a, memory, slice, work, warp);
  pdl_wait();
  const int t = threadIdx.x;
  PanelTurn turn;
#pragma unroll 1
  for (int i = 0; work.exists(); work.next(), ++i) {
    const int tile = work.first_tile() + warp, first_token = work.first_token();
    const bool exists = tile < a.shape.tiles;
    float* scales = memory.scales + i % 2 * kN;
    if (t < kN && first_token + t < a.linear.m) {
      scales[t] = W::kFactor * a.prepared_scale[first_token + t];
    }
    float sums[kN / 2] = {};
    weights.begin(exists);
    multiply<kX, kN>(memory, weights, slice.blocks * a.shape.units, turn, sums);
    sync_multipliers();  // all scales are there, and nobody reads those before them
    if (Panels<kN>::kShared || a.slices == 1) {
      if (exists) store_tile<kN>(a, tile, first_token, scales, sums);
      __syncwarp();
    } else {
      share_sums<kN>(reinterpret_cast<float*>(memory.ring(warp)), a.linear.m - first_token, sums);
    }
  }
}

// Of 256 tokens, a grid of clusters of two CTAs with the same tokens and neighbouring rows; of 64,
// clusters of a.slices CTAs for each 128 rows and 64 tokens (grid y, tokens first).
template <class W, class S, XTerms kX, int kN>
__global__ void __launch_bounds__(Panels<kN>::kThreads, Panels<kN>::kCtas)
    matmul_kernel(const __grid_constant__ TileArgs a) {
  using P = Panels<kN>;
  const MatmulMemory<kN> memory(a);
  const int warp = uniform_warp();
  const Work<kN> work(a);
  const Slice slice(a, P::kShared ? 0 : work.rank);
  if (threadIdx.x == 0) {
#pragma unroll 1
    for (int panel = 0; panel < memory.panel_count; ++panel) {
      barrier_init(memory.full + 8 * panel, 1);
      barrier_init(memory.empty + 8 * panel, kMatmulWarps * (P::kShared ? 2 : 1));
    }
    fence_barrier_init();
  }
  cluster_meet();
  if (warp >= kMatmulWarps) {
    if constexpr (P::kShared) fewer_registers<kFetchRegisters>();
    pdl_wait();
    if (threadIdx.x == 32 * kMatmulWarps) fetch_panels(a, memory, slice, work);
  } else {
    if constexpr (P::kShared) more_registers<kMultiplyRegisters>();
    multiply_all<W, S, kX, kN>(a, memory, slice, work, warp);
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
