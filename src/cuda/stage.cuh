// x on its way to the tensor cores (StagedX). Sixteen lanes take 64 columns of a token, four each.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "cuda/act.cuh"
#include "cuda/norm.cuh"
#include "cuda/tiles_args.h"

namespace lowbit::cuda {

constexpr int kLanesPerUnit = kUnit / 4;

// max over the 16 lanes of a unit
__device__ __forceinline__ float unit_max(float value) {
#pragma unroll
  for (int lanes = 1; lanes < kLanesPerUnit; lanes *= 2) {
    value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, lanes));
  }
  return value;
}

// The power of two that brings `top` to [2^14, 2^15); 1 for 0.
__device__ __forceinline__ float power_scale(float top) {
  constexpr uint32_t kExponent = 0x7f800000u, kLeast = 16u << 23, kMost = 253u << 23;
  const uint32_t exponent = __float_as_uint(top) & kExponent;
  if (exponent == 0) return 1;
  return __uint_as_float(min(max(exponent, kLeast), kMost) - (14u << 23));
}
__device__ __forceinline__ float inverse_power(float power) {
  return __uint_as_float((254u << 23) - __float_as_uint(power));
}

__device__ __forceinline__ uint32_t pack_halves(float a, float b) {
  const __half2 pair = __floats2half2_rn(a, b);
  return *reinterpret_cast<const uint32_t*>(&pair);
}
__device__ __forceinline__ uint32_t pack_bf16(float a, float b) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(a, b);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

// Units [0, units) of tokens [t0, t1) by all threads of the CTA. `inverse_rms`: of each token, where
// x is normalised on the way; `row` of `out` is t - out_t0.
template <bool kBf16>
__device__ void stage(const LinearArgs& a, const TileShape& shape, int t0, int t1, int units,
                      const float* inverse_rms, const StagedX& out) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, i = lane % kLanesPerUnit;
  const int total = (t1 - t0) * units;
  const int group = shape.zero == Zero::kNone ? 0 : min(shape.group, kUnit);
  for (int first = warp * 2; first < total; first += kTileWarps * 2) {
    const int index = first + lane / kLanesPerUnit;
    const bool active = index < total;
    const int t = t0 + (active ? index / units : 0), unit = active ? index % units : 0;
    const int column = unit * kUnit + 4 * i;
    float v[4] = {0, 0, 0, 0};
    float factor = 1;
    if (active) {
      factor = load_act(a.x, t, column, a.k, v);
      if (a.norm_weight) normalise(a, column, inverse_rms[t], v);
    }
    const float top = unit_max(fmaxf(fmaxf(fabsf(v[0]), fabsf(v[1])), fmaxf(fabsf(v[2]), fabsf(v[3]))));
    const float power = kBf16 ? 1 : power_scale(top);
    uint2 codes;
    float sum = 0;
    uint16_t* at = out.x + int64_t{t} * out.row_halves + unit * kUnit + i % 4 * 16 + i / 4 * 4;
    if constexpr (kBf16) {
      codes = {pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3])};
      float rest[4];
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const float high = __bfloat162float(__float2bfloat16_rn(v[e]));
        rest[e] = isfinite(v[e]) ? v[e] - high : 0;
      }
      if (active) {
        *reinterpret_cast<uint2*>(at + int64_t{a.m} * out.row_halves) = {
            pack_bf16(rest[0], rest[1]), pack_bf16(rest[2], rest[3])};
      }
    } else {
      const float inverse = inverse_power(power);
#pragma unroll
      for (int e = 0; e < 4; ++e) v[e] *= inverse;
      codes = {pack_halves(v[0], v[1]), pack_halves(v[2], v[3])};
      if (group != 0) {
#pragma unroll
        for (int e = 0; e < 4; ++e) sum += __half2float(__float2half_rn(v[e]));
        for (int lanes = 1; lanes < group / 4; lanes *= 2) {
          sum += __shfl_xor_sync(0xffffffffu, sum, lanes);
        }
      }
    }
    if (!active) continue;
    *reinterpret_cast<uint2*>(at) = codes;
    const float scale = power * factor;
    if (i == 0) out.scale[unit * out.pitch + t] = scale;
    if (group != 0 && i % (group / 4) == 0) {
      const int per_unit = kUnit / group;
      out.sums[(unit * per_unit + i / (group / 4)) * out.pitch + t] = sum * scale;
    }
  }
}

}  // namespace lowbit::cuda
