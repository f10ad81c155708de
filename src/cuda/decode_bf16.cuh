// Codes of a unit of layout kTiles to weights in bf16, by arithmetic of bf16 pairs (sm_90):
// integers of up to seven bits, which bf16 holds exactly, times scales in bf16, so that a weight is
// rounded once.
#pragma once

#include "cuda/decode.cuh"
#include "cuda/scales.cuh"

namespace lowbit::cuda {

__device__ __forceinline__ uint32_t bf16_add(uint32_t a, uint32_t b) {
  uint32_t out;
  asm("add.rn.bf16x2 %0, %1, %2;" : "=r"(out) : "r"(a), "r"(b));
  return out;
}
__device__ __forceinline__ uint32_t bf16_multiply(uint32_t a, uint32_t b) {
  uint32_t out;
  asm("mul.rn.bf16x2 %0, %1, %2;" : "=r"(out) : "r"(a), "r"(b));
  return out;
}
__device__ __forceinline__ uint32_t bf16_fma(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t out;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(out) : "r"(a), "r"(b), "r"(c));
  return out;
}
// A whole number, or 1 / 2 of one, of at most 8 bits.
constexpr uint32_t bf16_pair(float value) {
  uint32_t sign = value < 0 ? 0x8000u : 0, exponent = 127;
  float size = value < 0 ? -value : value;
  for (; size >= 2; size /= 2) ++exponent;
  for (; size < 1; size *= 2) --exponent;
  return (sign | exponent << 7 | static_cast<uint32_t>((size - 1) * 128)) * 0x10001u;
}

// As ByteInt of decode.cuh: a byte below 128 under the exponent of 128 is 128 more than itself.
template <int kBits, bool kSign = false>
struct Bf16Int {
  static_assert(kBits <= 7);
  static constexpr float kFactor = 1;
  static constexpr uint32_t kAbove = bf16_pair(128) >> 24;

  __device__ static uint32_t number(uint32_t biased) {
    if constexpr (kSign) {
      return bf16_fma(bf16_add(biased, bf16_pair(-128)), bf16_pair(2), bf16_pair(-1));
    }
    return bf16_add(biased, bf16_pair(-128 - (1 << (kBits - 1))));
  }
  __device__ static void decode(const uint8_t* unit, int lane, uint32_t (&lo)[8],
                                uint32_t (&hi)[8]) {
    integer_pairs<Bf16Int, kBits>(unit, lane, lo, hi);
  }
};

// One scale in bf16 for rows g and g + 8 of the block, and zeros that are added afterwards.
template <bool kZeros>
struct Bf16Scales {
  static constexpr int kGroups = 1;
  static bool fits(const TileShape& s) {
    return s.scale == Scale::kBF16 && s.group >= kUnit &&
           s.zero == (kZeros ? Zero::kFloat : Zero::kNone);
  }
  uint32_t low, high, low_zero = 0, high_zero = 0;  // pairs of one number

  __device__ Bf16Scales(const TileArgs&, const uint8_t* scales, int g) {
    const auto* pairs = reinterpret_cast<const uint32_t*>(scales);
    low = __byte_perm(pairs[g], 0, 0x1010);
    high = __byte_perm(pairs[g], 0, 0x3232);
    if constexpr (kZeros) {
      const uint32_t zeros = pairs[kTileRows / 2 + g];
      low_zero = __byte_perm(zeros, 0, 0x1010);
      high_zero = __byte_perm(zeros, 0, 0x3232);
    }
  }
  __device__ void scale(uint32_t (&lo)[8], uint32_t (&hi)[8]) const {
#pragma unroll
    for (int p = 0; p < 8; ++p) {
      lo[p] = kZeros ? bf16_fma(lo[p], low, low_zero) : bf16_multiply(lo[p], low);
      hi[p] = kZeros ? bf16_fma(hi[p], high, high_zero) : bf16_multiply(hi[p], high);
    }
  }
};

}  // namespace lowbit::cuda
