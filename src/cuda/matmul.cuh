// y[m, n] (+)= x[m, k] w[n, k]^T for many tokens, w in layout kTiles: Hopper's tensor cores,
// weights decoded in registers on their way to them.
//
// Weights are the A operand of wgmma.m64n256k16, x the B operand. A CTA makes 128 rows of y's
// columns for 256 tokens: each of the eight warps of two warpgroups streams a tile of its own, as
// in tiles.cuh, and decodes a unit while the one before it is multiplied; one more warp fetches
// panels of x. The two CTAs of a cluster have the same tokens: each fetches half of every panel for
// both. Codes whose scales are of whole rows are multiplied as they are, in f16; others times their
// scales and rounded to bf16.
//   bytes   the stream once for every 256 tokens, x once for every 256 rows; from L2, mostly
//   limits  sm_90a; m is padded to multiples of 256
#pragma once

#include "cuda/decode.cuh"
#include "cuda/pdl.cuh"
#include "cuda/scales.cuh"
#include "cuda/stage.cuh"
#include "cuda/wgmma.cuh"

namespace lowbit::cuda {

static_assert(kWgmmaColumns == kPanelTokens);
constexpr int kMatmulWarps = 8, kMatmulTiles = kMatmulWarps;  // that multiply; a tile each
constexpr int kMatmulThreads = 32 * kMatmulWarps + 128;       // with the warpgroup that fetches x
constexpr int kMatmulCtas = 2;                                // of a cluster
constexpr int kPanels = 4;                                    // in shared memory
constexpr int kFetchRegisters = 40, kMultiplyRegisters = 232;

// How a CTA's dynamic shared memory is divided: panels, rings of warps, barriers.
struct MatmulMemory {
  __device__ explicit MatmulMemory(const TileArgs& a) {
    extern __shared__ __align__(1024) uint8_t memory[];
    panels = shared_address(memory);
    rings = memory + kPanels * kPanelBytes;
    const uint32_t barriers = shared_address(rings) + kMatmulWarps * a.slots * a.slot_bytes;
    full = barriers;
    empty = barriers + 8 * kPanels;
    pieces = barriers + 16 * kPanels;
  }
  uint32_t panels;
  uint8_t* rings;
  uint32_t full, empty;  // [kPanels] each
  uint32_t pieces;       // [kMatmulWarps, kMaxSlots]
};
constexpr int kMatmulBarrierBytes = 16 * kPanels + 8 * kMatmulWarps * kMaxSlots;

// A warp's tile, block after block, through a ring of pieces in shared memory.
class TileStream {
 public:
  __device__ TileStream(const TileArgs& a, const MatmulMemory& memory, int tile)
      : slots_(a.slots),
        slot_bytes_(a.slot_bytes),
        block_bytes_(a.shape.block_bytes),
        piece_blocks_(a.piece_blocks) {
    const int warp = threadIdx.x / 32;
    memory_ = memory.rings + warp * slots_ * slot_bytes_;
    barriers_ = memory.pieces + 8 * kMaxSlots * warp;
    from_ = static_cast<const uint8_t*>(a.linear.w.codes) +
            int64_t{tile} * a.shape.blocks * block_bytes_;
    left_ = tile < a.shape.tiles ? a.shape.blocks * block_bytes_ : 0;
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
  __device__ Fragments(const TileArgs& a, const MatmulMemory& memory, int tile)
      : a_(a), stream_(a, memory, tile), exists_(tile < a.shape.tiles) {}

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

// Half of every panel of the cluster's tokens, to both of its CTAs. By one thread.
__device__ inline void fetch_panels(const TileArgs& a, const MatmulMemory& memory, int token_block,
                                    int units) {
  constexpr int kShare = kPanelBytes / kMatmulCtas;
  const uint32_t offset = cluster_rank() * kShare;
  const auto* from = reinterpret_cast<const uint8_t*>(a.prepared.x) +
                     int64_t{token_block} * units * kPanelBytes + offset;
#pragma unroll 1
  for (int unit = 0; unit < units; ++unit, from += kPanelBytes) {
    const int panel = unit % kPanels;
    if (unit >= kPanels) barrier_wait(memory.empty + 8 * panel, (unit / kPanels - 1) & 1);
    barrier_expect(memory.full + 8 * panel, kPanelBytes);
    bulk_copy_to_all(memory.panels + panel * kPanelBytes + offset, from, kShare,
                     memory.full + 8 * panel, (1 << kMatmulCtas) - 1);
  }
}

// y of a warp's tile for kPanelTokens tokens, y[4 i + e] being of token 8 i + 2 q + e % 2.
__device__ __forceinline__ void store_tile(const TileArgs& a, int tile, int first_token,
                                           float code_factor, const float (&y)[kWgmmaSums]) {
  const LinearArgs& l = a.linear;
  const int g = threadIdx.x % 32 / 4, q = threadIdx.x % 4;
  const bool paired = l.w.paired, silu_mul = l.epilogue == Epilogue::kSiluMul;
  const bool add = l.epilogue == Epilogue::kAdd;
  const int half = paired ? l.n / 2 : 0, first = tile * (paired ? 8 : kTileRows) + g;
  const int n[2] = {first, paired ? first + half : first + 8};
  const bool exists[2] = {first < (paired ? half : l.n), n[1] < l.n && !silu_mul};
  if (!exists[0]) return;
  float factor[2] = {1, 1}, bias[2] = {0, 0};
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (l.w.scales) {
      factor[i] = static_cast<const float*>(l.w.scales)[tile * kTileRows + g + 8 * i];
    }
    if (l.bias && n[i] < l.n) bias[i] = l.bias[n[i]];
  }
#pragma unroll
  for (int i = 0; i < kWgmmaSums / 4; ++i) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const int t = first_token + 8 * i + 2 * q + e;
      if (t >= l.m) continue;
      const float scale = code_factor * a.prepared_scale[t];
      const float v[2] = {y[4 * i + e] * scale * factor[0] + bias[0],
                          y[4 * i + 2 + e] * scale * factor[1] + bias[1]};
      float* out = l.y + t * l.ldy;
      if (silu_mul) {
        out[n[0]] = silu(v[0]) * v[1];
        continue;
      }
      out[n[0]] = add ? out[n[0]] + v[0] : v[0];
      if (exists[1]) out[n[1]] = add ? out[n[1]] + v[1] : v[1];
    }
  }
}

// The cluster's CTAs share blockIdx.x / 2, a block of tokens, and have neighbouring rows.
template <class W, class S, XTerms kX>
__global__ void __launch_bounds__(kMatmulThreads, 1)
    matmul_kernel(const __grid_constant__ TileArgs a) {
  const MatmulMemory memory(a);
  const int warp = threadIdx.x / 32, units = a.shape.blocks * a.shape.units;
  const int token_block = blockIdx.x / kMatmulCtas;
  const int row_block = blockIdx.y * kMatmulCtas + cluster_rank();
  if (threadIdx.x == 0) {
    for (int panel = 0; panel < kPanels; ++panel) {
      barrier_init(memory.full + 8 * panel, 1);
      barrier_init(memory.empty + 8 * panel, kMatmulWarps * kMatmulCtas);
    }
    fence_barrier_init();
  }
  cluster_sync();
  if (warp >= kMatmulWarps) {
    fewer_registers<kFetchRegisters>();
    pdl_wait();
    if (threadIdx.x == 32 * kMatmulWarps) fetch_panels(a, memory, token_block, units);
  } else {
    more_registers<kMultiplyRegisters>();
    const int tile = row_block * kMatmulTiles + warp;
    Fragments<W, S> weights(a, memory, tile);
    pdl_wait();
    float y[kWgmmaSums] = {};
    uint32_t fragments[2][16];
    weights.next(fragments[0]);
    const auto multiply = [&](int unit, const uint32_t(&now)[16], uint32_t(&then)[16]) {
      const int panel = unit % kPanels;
      barrier_wait(memory.full + 8 * panel, unit / kPanels & 1);
      const uint64_t x = wgmma_panel(memory.panels + panel * kPanelBytes);
      wgmma_fence();
#pragma unroll
      for (int j = 0; j < 4; ++j) wgmma<kX == XTerms::kPanelBf16>(y, now + 4 * j, x + 2 * j);
      wgmma_commit();
      wgmma_wait<1>();
      if (unit > 0 && threadIdx.x % 32 < kMatmulCtas) {
        barrier_arrive(memory.empty + 8 * ((unit - 1) % kPanels), threadIdx.x % 32);
      }
      if (unit + 1 < units) weights.next(then);
    };
#pragma unroll 1
    for (int unit = 0; unit < units; unit += 2) {
      multiply(unit, fragments[0], fragments[1]);
      if (unit + 1 < units) multiply(unit + 1, fragments[1], fragments[0]);
    }
    wgmma_wait<0>();
    if (tile < a.shape.tiles) store_tile(a, tile, token_block * kPanelTokens, W::kFactor, y);
  }
  __syncwarp();
  cluster_sync();  // nobody's memory ends before what is on its way there
}

}  // namespace lowbit::cuda
