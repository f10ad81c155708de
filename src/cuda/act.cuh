// Numbers of an activation, four columns at a time, as the staging of x reads them.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include "ops/args.h"

namespace lowbit::cuda {

// Element `index` of a plane of scales.
__device__ inline float load_scale(Scale type, const void* plane, int64_t index) {
  switch (type) {
    case Scale::kF32:
      return static_cast<const float*>(plane)[index];
    case Scale::kF16:
      return __half2float(static_cast<const __half*>(plane)[index]);
    case Scale::kBF16:
      return __bfloat162float(static_cast<const __nv_bfloat16*>(plane)[index]);
    case Scale::kE8M0: {
      const uint32_t code = static_cast<const uint8_t*>(plane)[index];
      if (code == 0xff) return __uint_as_float(0x7fc00000u);
      return code == 0 ? 0x1p-127f : __uint_as_float(code << 23);
    }
    case Scale::kE4M3: {
      const __nv_fp8_storage_t code = static_cast<const uint8_t*>(plane)[index];
      return __half2float(__half(__nv_cvt_fp8_to_halfraw(code, __NV_E4M3)));
    }
    default:
      return __uint_as_float(0x7fc00000u);  // no activation has such scales: NaN is seen at once
  }
}

// Exponent bits of a small float; 0 for codes that are none.
__device__ inline int exponent_bits(Code code) {
  switch (code) {
    case Code::kE4M3:
      return 4;
    case Code::kE5M2:
      return 5;
    case Code::kE3M2:
    case Code::kE3M1:
    case Code::kE3M0:
      return 3;
    case Code::kE2M3:
    case Code::kE2M2:
    case Code::kE2M1:
    case Code::kE2M0:
      return 2;
    default:
      return 0;
  }
}

__device__ inline float small_float(Code type, int bits, uint32_t code) {
  if (type == Code::kE4M3) {
    const __half_raw half =
        __nv_cvt_fp8_to_halfraw(static_cast<__nv_fp8_storage_t>(code), __NV_E4M3);
    return __half2float(__half(half));
  }
  // An f16 whose exponent field has its low bits: as far too small as the biases differ.
  const int exponent = exponent_bits(type), mantissa = bits - 1 - exponent;
  const uint32_t sign = code >> (bits - 1), rest = code & ((1u << (bits - 1)) - 1);
  const __half_raw half = {static_cast<uint16_t>(sign << 15 | rest << (10 - mantissa))};
  const int bias = (1 << (exponent - 1)) - 1;
  return __half2float(__half(half)) * __uint_as_float(static_cast<uint32_t>(127 + 15 - bias) << 23);
}

// v = x[t, column..column + 3], zero past k; returned: what they still have to be multiplied with.
__device__ inline float load_act(const Act& x, int t, int column, int k, float (&v)[4]) {
  const int64_t at = t * x.ld + column;
  if (x.scale == Scale::kNone) {
    if (x.code == Code::kF32) {
      const float* p = static_cast<const float*>(x.data) + at;
      if (column + 4 <= k && (reinterpret_cast<uintptr_t>(p) & 15) == 0) {
        const float4 four = *reinterpret_cast<const float4*>(p);
        v[0] = four.x, v[1] = four.y, v[2] = four.z, v[3] = four.w;
        return 1;
      }
    }
    for (int e = 0; e < 4 && column + e < k; ++e) {
      v[e] = x.code == Code::kF32 ? static_cast<const float*>(x.data)[at + e]
             : x.code == Code::kF16
                 ? __half2float(static_cast<const __half*>(x.data)[at + e])
                 : __bfloat162float(static_cast<const __nv_bfloat16*>(x.data)[at + e]);
    }
    return 1;
  }
  const int64_t row_bytes = (int64_t{k} * x.bits + 7) / 8;
  const auto* row = static_cast<const uint8_t*>(x.data) + t * row_bytes;
  const bool blocks = x.block_k != 0;
  const int per_row = blocks ? (k + x.block_k - 1) / x.block_k : 1;
  for (int e = 0; e < 4 && column + e < k; ++e) {
    const int bit = (column + e) * x.bits;
    uint32_t word = row[bit / 8];
    if (bit % 8 + x.bits > 8) word |= static_cast<uint32_t>(row[bit / 8 + 1]) << 8;
    const uint32_t code = word >> bit % 8 & ((1u << x.bits) - 1);
    v[e] = x.code == Code::kInt
               ? static_cast<float>(static_cast<int32_t>(code << (32 - x.bits)) >> (32 - x.bits))
               : small_float(x.code, x.bits, code);
    if (blocks) {
      v[e] *= load_scale(x.scale, x.scales, int64_t{t} * per_row + (column + e) / x.block_k);
    }
  }
  float factor = blocks ? 1 : load_scale(x.scale, x.scales, x.block_n == 0 ? 0 : t);
  if (x.outer_kind == Outer::kRow) factor *= static_cast<const float*>(x.outer)[t];
  return factor;
}

}  // namespace lowbit::cuda
