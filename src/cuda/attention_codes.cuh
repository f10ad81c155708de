// Words of a cache to pairs of f16 or bf16 numbers for tensor cores, one struct for each tuned
// format. Codes become whole numbers (or small floats), exactly; scales and zeros are the caller's.
//   kBits, kHalf     of a code; whether pairs are f16 (else bf16)
//   kBlock           codes of a row that share a scale; 0: no scales, kWholeRow: the row
//   pairs            word -> pairs of codes half a word apart: of a token the columns that
//                    column(pair, side) names; of two tokens, half a word each, column `pair`
#pragma once

#include <stdint.h>

#include "ops/args.h"

namespace lowbit::cuda {

constexpr int kWholeRow = 1 << 30;

// a b + c; subnormals count.
__device__ __forceinline__ uint32_t fma_bf16(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t out;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(out) : "r"(a), "r"(b), "r"(c));
  return out;
}
__device__ __forceinline__ uint32_t sub_bf16(uint32_t a, uint32_t b) {
  return fma_bf16(b, 0xbf80bf80u, a);
}
__device__ __forceinline__ uint32_t mul_bf16(uint32_t a, uint32_t b) {
  return fma_bf16(a, b, 0x80008000u);
}

template <bool kIsF16>
struct PlainCache {
  static constexpr int kBits = 16, kBlock = 0;
  static constexpr bool kHalf = kIsF16, kZeros = false;
  __host__ __device__ static constexpr int column(int, int side) { return side; }
  __host__ static bool takes(const Act& cache, int32_t) {
    return cache.format == (kIsF16 ? FormatId::kF16 : FormatId::kBF16) &&
           cache.scale == Scale::kNone;
  }
  __device__ static void pairs(uint32_t word, uint32_t, uint32_t (&out)[1]) { out[0] = word; }
};

// One scale a row, in bf16, and no zeros.
__host__ inline bool has_row_scale(const Act& cache, int32_t head_dim) {
  return cache.scale == Scale::kBF16 && cache.zero == Zero::kNone && cache.block_n == 1 &&
         cache.outer_kind == Outer::kNone && (cache.block_k == 0 || cache.block_k >= head_dim);
}

// Codes in the low byte of each half word, as pairs; Byte: a struct below.
template <class Byte>
struct ByteCache {
  static constexpr int kBits = 8, kBlock = kWholeRow;
  static constexpr bool kHalf = false, kZeros = false;
  __host__ __device__ static constexpr int column(int pair, int side) { return pair + 2 * side; }
  __host__ static bool takes(const Act& cache, int32_t head_dim) {
    return cache.code == Byte::kCode && cache.bits == 8 && has_row_scale(cache, head_dim);
  }
  __device__ static void pairs(uint32_t word, uint32_t, uint32_t (&out)[2]) {
    out[0] = Byte::low(word);
    out[1] = Byte::low(word >> 8);
  }
};

struct Int8Byte {
  static constexpr Code kCode = Code::kInt;
  // 0x4300 is 128 and has seven bits of fraction: (128 + low bits) - (128, or 256 where the sign
  // is).
  __device__ static uint32_t low(uint32_t word) {
    const uint32_t magnitude = (word & 0x007f007fu) | 0x43004300u;
    return sub_bf16(magnitude, (word & 0x00800080u) | 0x43004300u);
  }
};

struct E4M3Byte {
  static constexpr Code kCode = Code::kE4M3;
  // The bits of a bf16 that is 2^120 too small, subnormals included. A row's NaN is in its scale.
  __device__ static uint32_t low(uint32_t word) {
    const uint32_t high = word << 8;
    return mul_bf16((high & 0x80008000u) | ((high >> 4) & 0x07f007f0u), 0x7b807b80u);
  }
};

// Blocks of 64: code - 8, the zero in mid-point form; or signed codes without a zero. `flip` makes
// signed codes what unsigned ones are.
struct Int4Cache {
  static constexpr int kBits = 4, kBlock = 64;
  static constexpr bool kHalf = false, kZeros = true;
  __host__ __device__ static constexpr int column(int pair, int side) { return pair + 4 * side; }
  __host__ static bool takes(const Act& cache, int32_t) {
    const bool codes = (cache.code == Code::kUInt && cache.zero == Zero::kFloat) ||
                       (cache.code == Code::kInt && cache.zero == Zero::kNone);
    return codes && cache.bits == 4 && cache.scale == Scale::kBF16 && cache.block_n == 1 &&
           cache.block_k == 64 && cache.outer_kind == Outer::kNone;
  }
  __device__ static uint32_t low(uint32_t word) {  // 0x4300 is 128, 0x4308 is 136
    return sub_bf16((word & 0x000f000fu) | 0x43004300u, 0x43084308u);
  }
  __device__ static void pairs(uint32_t word, uint32_t flip, uint32_t (&out)[4]) {
    word ^= flip;
#pragma unroll
    for (int i = 0; i < 4; ++i) out[i] = low(word >> (4 * i));
  }
};

}  // namespace lowbit::cuda
