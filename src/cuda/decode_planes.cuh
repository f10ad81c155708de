// Codes of one bit to the A fragments of mma.m16n8k256, whose products count bits: one struct for
// each Code, with
//   kFactor  what sums of bits times x still have to be multiplied with
//   kOffset  what the bits are too large by, before they are
#pragma once

#include "cuda/decode_fixed.cuh"

namespace lowbit::cuda {

// A set bit stands for -1, the other for 0 or, of signs, 1.
template <bool kSign>
struct BitPlane {
  static constexpr XTerms kX = XTerms::kPlanes;
  static constexpr float kFactor = kSign ? -2 : -1, kOffset = kSign ? 0.5f : 0;
  static constexpr uint32_t kEven = 0x0f0f0f0fu;  // bits of a word that are of the first unit

  // Those of the first word that kEven has, the others of the second; in one instruction, which
  // the compiler does not find where a shift left some of them 0.
  __device__ static uint32_t both(uint32_t even, uint32_t odd) {
    uint32_t out;
    asm("lop3.b32 %0, %1, %2, %3, 0xca;" : "=r"(out) : "r"(kEven), "r"(even), "r"(odd));
    return out;
  }
  // A lane's words of two units that follow each other to 16 columns of each: of row g, of g + 8.
  __device__ static void rows(uint32_t even, uint32_t odd, uint32_t& g, uint32_t& g_8) {
    g = both(even, odd << 4);
    g_8 = both(even >> 4, odd);
  }
};

// What takes a token alone where its scales are of whole units: planes, if there are any.
template <class W, class S>
struct OfOneToken {
  using Type = W;
};
template <class S>
requires(S::kGroups == 1) struct OfOneToken<FixedInt<1>, S> {
  using Type = BitPlane<false>;
};
template <class S>
requires(S::kGroups == 1) struct OfOneToken<FixedSign, S> {
  using Type = BitPlane<true>;
};

}  // namespace lowbit::cuda
