// x on its way to the tensor cores (StagedX). First a look at all of a token: the sum of squares
// that RMSNorm needs and the largest number; then sixteen lanes make 64 columns of it, four each.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "cuda/act.cuh"
#include "cuda/norm.cuh"
#include "cuda/tiles_args.h"

namespace lowbit::cuda {

constexpr int kLanesPerUnit = kUnit / 4;
constexpr int kColumnsAtOnce = 4 * kNormThreads;

// What a token's numbers are multiples of in fixed point: `top` (as bits, NaN above all) becomes at
// most 127 * 256, whose high byte is 127. The unit depends on the first bits of `top` alone, so
// that it does not see how `top` was rounded; for whole numbers up to 128 it is 1 / 254 or less of
// a power of two and nothing is rounded.
constexpr int kFixedMost = 127 * 256;
__device__ __forceinline__ float fixed_top(uint32_t top_bits, bool whole_numbers) {
  constexpr uint32_t kLeast = 20u << 23, kMost = 253u << 23, kInfinity = 0x7f800000u;
  if (top_bits >= kInfinity) return __uint_as_float(0x7fc00000u);
  const uint32_t below = whole_numbers ? 0x007fffffu : 0x000fffffu;
  const uint32_t rounded = (min(top_bits, kMost) + below) & ~below;
  return __uint_as_float(max(rounded, kLeast));
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

// Where the numbers of token t go.
struct TokenOut {
  const StagedX& x;
  int t, second_term;  // of bf16: so many rows further on
  int sums_per_unit;
  float factor;  // of the numbers, before they are rounded
};

// Of the lanes of a group: sums_per_unit in 64 columns.
__device__ __forceinline__ void put_sum(const TokenOut& to, int unit, int i, float sum) {
  const int lanes_per_sum = kLanesPerUnit / to.sums_per_unit;
  const uint32_t unit_lanes = 0xffffu << (threadIdx.x & 16);  // the other unit may not exist
  for (int lanes = 1; lanes < lanes_per_sum; lanes *= 2) {
    sum += __shfl_xor_sync(unit_lanes, sum, lanes);
  }
  if (i % lanes_per_sum == 0) {
    to.x.sums[(unit * to.sums_per_unit + i / lanes_per_sum) * to.x.pitch + to.t] = sum;
  }
}

// Four numbers of a token as the tensor cores want them, and the sums over them.
template <XTerms kX>
__device__ __forceinline__ void put(const TokenOut& to, int column, const float (&v)[4]) {
  const int i = threadIdx.x % kLanesPerUnit, unit = column / kUnit;
  uint16_t* row = to.x.x + int64_t{to.t} * to.x.row_halves + unit * kUnit;
  float sum = 0;
  if constexpr (kX == XTerms::kTwoBf16) {
    float rest[4];
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float high = __bfloat162float(__float2bfloat16_rn(v[e]));
      rest[e] = isfinite(v[e]) ? v[e] - high : 0;
    }
    uint16_t* at = row + i % 4 * 16 + i / 4 * 4;
    *reinterpret_cast<uint2*>(at) = {pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3])};
    *reinterpret_cast<uint2*>(at + int64_t{to.second_term} * to.x.row_halves) = {
        pack_bf16(rest[0], rest[1]), pack_bf16(rest[2], rest[3])};
    return;
  } else if constexpr (kX == XTerms::kFixed) {
    int fixed[4];
    uint32_t low = 0, high = 0;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      fixed[e] = __float2int_rn(v[e] * to.factor);
      low |= (static_cast<uint32_t>(fixed[e]) & 0xff) << (8 * e);
      high |= (static_cast<uint32_t>(fixed[e] + 128) >> 8 & 0xff) << (8 * e);
    }
    auto* at = reinterpret_cast<uint32_t*>(row) + i % 4 * 4 + i / 4;
    at[0] = low;
    at[kUnit / 4] = high;
    sum = static_cast<float>(fixed[0] + fixed[1] + fixed[2] + fixed[3]);
  } else {
    float scaled[4];
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      scaled[e] = v[e] * to.factor;
      sum += __half2float(__float2half_rn(scaled[e]));
    }
    *reinterpret_cast<uint2*>(row + i % 4 * 16 + i / 4 * 4) = {pack_halves(scaled[0], scaled[1]),
                                                               pack_halves(scaled[2], scaled[3])};
  }
  if (to.sums_per_unit != 0) put_sum(to, unit, i, sum);
}

// What a CTA knows of the token that it stages.
struct StageMemory {
  float squares[kNormWarps];
  uint32_t tops[kNormWarps];  // bits: of numbers that are not negative, NaN above all
};

// Four weights of the norm, zero past k.
__device__ __forceinline__ void load_norm(const LinearArgs& a, int column, float4& w) {
  if (a.k % 4 == 0 && (reinterpret_cast<uintptr_t>(a.norm_weight) & 15) == 0) {
    w = {0, 0, 0, 0};
    if (column < a.k) w = *reinterpret_cast<const float4*>(a.norm_weight + column);
    return;
  }
  w.x = column < a.k ? a.norm_weight[column] : 0;
  w.y = column + 1 < a.k ? a.norm_weight[column + 1] : 0;
  w.z = column + 2 < a.k ? a.norm_weight[column + 2] : 0;
  w.w = column + 3 < a.k ? a.norm_weight[column + 3] : 0;
}

// The weights of the norm do not depend on the kernels before: on their way to the L1.
__device__ inline void prefetch_norm(const LinearArgs& a) {
  if (!a.norm_weight) return;
  for (int column = 4 * threadIdx.x; column < a.k; column += kColumnsAtOnce) {
    asm volatile("prefetch.global.L1 [%0];" ::"l"(a.norm_weight + column));
  }
}

// The scales that the CTA's rows are multiplied with in the end, to the L2.
__device__ inline void prefetch_row_scales(const TileArgs& a) {
  const auto* scales = static_cast<const float*>(a.linear.w.scales);
  if (!scales) return;
  for (int tile = blockIdx.x + threadIdx.x * gridDim.x; tile < a.shape.tiles;
       tile += kTileThreads * gridDim.x) {
    asm volatile("prefetch.global.L2 [%0];" ::"l"(scales + tile * kTileRows));
  }
}

// load_act() of any format; a call, so that its code is there once.
static __device__ __noinline__ float load_any_act(const Act& x, int t, int column, int k,
                                                  float4& v) {
  float four[4] = {0, 0, 0, 0};
  const float factor = load_act(x, t, column, k, four);
  v = {four[0], four[1], four[2], four[3]};
  return factor;
}

// Token t by all threads of the CTA, each taking four neighbours of every 2048 columns; returned:
// what its sums have to be multiplied with. Not synchronised afterwards.
template <XTerms kX>
__device__ float stage_token(const LinearArgs& a, int sums_per_unit, int t, int units,
                             StageMemory& shared, const StagedX& out) {
  constexpr int kAhead = 7;  // rounds whose loads are under way together
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int first = 4 * threadIdx.x, columns = units * kUnit;
  const float* row = static_cast<const float*>(a.x.data) + t * a.x.ld;
  const bool plain = a.x.code == Code::kF32 && a.x.scale == Scale::kNone && a.k % 4 == 0 &&
                     (reinterpret_cast<uintptr_t>(row) & 15) == 0;
  float sum = 0;
  uint32_t top = 0;
  const auto look = [&](int column, const float4& v) {
    sum = fmaf(v.w, v.w, fmaf(v.z, v.z, fmaf(v.y, v.y, fmaf(v.x, v.x, sum))));
    float4 w = {1, 1, 1, 1};
    if (a.norm_weight) load_norm(a, column, w);
    const auto bits = [](float number) { return __float_as_uint(fabsf(number)); };
    top =
        max(max(max(bits(v.x * w.x), bits(v.y * w.y)), max(bits(v.z * w.z), bits(v.w * w.w))), top);
  };
  float4 held[kAhead];
  const bool holds = plain && columns <= kAhead * kColumnsAtOnce;
  if (holds) {
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const int column = first + i * kColumnsAtOnce;
      held[i] = {0, 0, 0, 0};
      if (column < a.k) held[i] = *reinterpret_cast<const float4*>(row + column);
    }
  }
  if (kX != XTerms::kTwoBf16 || a.norm_weight) {
    if (holds) {
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        if (i * kColumnsAtOnce < columns) look(first + i * kColumnsAtOnce, held[i]);
      }
    } else {
#pragma unroll 1
      for (int column = first; column < columns; column += kColumnsAtOnce) {
        float4 v;
        load_any_act(a.x, t, column, a.k, v);
        look(column, v);
      }
    }
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, lanes);
    top = __reduce_max_sync(0xffffffffu, top);
    if (lane == 0) shared.squares[warp] = sum, shared.tops[warp] = top;
    __syncthreads();
    top = 0;
#pragma unroll
    for (int i = 0; i < kNormWarps; ++i) top = max(top, shared.tops[i]);
  }
  const float inverse = a.norm_weight ? inverse_rms(shared.squares, a.k, a.norm_eps) : 1;
  const float most = __uint_as_float(top) * inverse;
  float unit = 1, factor = 1;  // of x as it is staged; its inverse
  if constexpr (kX == XTerms::kFixed) {
    const float fixed = fixed_top(__float_as_uint(most), a.x.scale != Scale::kNone);
    unit = fixed / kFixedMost, factor = kFixedMost / fixed;
  } else if constexpr (kX == XTerms::kF16) {
    unit = power_scale(most), factor = inverse_power(unit);
  }
  const TokenOut to = {out, t, a.m, sums_per_unit, factor};
  const auto finish = [&](int column, const float4& v) {
    float four[4] = {v.x, v.y, v.z, v.w};
    if (a.norm_weight) {
      float4 w;
      load_norm(a, column, w);
      four[0] = v.x * inverse * w.x, four[1] = v.y * inverse * w.y;
      four[2] = v.z * inverse * w.z, four[3] = v.w * inverse * w.w;
    }
    put<kX>(to, column, four);
  };
  float x_factor = 1;
  if (holds) {
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const int column = first + i * kColumnsAtOnce;
      if (column < columns) finish(column, held[i]);
    }
  } else {
#pragma unroll 1
    for (int column = first; column < columns; column += kColumnsAtOnce) {
      float4 v;
      x_factor = load_any_act(a.x, t, column, a.k, v);
      finish(column, v);
    }
  }
  return unit * x_factor;
}

}  // namespace lowbit::cuda
