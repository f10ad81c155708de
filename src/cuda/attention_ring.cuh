// A lane's private ring in shared memory for the words of a cache that it will multiply, and the
// instructions around it.
#pragma once

#include "cuda/attention.cuh"

namespace lowbit::cuda {

constexpr int kRingBytes = 192 * 1024, kDeepest = 8;

__host__ __device__ constexpr int smaller(int a, int b) { return a < b ? a : b; }

// Sizes that follow from the cache's codes and the head size. A lane's words come in chunks: four
// lanes (of K) or eight (of V) make one stretch of a row that shares a scale.
template <class C, int kDim>
struct Shape {
  static constexpr int kRowBytes = kDim * C::kBits / 8;
  static constexpr int kBlocks = C::kBlock == 0 || C::kBlock >= kDim ? 1 : kDim / C::kBlock;
  static constexpr int kBlockBytes = kRowBytes / kBlocks;
  static constexpr bool kScales = C::kBlock != 0;
  static constexpr int kKBytes = smaller(16, kBlockBytes / 4),
                       kVBytes = smaller(16, kBlockBytes / 8);
  static constexpr int kKChunks = kRowBytes / 4 / kKBytes;  // of one row
  static constexpr int kVChunks = kRowBytes / 8 / kVBytes;
  static constexpr int kScaleBytes = kScales ? 4 * kBlocks : 0;  // of two tokens
  static constexpr int kPlanes = kScales ? (C::kZeros ? 4 : 2) : 0;
  static constexpr int kVAt = 2 * kKChunks * kKBytes, kScalesAt = kVAt + 4 * kVChunks * kVBytes;
  static constexpr int kLaneBytes = kScalesAt + kPlanes * kScaleBytes;  // of one tile
  static constexpr int kStages = smaller(kDeepest, kRingBytes / (kLaneBytes * kDecodeThreads));
  static constexpr int kSteps = kDim / 16;  // mma along the head
};

// ---- instructions -------------------------------------------------------------------------------

template <bool kHalf>
__device__ __forceinline__ void multiply(float (&d)[4], const uint32_t (&a)[4], uint2 b) {
  if constexpr (kHalf) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b.x), "r"(b.y));
  } else {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b.x), "r"(b.y));
  }
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

// Copies to shared memory, or zeros where the token is past the context.
template <int kBytes>
__device__ __forceinline__ void copy(uint32_t to, const void* from, bool live) {
  const int bytes = live ? kBytes : 0;
  if constexpr (kBytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %3, %2;" ::"r"(to), "l"(from), "r"(bytes),
                 "n"(kBytes)
                 : "memory");
  }
}
__device__ __forceinline__ void commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kPending>
__device__ __forceinline__ void wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

template <int kBytes>
__device__ __forceinline__ void read_words(const std::byte* at, uint32_t* words) {
  if constexpr (kBytes == 16) {
    const uint4 w = *reinterpret_cast<const uint4*>(at);
    words[0] = w.x, words[1] = w.y, words[2] = w.z, words[3] = w.w;
  } else if constexpr (kBytes == 8) {
    const uint2 w = *reinterpret_cast<const uint2*>(at);
    words[0] = w.x, words[1] = w.y;
  } else {
    words[0] = *reinterpret_cast<const uint32_t*>(at);
  }
}

// ---- the ring -----------------------------------------------------------------------------------

// A warp's way through the tiles of its CTA's splits, a few tiles ahead of the arithmetic.
template <class C, int kDim>
class Ring {
  using S = Shape<C, kDim>;

 public:
  __device__ Ring(const DecodeArgs& args, const DecodeItem& item, std::byte* shared)
      : kv_(args.a.kv), item_(item), memory_(shared), kv_heads_(args.a.kv_heads) {
    const int lane = threadIdx.x % 32, g = lane / 4, q = lane % 4;
    k_ = static_cast<const std::byte*>(kv_.k.data) + 2 * g * S::kRowBytes + q * S::kKBytes;
    v_ = static_cast<const std::byte*>(kv_.v.data) + 4 * q * S::kRowBytes + g * S::kVBytes;
    page_shift_ = 31 - __clz(kv_.page_tokens);
    k_token_ = 2 * g;
    v_token_ = 4 * q;
    table_ = kv_.page_table + int64_t{item.slot} * kv_.max_pages;
    split_ = static_cast<int32_t>(blockIdx.x);
    unit_ = split_ * item.splits.units;
    find_page();
  }

  // Starts the copy of the next tile into the stage that was read last.
  __device__ void fetch() {
    const int32_t token = first_token();
    if (split_ < item_.splits.count && token < item_.context) {
      const int32_t live = item_.context - token;
      const int64_t row = (int64_t{page_} * kv_heads_ + item_.kv_head) * kv_.page_tokens +
                          (token & (kv_.page_tokens - 1));
      copy_rows(row, live);
      if constexpr (S::kScales) copy_scales(row, live);
    }
    commit();
    if (++unit_ == (split_ + 1) * item_.splits.units) {
      split_ += static_cast<int32_t>(gridDim.x);
      unit_ = split_ * item_.splits.units;
    }
    find_page();
    to_ = to_ + 1 == S::kStages ? 0 : to_ + 1;
  }

  __device__ bool newest_is_next() const {
    return split_ < item_.splits.count && item_.context - 1 - first_token() < kTileTokens;
  }
  __device__ void await() { wait<S::kStages - 1>(); }
  __device__ void pop() { from_ = from_ + 1 == S::kStages ? 0 : from_ + 1; }

  // The lane's words of the oldest tile.
  __device__ void read_k(int chunk, int row, uint32_t* words) const {
    read_words<S::kKBytes>(at(from_, 0, 2 * chunk + row, S::kKBytes), words);
  }
  __device__ void read_v(int chunk, int row, uint32_t* words) const {
    read_words<S::kVBytes>(at(from_, S::kVAt, 4 * chunk + row, S::kVBytes), words);
  }
  // Scales and zeros of tokens 2g and 2g + 1: planes K, V, zeros of K, of V.
  __device__ void read_scales(int plane, float (&out)[2][S::kBlocks]) const {
    uint32_t words[S::kBlocks];
    read_words<S::kScaleBytes>(at(from_, S::kScalesAt, plane, S::kScaleBytes), words);
#pragma unroll
    for (int i = 0; i < 2 * S::kBlocks; ++i) {
      const uint32_t word = words[i / 2];
      out[i / S::kBlocks][i % S::kBlocks] =
          __uint_as_float(i % 2 == 0 ? word << 16 : word & 0xffff0000u);
    }
  }

 private:
  __device__ int32_t first_token() const {
    return unit_ * kUnitTokens + static_cast<int32_t>(threadIdx.x / 32) * kTileTokens;
  }
  __device__ void find_page() {  // ahead of its use: a load that the copies depend on
    const int32_t token = first_token();
    if (split_ < item_.splits.count && token < item_.context) {
      page_ = table_[token >> page_shift_];
    }
  }
  // Pieces of one kind lie thread by thread, so that a warp's accesses have no bank conflicts.
  __device__ std::byte* at(int stage, int region, int piece, int bytes) const {
    return memory_ + stage * S::kLaneBytes * kDecodeThreads + region * kDecodeThreads +
           (piece * kDecodeThreads + static_cast<int>(threadIdx.x)) * bytes;
  }
  __device__ uint32_t target(int region, int piece, int bytes) const {
    return static_cast<uint32_t>(__cvta_generic_to_shared(at(to_, region, piece, bytes)));
  }
  __device__ void copy_rows(int64_t row, int32_t live) {
    const std::byte* k = k_ + row * S::kRowBytes;
    const std::byte* v = v_ + row * S::kRowBytes;
#pragma unroll
    for (int c = 0; c < S::kKChunks; ++c) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        copy<S::kKBytes>(target(0, 2 * c + e, S::kKBytes),
                         k + e * S::kRowBytes + c * 4 * S::kKBytes, k_token_ + e < live);
      }
    }
#pragma unroll
    for (int c = 0; c < S::kVChunks; ++c) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        copy<S::kVBytes>(target(S::kVAt, 4 * c + e, S::kVBytes),
                         v + e * S::kRowBytes + c * 8 * S::kVBytes, v_token_ + e < live);
      }
    }
  }
  __device__ void copy_scales(int64_t row, int32_t live) {
    const int64_t offset = (row + k_token_) * S::kBlocks * 2;
    const bool some = k_token_ < live;
    const auto plane = [&](int index, const void* from) {
      copy<S::kScaleBytes>(target(S::kScalesAt, index, S::kScaleBytes),
                           static_cast<const std::byte*>(from) + offset, some);
    };
    plane(0, kv_.k.scales);
    plane(1, kv_.v.scales);
    if constexpr (C::kZeros) {
      if (kv_.k.zeros) plane(2, kv_.k.zeros);
      if (kv_.v.zeros) plane(3, kv_.v.zeros);
    }
  }

  const KvView& kv_;
  const DecodeItem& item_;
  std::byte* memory_;
  int32_t kv_heads_;
  const std::byte *k_, *v_;  // of row 0, where the lane's words begin
  int32_t k_token_, v_token_, page_shift_;
  const int32_t* table_;
  int32_t split_, unit_, page_ = 0;  // of the next tile
  int from_ = 0, to_ = 0;
};

}  // namespace lowbit::cuda
