// Codes of a unit of layout kTiles to the A fragments of mma.m16n8k32, x being in fixed point: one
// struct for each Code. A struct has
//   kFactor    what sums of the bytes that decode() makes still have to be multiplied with
//   kUnsigned  whether they are u8, else s8
//   kOffset    what each of them is too large by
//   decode     words -> a[j], a[4 + j]: columns 16 j + 4 q + {0, 1, 2, 3} of row g and of row g + 8
// Whatever does not fill its byte lies at the top of it, where it has its sign.
#pragma once

#include "cuda/decode.cuh"

namespace lowbit::cuda {

template <int kBits>
struct FixedInt {
  static constexpr XTerms kX = XTerms::kFixed;
  static constexpr float kFactor = 1.0f / (1 << (8 - kBits));
  static constexpr bool kUnsigned = false;
  static constexpr int kOffset = 0;

  template <int kWord>
  __device__ static void words(const ByteWords<kBits>& codes, uint32_t (&a)[8]) {
    if constexpr (kWord < 8) {
      a[kWord] = codes.template word<kWord, 8 - kBits>();
      words<kWord + 1>(codes, a);
    }
  }
  __device__ static void decode(const uint8_t* unit, int lane, uint32_t (&a)[8]) {
    words<0>(ByteWords<kBits>(unit, lane), a);
  }
};

// 64 (1 - 2 bit): the sign lies above a one.
struct FixedSign {
  static constexpr XTerms kX = XTerms::kFixed;
  static constexpr float kFactor = 1.0f / 64;
  static constexpr bool kUnsigned = false;
  static constexpr int kOffset = 0;

  __device__ static void decode(const uint8_t* unit, int lane, uint32_t (&a)[8]) {
    FixedInt<1>::decode(unit, lane, a);
#pragma unroll
    for (uint32_t& word : a) word |= in_bytes(0x40);
  }
};

// 12 +- {0, 1, 2, 3, 4, 6, 8, 12}: twice the number, made positive. A selector's bit 3 makes a byte
// of a table 0, so that each code finds its byte in one of two tables.
struct FixedE2M1 {
  static constexpr XTerms kX = XTerms::kFixed;
  static constexpr float kFactor = 0.5f;
  static constexpr bool kUnsigned = true;
  static constexpr int kOffset = 12;

  __device__ static uint32_t four(uint32_t codes, uint32_t flipped) {
    return select_bytes(0x0f0e0d0cu, 0x18141210u, codes) |
           select_bytes(0x090a0b0cu, 0x00040608u, flipped);
  }
  __device__ static void decode(const uint8_t* unit, int lane, uint32_t (&a)[8]) {
    uint32_t words[4];
    load_words<4>(unit, lane, words);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint32_t flipped = words[i] ^ 0x88888888u;
      a[2 * i] = four(words[i], flipped);
      a[2 * i + 1] = four(words[i] >> 16, flipped >> 16);
    }
  }
};

}  // namespace lowbit::cuda
