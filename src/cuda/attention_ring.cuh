// A warp's private ring in shared memory for the tiles of a cache that it will multiply, and the
// instructions around it.
#pragma once

#include <cuda.h>

#include "cuda/attention.cuh"
#include "cuda/ptx.cuh"

namespace lowbit::cuda {

constexpr int kRingBytes = 192 * 1024;  // of a multiprocessor
constexpr int kDeepest = 8;

__host__ __device__ constexpr int smaller(int a, int b) { return a < b ? a : b; }

// Sizes that follow from the cache's codes and the head size. In shared memory the rows of a tile
// are cut into columns of at most 128 bytes, one below the other, and the 16-byte pieces of a row
// are swapped so that the same piece of eight rows lies in different banks.
template <class C, int kDim>
struct Shape {
  static constexpr int kRowBytes = kDim * C::kBits / 8;
  static constexpr int kPitch = smaller(kRowBytes, 128), kColumnBytes = kTileTokens * kPitch;
  static constexpr int kTileBytes = kTileTokens * kRowBytes;
  static constexpr int kBlocks = C::kBlock == 0 || C::kBlock >= kDim ? 1 : kDim / C::kBlock;
  static constexpr bool kScales = C::kBlock != 0;
  static constexpr int kPlanes = kScales ? (C::kZeros ? 4 : 2) : 0;  // of scales and zeros
  static constexpr int kPlaneBytes = kScales ? kTileTokens * kBlocks * 2 : 0;
  static constexpr int kStageBytes = 2 * kTileBytes + kPlanes * kPlaneBytes;  // of a warp
  // Of a CTA's ring, with so many CTAs to a multiprocessor.
  static constexpr int stages(int teams, int ctas) {
    return smaller(kDeepest, kRingBytes / (ctas * teams * kDecodeWarps) / kStageBytes);
  }
  static constexpr int kSteps = kDim / 16;       // mma along the head
  static constexpr int kLoads = kRowBytes / 32;  // of four matrices each, along a row
};

// ---- instructions -------------------------------------------------------------------------------

template <bool kHalf>
__device__ __forceinline__ void multiply(float (&d)[4], const uint32_t (&a)[4], uint2 b) {
  kHalf ? mma_f16(d, a, b.x, b.y) : mma_bf16(d, a, b.x, b.y);
}

// Two numbers rounded to a pair (part 0), or what that rounding lost (part 1).
template <bool kHalf>
__device__ __forceinline__ uint32_t rounded_pair(float x, float y) {
  uint32_t pair;
  if constexpr (kHalf) {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(y), "f"(x));
  } else {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(y), "f"(x));
  }
  return pair;
}
template <bool kHalf>
__device__ __forceinline__ float2 widened(uint32_t pair) {
  if constexpr (kHalf) {
    float2 out;
    asm("{.reg .f16 a, b;\nmov.b32 {a, b}, %2;\ncvt.f32.f16 %0, a;\ncvt.f32.f16 %1, b;}"
        : "=f"(out.x), "=f"(out.y)
        : "r"(pair));
    return out;
  } else {
    return {__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u)};
  }
}
template <bool kHalf>
__device__ __forceinline__ uint32_t part_of(float x, float y, bool rest) {
  const uint32_t pair = rounded_pair<kHalf>(x, y);
  const float2 near = widened<kHalf>(pair);
  return rest ? rounded_pair<kHalf>(x - near.x, y - near.y) : pair;
}

// ---- the ring -----------------------------------------------------------------------------------

// How the tiles of K and V are copied: rows of all pages as a matrix of bytes [columns of a row,
// rows, kPitch].
struct CacheMaps {
  CUtensorMap k, v;
};

template <class C, int kDim, int kTeams, int kCtas>
struct RingMemory {
  using S = Shape<C, kDim>;
  static constexpr int kWarps = kTeams * kDecodeWarps, kStages = S::stages(kTeams, kCtas);
  alignas(1024) std::byte tiles[kWarps][kStages][2][S::kTileBytes];
  alignas(16) std::byte
      planes[kWarps][kStages][S::kScales ? S::kPlanes : 1][S::kScales ? S::kPlaneBytes : 1];
  uint64_t barriers[kWarps][kStages];
};

#if LB_BULK_COPIES
// A warp's way through the tiles of its CTA's splits, as many tiles ahead of the arithmetic as its
// part of the ring holds.
template <class C, int kDim, int kTeams, int kCtas>
class Ring {
  using S = Shape<C, kDim>;
  using Memory = RingMemory<C, kDim, kTeams, kCtas>;

 public:
  __device__ Ring(const DecodeArgs& args, const DecodeItem& item, const CacheMaps& maps,
                  Memory& memory)
      : kv_(args.a.kv),
        item_(item),
        maps_(maps),
        memory_(memory),
        kv_heads_(args.a.kv_heads),
        table_(kv_.page_table + int64_t{item.slot} * kv_.max_pages),
        split_(static_cast<int32_t>(blockIdx.x)),
        unit_(first_unit()) {
    page_shift_ = 31 - __clz(kv_.page_tokens);
    const int lane = threadIdx.x % 32, row = lane % 16;
    const int swap = row * S::kPitch / 128 % (S::kPitch / 16);
    lane_offset_ = static_cast<uint32_t>(row * S::kPitch + (lane / 16 ^ swap) * 16);
    if (lane == 0) {
      for (int i = 0; i < Memory::kStages; ++i) barrier_init(barrier(i), 1);
      fence_barrier_init();
    }
    __syncwarp();
    find_page();
  }

  // Starts copying the first tiles: all that there is room for or, before the newest token is in
  // the cache, those without it.
  __device__ void fill(bool with_newest) {
    for (; started_ < Memory::kStages && more(); ++started_) {
      if (!with_newest && item_.context - first_token() <= kTileTokens) return;
      start(started_);
    }
  }
  // The oldest tile, of which `live` tokens count, has arrived.
  __device__ void await(int32_t live) {
    barrier_wait(barrier(stage_), phase_);
    // Its other values, whatever they are, meet weights of 0.
    if (live >= kTileTokens) return;
    const int pieces = (kTileTokens - live) * (S::kPitch / 16);
    for (int i = threadIdx.x % 32; i < pieces * (S::kRowBytes / S::kPitch); i += 32) {
      const int at = i / pieces * S::kColumnBytes + live * S::kPitch + i % pieces * 16;
      *reinterpret_cast<uint4*>(tile(stage_, 1) + at) = {};
    }
    __syncwarp();
  }
  // It is used up.
  __device__ void give_back() {
    __syncwarp();
    if (more()) start(stage_);
    if (++stage_ == Memory::kStages) stage_ = 0, phase_ ^= 1;
  }

  // Words of 16-byte pieces 2 i and 2 i + 1 of a row of the oldest tile. Lane 4g + q:
  // words q of rows g and g + 8 of the first, then of the second.
  __device__ void read_k(int i, uint32_t (&words)[4]) const { load_matrices(words, address(0, i)); }
  // Half words g of rows 2q and 2q + 1, as a word, of rows 2q + 8 and 2q + 9; then of the second.
  __device__ void read_v(int i, uint32_t (&words)[4]) const {
    load_transposed(words, address(1, i));
  }
  // Scales and zeros of tokens g and g + 8: planes K, V, zeros of K, of V.
  __device__ void read_scales(int plane, float (&out)[2][S::kBlocks]) const {
    const auto* from = reinterpret_cast<const uint16_t*>(planes(stage_, plane));
    const int g = threadIdx.x % 32 / 4;
#pragma unroll
    for (int i = 0; i < 2 * S::kBlocks; ++i) {
      const int e = i / S::kBlocks, b = i % S::kBlocks;
      out[e][b] = __uint_as_float(uint32_t{from[(g + 8 * e) * S::kBlocks + b]} << 16);
    }
  }

 private:
  __device__ int32_t first_unit() const {
    return split_ * item_.splits.units + static_cast<int32_t>(threadIdx.x) / kDecodeThreads;
  }
  __device__ int32_t first_token() const {
    return unit_ * kUnitTokens +
           static_cast<int32_t>(threadIdx.x) % kDecodeThreads / 32 * kTileTokens;
  }
  __device__ bool more() const {
    return split_ < item_.splits.count && first_token() < item_.context;
  }
  __device__ void find_page() {  // ahead of its use: a load that the copies depend on
    if (more()) page_ = table_[first_token() >> page_shift_];
  }
  __device__ void start(int stage) {
    if (threadIdx.x % 32 == 0) {
      const int32_t row = (page_ * kv_heads_ + item_.kv_head) * kv_.page_tokens +
                          (first_token() & (kv_.page_tokens - 1));
      const bool zeros = C::kZeros && kv_.k.zeros;
      constexpr int kUnzeroed = S::kStageBytes - (C::kZeros ? 2 * S::kPlaneBytes : 0);
      barrier_expect(barrier(stage), zeros ? S::kStageBytes : kUnzeroed);
      bulk_copy(shared_address(tile(stage, 0)), maps_.k, row, barrier(stage));
      bulk_copy(shared_address(tile(stage, 1)), maps_.v, row, barrier(stage));
      const auto plane = [&](int index, const void* from) {
        bulk_copy(shared_address(planes(stage, index)),
                  static_cast<const std::byte*>(from) + int64_t{row} * S::kBlocks * 2,
                  S::kPlaneBytes, barrier(stage));
      };
      if constexpr (S::kScales) {
        plane(0, kv_.k.scales);
        plane(1, kv_.v.scales);
      }
      if (zeros) {
        plane(2, kv_.k.zeros);
        plane(3, kv_.v.zeros);
      }
    }
    unit_ += kTeams;
    if (unit_ >= (split_ + 1) * item_.splits.units) {
      split_ += static_cast<int32_t>(gridDim.x);
      unit_ = first_unit();
    }
    find_page();
  }

  __device__ std::byte* tile(int stage, int which) const {
    return memory_.tiles[threadIdx.x / 32][stage][which];
  }
  __device__ std::byte* planes(int stage, int which) const {
    return memory_.planes[threadIdx.x / 32][stage][which];
  }
  __device__ uint32_t barrier(int stage) const {
    return shared_address(&memory_.barriers[threadIdx.x / 32][stage]);
  }
  __device__ uint32_t address(int which, int i) const {
    const int at = 32 * i;  // in a row
    return shared_address(tile(stage_, which)) + at / S::kPitch * S::kColumnBytes +
           (lane_offset_ ^ (at % S::kPitch));
  }

  const KvView& kv_;
  const DecodeItem& item_;
  const CacheMaps& maps_;
  Memory& memory_;
  int32_t kv_heads_, page_shift_;
  const int32_t* table_;
  int32_t split_, unit_, page_ = 0;  // of the next tile
  uint32_t lane_offset_;             // of a lane's row and piece of a column
  int started_ = 0, stage_ = 0;
  uint32_t phase_ = 0;
};
#endif

}  // namespace lowbit::cuda
