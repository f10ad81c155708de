// Codes of a unit of layout kTiles to the A fragments of mma.m16n8k16: one struct for each Code. A
// struct has
//   kFactor   what the numbers that decode() makes still have to be multiplied with
//   kX        how x is to be staged
//   decode    words -> lo[p], hi[p]: f16 pairs of row g and of row g + 8, pair p = columns
//             16 (p / 2) + 4 q + 2 (p % 2) + {0, 1}
// Integers whose x is in fixed point: decode_fixed.cuh.
#pragma once

#include <cuda_fp8.h>
#include <stdint.h>

#include "cuda/ptx.cuh"
#include "cuda/tiles_args.h"

namespace lowbit::cuda {

// The f16 of a number that is 0 or a normal f16 exactly.
constexpr uint32_t half_bits(double value) {
  if (value == 0) return 0;
  const uint32_t sign = value < 0 ? 0x8000u : 0;
  double size = value < 0 ? -value : value;
  int exponent = 15;
  while (size >= 2) size /= 2, ++exponent;
  while (size < 1) size *= 2, --exponent;
  return sign | static_cast<uint32_t>(exponent) << 10 | static_cast<uint32_t>((size - 1) * 1024);
}
constexpr uint32_t half_pair(double value) { return half_bits(value) * 0x10001u; }

constexpr uint32_t in_halves(uint32_t mask) { return mask * 0x10001u; }
constexpr uint32_t in_bytes(uint32_t mask) { return mask * 0x01010101u; }

__device__ __forceinline__ uint32_t add_halves(uint32_t a, uint32_t b) {
  uint32_t out;
  asm("add.rn.f16x2 %0, %1, %2;" : "=r"(out) : "r"(a), "r"(b));
  return out;
}
__device__ __forceinline__ uint32_t fma_halves(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t out;
  asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(out) : "r"(a), "r"(b), "r"(c));
  return out;
}

// Left for positive, right for negative distances.
template <int kLeft>
__device__ __forceinline__ uint32_t shift(uint32_t word) {
  return kLeft >= 0 ? word << (kLeft >= 0 ? kLeft : 0) : word >> (kLeft < 0 ? -kLeft : 0);
}

// kWords words of every lane, in runs of up to 16 bytes.
template <int kWords>
__device__ __forceinline__ void load_words(const uint8_t* plane, int lane, uint32_t* out) {
  if constexpr (kWords == 1) {
    out[0] = reinterpret_cast<const uint32_t*>(plane)[lane];
  } else if constexpr (kWords == 2) {
    const uint2 v = reinterpret_cast<const uint2*>(plane)[lane];
    out[0] = v.x, out[1] = v.y;
  } else {
#pragma unroll
    for (int run = 0; run < kWords / 4; ++run) {
      const uint4 v = reinterpret_cast<const uint4*>(plane)[run * 32 + lane];
      out[4 * run] = v.x, out[4 * run + 1] = v.y, out[4 * run + 2] = v.z, out[4 * run + 3] = v.w;
    }
  }
}

// ---- f16 and bf16 -------------------------------------------------------------------------------

struct Half16 {
  static constexpr float kFactor = 1;
  static constexpr XTerms kX = XTerms::kF16;
  __device__ static void decode(const uint8_t* unit, int lane, uint32_t (&lo)[8],
                                uint32_t (&hi)[8]) {
    uint32_t words[16];
    load_words<16>(unit, lane, words);
#pragma unroll
    for (int i = 0; i < 8; ++i) lo[i] = words[2 * i], hi[i] = words[2 * i + 1];
  }
};
struct Bf16 : Half16 {
  static constexpr XTerms kX = XTerms::kTwoBf16;
};

// ---- codes in bytes -----------------------------------------------------------------------------

// Word j of the 8 whose bytes are a lane's codes, each with bit 0 at bit kLeft of its byte.
template <int kBits>
struct ByteWords {
  static constexpr int kNibbles = kBits >= 4 && kBits < 8 ? 4 : 0;
  static constexpr int kTwos = kBits < 8 && (kBits & 2) ? 2 : 0;
  static constexpr int kOnes = kBits < 8 && (kBits & 1) ? 1 : 0;
  static constexpr int kBytes = kBits == 8 ? 8 : 0;
  static constexpr int kWords = kNibbles + kTwos + kOnes + kBytes;
  uint32_t words[kWords];

  __device__ ByteWords(const uint8_t* unit, int lane) {
    if constexpr (kBits == 8) load_words<8>(unit, lane, words);
    if constexpr (kNibbles > 0) load_words<4>(unit, lane, words);
    if constexpr (kTwos > 0) load_words<2>(unit + 128 * kNibbles, lane, words + kNibbles);
    if constexpr (kOnes > 0) {
      load_words<1>(unit + 128 * (kNibbles + kTwos), lane, words + kNibbles + kTwos);
    }
  }
  // Turns the highest bit of every code over.
  __device__ void flip() {
    constexpr int kFirst = kOnes > 0 ? kNibbles + kTwos : kTwos > 0 ? kNibbles : 0;
    constexpr uint32_t kBit = kOnes > 0      ? ~0u
                              : kTwos > 0    ? 0xaaaaaaaau
                              : kNibbles > 0 ? 0x88888888u
                                             : 0x80808080u;
#pragma unroll
    for (int i = kFirst; i < kWords; ++i) words[i] ^= kBit;
  }
  template <int kWord, int kLeft>
  __device__ uint32_t word() const {
    if constexpr (kBits == 8) return words[kWord];
    uint32_t out = 0;
    constexpr int kTwosAt = kLeft + kNibbles, kOnesAt = kTwosAt + kTwos;
    if constexpr (kNibbles > 0) {
      out = shift<kLeft - 4 * (kWord % 2)>(words[kWord / 2]) & in_bytes(0xfu << kLeft);
    }
    if constexpr (kTwos > 0) {
      const uint32_t twos = shift<kTwosAt - 2 * (kWord % 4)>(words[kNibbles + kWord / 4]);
      out = and_or(twos, in_bytes(0x3u << kTwosAt), out);
    }
    if constexpr (kOnes > 0) {
      const uint32_t ones = shift<kOnesAt - kWord>(words[kNibbles + kTwos]);
      out = and_or(ones, in_bytes(0x1u << kOnesAt), out);
    }
    return out;
  }
};

// The numbers of the four bytes of a word, as two pairs: each byte below the byte Number::kAbove.
template <class Number>
__device__ __forceinline__ void word_pairs(uint32_t word, uint32_t& first, uint32_t& second) {
  first = Number::number(__byte_perm(word, in_bytes(Number::kAbove), 0x5150));
  second = Number::number(__byte_perm(word, in_bytes(Number::kAbove), 0x5352));
}
// Those of all words.
template <class Number, int kBits, int kWord = 0>
__device__ __forceinline__ void byte_pairs(const ByteWords<kBits>& codes, uint32_t (&lo)[8],
                                           uint32_t (&hi)[8]) {
  if constexpr (kWord < 8) {
    uint32_t(&out)[8] = kWord < 4 ? lo : hi;
    constexpr int kPair = kWord % 4 * 2;
    word_pairs<Number>(codes.template word<kWord, 0>(), out[kPair], out[kPair + 1]);
    byte_pairs<Number, kBits, kWord + 1>(codes, lo, hi);
  }
}
// Of the codes of a unit, in two's complement about their middle.
template <class Number, int kBits>
__device__ __forceinline__ void integer_pairs(const uint8_t* unit, int lane, uint32_t (&lo)[8],
                                              uint32_t (&hi)[8]) {
  ByteWords<kBits> codes(unit, lane);
  codes.flip();
  byte_pairs<Number>(codes, lo, hi);
}

// Two's complement about the middle, ternary codes about 0; of signs, a set bit is -1.
template <int kBits, bool kSign = false>
struct ByteInt {
  static constexpr float kFactor = 1;
  static constexpr XTerms kX = XTerms::kF16;
  static constexpr uint32_t kAbove = half_bits(1024) >> 8;

  // 1024 + code + middle in f16, less what is too much; 1 - 2 bit of a sign.
  __device__ static uint32_t number(uint32_t biased) {
    if constexpr (kSign) {
      return fma_halves(add_halves(biased, half_pair(-1024)), half_pair(2), half_pair(-1));
    }
    return add_halves(biased, half_pair(-1024 - (1 << (kBits - 1))));
  }
  __device__ static void decode(const uint8_t* unit, int lane, uint32_t (&lo)[8],
                                uint32_t (&hi)[8]) {
    integer_pairs<ByteInt, kBits>(unit, lane, lo, hi);
  }
};

// ---- small floats -------------------------------------------------------------------------------

constexpr float power_of_two(int exponent) {
  float value = 1;
  for (; exponent > 0; --exponent) value *= 2;
  for (; exponent < 0; ++exponent) value /= 2;
  return value;
}

// e4m3 by the GPU's own conversion, which knows its NaN.
struct E4M3 {
  static constexpr float kFactor = 1;
  static constexpr XTerms kX = XTerms::kF16;
  __device__ static uint32_t pair(uint32_t codes) {
    const __half2_raw halves =
        __nv_cvt_fp8x2_to_halfraw2(static_cast<__nv_fp8x2_storage_t>(codes), __NV_E4M3);
    return halves.x | static_cast<uint32_t>(halves.y) << 16;
  }
  __device__ static void decode(const uint8_t* unit, int lane, uint32_t (&lo)[8],
                                uint32_t (&hi)[8]) {
    uint32_t words[8];
    load_words<8>(unit, lane, words);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      uint32_t(&out)[8] = i < 4 ? lo : hi;
      out[i % 4 * 2] = pair(words[i] & 0xffff);
      out[i % 4 * 2 + 1] = pair(words[i] >> 16);
    }
  }
};

// Sign, kExponent and mantissa bits at the top of a byte: the exponent field moves to the low end
// of f16's, which divides the number by 2^(15 - bias); subnormals keep their meaning.
template <int kBits, int kExponent>
struct ByteFloat {
  static constexpr float kFactor = power_of_two(15 - ((1 << (kExponent - 1)) - 1));
  static constexpr XTerms kX = XTerms::kF16;

  __device__ static uint32_t pair(uint32_t top_bytes) {
    constexpr int kRight = 5 - kExponent;
    if constexpr (kRight == 0) return top_bytes;
    return and_or(top_bytes >> kRight, in_halves(0x7f00u >> kRight), top_bytes & 0x80008000u);
  }
  template <int kWord>
  __device__ static void pairs(const ByteWords<kBits>& codes, uint32_t (&lo)[8],
                               uint32_t (&hi)[8]) {
    if constexpr (kWord < 8) {
      const uint32_t word = codes.template word<kWord, 8 - kBits>();
      uint32_t(&out)[8] = kWord < 4 ? lo : hi;
      out[kWord % 4 * 2] = pair(__byte_perm(word, 0, 0x1404));
      out[kWord % 4 * 2 + 1] = pair(__byte_perm(word, 0, 0x3424));
      pairs<kWord + 1>(codes, lo, hi);
    }
  }
  __device__ static void decode(const uint8_t* unit, int lane, uint32_t (&lo)[8],
                                uint32_t (&hi)[8]) {
    pairs<0>(ByteWords<kBits>(unit, lane), lo, hi);
  }
};
using E5M2 = ByteFloat<8, 5>;
using E2M2 = ByteFloat<5, 2>;
using E3M1 = ByteFloat<5, 3>;
using E2M0 = ByteFloat<3, 2>;

// The same of six bits, whose pairs lie as they are wanted (six_bit_place() in tiles.h).
template <Code kCode>
struct SixBitFloat {
  static constexpr float kFactor = ByteFloat < 6, kCode == Code::kE3M2 ? 3 : 2 > ::kFactor;
  static constexpr XTerms kX = XTerms::kF16;
  static constexpr int kPlace = six_bit_place(kCode);

  template <int kPair>
  __device__ static uint32_t pair(const uint32_t (&words)[6]) {
    const uint32_t word = words[kPair / 3];
    const uint32_t size = kPair % 3 == 0   ? word
                          : kPair % 3 == 1 ? word << 5
                                           : __funnelshift_r(word, word, 5);
    const uint32_t sign = words[six_bit_sign_word(kPair)] << (15 - six_bit_sign(kPlace, kPair));
    return and_or(size, in_halves(0x1fu << kPlace), sign & 0x80008000u);
  }
  template <int kPair = 0>
  __device__ static void pairs(const uint32_t (&words)[6], uint32_t (&lo)[8], uint32_t (&hi)[8]) {
    if constexpr (kPair < 16) {
      (kPair < 8 ? lo : hi)[kPair % 8] = pair<kPair>(words);
      pairs<kPair + 1>(words, lo, hi);
    }
  }
  __device__ static void decode(const uint8_t* unit, int lane, uint32_t (&lo)[8],
                                uint32_t (&hi)[8]) {
    uint32_t words[6];
    load_words<4>(unit, lane, words);
    load_words<2>(unit + 512, lane, words + 4);
    pairs(words, lo, hi);
  }
};
using E3M2 = SixBitFloat<Code::kE3M2>;
using E2M3 = SixBitFloat<Code::kE2M3>;

// The top bytes of the f16 of magnitudes 4 half .. 4 half + 3 of a four-bit float.
template <int kExponent>
constexpr uint32_t magnitude_bytes(int half) {
  uint32_t bytes = 0;
  for (int i = 0; i < 4; ++i) {
    constexpr int kMantissa = 3 - kExponent, kBias = (1 << (kExponent - 1)) - 1;
    const int code = 4 * half + i, exponent = code >> kMantissa;
    const double fraction = static_cast<double>(code & ((1 << kMantissa) - 1)) / (1 << kMantissa);
    const double size = exponent == 0 ? 2 * fraction : 1 + fraction;
    bytes |= half_bits(size * power_of_two(exponent - kBias)) >> 8 << (8 * i);
  }
  return bytes;
}

// Four-bit floats select the top bytes of f16 numbers.
template <int kExponent>
struct NibbleFloat {
  static constexpr float kFactor = 1;
  static constexpr XTerms kX = XTerms::kF16;

  // Of the low half of a word.
  __device__ static void two_pairs(uint32_t codes, uint32_t* out) {
    const uint32_t size =
        select_bytes(magnitude_bytes<kExponent>(0), magnitude_bytes<kExponent>(1), codes & 0x7777u);
    // Bit 3 of a selector repeats the byte's sign: 0xff where the code is negative, else 0x80.
    const uint32_t sign = select_bytes(0x80808080u, 0x80808080u, codes) << 1;
    const uint32_t bytes = and_or(sign, 0x80808080u, size);
    out[0] = __byte_perm(bytes, 0, 0x1404);
    out[1] = __byte_perm(bytes, 0, 0x3424);
  }
  __device__ static void decode(const uint8_t* unit, int lane, uint32_t (&lo)[8],
                                uint32_t (&hi)[8]) {
    uint32_t words[4];
    load_words<4>(unit, lane, words);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      uint32_t* out = (i < 2 ? lo : hi) + i % 2 * 4;
      two_pairs(words[i], out);
      two_pairs(words[i] >> 16, out + 2);
    }
  }
};
using E2M1 = NibbleFloat<2>;
using E3M0 = NibbleFloat<3>;

}  // namespace lowbit::cuda
