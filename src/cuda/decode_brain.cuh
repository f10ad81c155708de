// Codes of a unit of layout kTiles to weights in bf16, by arithmetic of bf16 pairs (sm_90):
// integers of up to seven bits, which bf16 holds exactly, times scales in bf16, so that a weight is
// rounded once.
#pragma once

#include "cuda/decode.cuh"
#include "cuda/scales.cuh"

namespace lowbit::cuda {

__device__ __forceinline__ uint32_t add_brains(uint32_t a, uint32_t b) {
  uint32_t out;
  asm("add.rn.bf16x2 %0, %1, %2;" : "=r"(out) : "r"(a), "r"(b));
  return out;
}
__device__ __forceinline__ uint32_t multiply_brains(uint32_t a, uint32_t b) {
  uint32_t out;
  asm("mul.rn.bf16x2 %0, %1, %2;" : "=r"(out) : "r"(a), "r"(b));
  return out;
}
__device__ __forceinline__ uint32_t fma_brains(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t out;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(out) : "r"(a), "r"(b), "r"(c));
  return out;
}
// A whole number, or 1 / 2 of one, of at most 8 bits.
constexpr uint32_t brain_pair(float value) {
  uint32_t sign = value < 0 ? 0x8000u : 0, exponent = 127;
  float size = value < 0 ? -value : value;
  for (; size >= 2; size /= 2) ++exponent;
  for (; size < 1; size *= 2) --exponent;
  return (sign | exponent << 7 | static_cast<uint32_t>((size - 1) * 128)) * 0x10001u;
}

// As ByteInt of decode.cuh: a byte below 128 under the exponent of 128 is 128 more than itself.
template <int kBits, bool kSign = false>
struct BrainInt {
  static_assert(kBits <= 7);
  static constexpr float kFactor = 1;
  static constexpr XTerms kX = XTerms::kF16;

  __device__ static uint32_t number(uint32_t biased) {
    if constexpr (kSign) {
      return fma_brains(add_brains(biased, brain_pair(-128)), brain_pair(2), brain_pair(-1));
    }
    return add_brains(biased, brain_pair(-128 - (1 << (kBits - 1))));
  }
  template <int kWord>
  __device__ static void pairs(const ByteWords<kBits>& codes, uint32_t (&lo)[8],
                               uint32_t (&hi)[8]) {
    if constexpr (kWord < 8) {
      const uint32_t word = codes.template word<kWord, 0>() ^ in_bytes(1u << (kBits - 1));
      uint32_t(&out)[8] = kWord < 4 ? lo : hi;
      constexpr int kPair = kWord % 4 * 2;
      out[kPair] = number(__byte_perm(word, 0x43434343u, 0x5150));
      out[kPair + 1] = number(__byte_perm(word, 0x43434343u, 0x5352));
      pairs<kWord + 1>(codes, lo, hi);
    }
  }
  __device__ static void decode(const uint8_t* unit, int lane, uint32_t (&lo)[8],
                                uint32_t (&hi)[8]) {
    pairs<0>(ByteWords<kBits>(unit, lane), lo, hi);
  }
};

// One scale in bf16 for rows g and g + 8 of the block, and zeros that are added afterwards.
template <bool kZeros>
struct BrainScales {
  static constexpr int kGroups = 1;
  static bool fits(const TileShape& s) {
    return s.scale == Scale::kBF16 && s.group >= kUnit &&
           s.zero == (kZeros ? Zero::kFloat : Zero::kNone);
  }
  uint32_t low, high, low_zero = 0, high_zero = 0;  // pairs of one number

  __device__ BrainScales(const TileArgs&, const uint8_t* scales, int g) {
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
      lo[p] = kZeros ? fma_brains(lo[p], low, low_zero) : multiply_brains(lo[p], low);
      hi[p] = kZeros ? fma_brains(hi[p], high, high_zero) : multiply_brains(hi[p], high);
    }
  }
};

}  // namespace lowbit::cuda
