// How the scales (and zeros) of a block turn sums of codes into sums of weights. Kernels know at
// compile time which they meet, Scales::fits() says which one takes a stream; each has
//   kGroups  sums of a unit that have a scale of their own: 0 none, 1 (of the whole block), 2, 4
//   kZeros   whether sums of x are needed
//   apply    y += s (acc + shift S) + offset S, with S the sum of x over the group
#pragma once

#include <cuda_fp8.h>

#include "cuda/act.cuh"
#include "cuda/tiles_args.h"

namespace lowbit::cuda {

// One factor for each row, applied after the last block.
struct RowScales {
  static constexpr int kGroups = 0;
  static constexpr bool kZeros = false;
  static bool fits(const TileShape& s) { return s.group == 0; }
  __device__ RowScales(const TileArgs&, const uint8_t*, int) {}
};

enum class In : uint8_t { k16, kE8M0, kE4M3 };  // k16: f16 or bf16

__device__ __forceinline__ float2 from_16(bool f16, uint32_t pair) {
  const float2 half = __half22float2(*reinterpret_cast<const __half2*>(&pair));
  const float2 brain = {__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u)};
  return {f16 ? half.x : brain.x, f16 ? half.y : brain.y};
}
// 2^-127 for code 0; the NaN code becomes an infinity.
__device__ __forceinline__ float from_e8m0(uint32_t code) {
  return __uint_as_float(max(code << 23, 0x00400000u));
}
__device__ __forceinline__ float2 from_e4m3(uint32_t pair) {
  const __half2_raw halves =
      __nv_cvt_fp8x2_to_halfraw2(static_cast<__nv_fp8x2_storage_t>(pair), __NV_E4M3);
  return __half22float2(__half2(halves));
}

// Adds shift S and offset S of a zero to what the scale brings.
struct Shift {
  float2 shift, offset;
};
// Scales (or zeros) of two rows of a group, of any type.
__device__ inline float2 any_pair(Scale type, const uint8_t* plane, int pair) {
  return {load_scale(type, plane, 2 * pair), load_scale(type, plane, 2 * pair + 1)};
}
__device__ inline Shift shift_of(const TileArgs& a, const uint8_t* zeros, int pair) {
  // decode() takes the middle away from integers.
  const Code code = a.linear.w.code;
  const float middle = code == Code::kUInt || code == Code::kInt
                           ? static_cast<float>(1 << (a.linear.w.bits - 1))
                           : 0;
  switch (a.shape.zero) {
    case Zero::kNone:
      return {{0, 0}, {0, 0}};
    case Zero::kFloat:
      return {{0, 0}, any_pair(a.shape.scale, zeros, pair)};
    case Zero::kOffset:
      return {{middle, middle}, any_pair(a.shape.scale, zeros, pair)};
    case Zero::kInt: {
      const float low = middle - static_cast<float>(zeros[2 * pair]);
      return {{low, middle - static_cast<float>(zeros[2 * pair + 1])}, {0, 0}};
    }
    default: {
      const float2 z = any_pair(a.shape.scale, zeros, pair);
      return {{middle - z.x, middle - z.y}, {0, 0}};
    }
  }
}

__device__ __forceinline__ void add_scaled(float2 s, const float (&acc)[4], float (&y)[4]) {
  y[0] = fmaf(s.x, acc[0], y[0]);
  y[1] = fmaf(s.x, acc[1], y[1]);
  y[2] = fmaf(s.y, acc[2], y[2]);
  y[3] = fmaf(s.y, acc[3], y[3]);
}
__device__ __forceinline__ void add_shifted(float2 s, const Shift& z, float2 sum,
                                            const float (&acc)[4], float (&y)[4]) {
  y[0] += fmaf(s.x, fmaf(z.shift.x, sum.x, acc[0]), z.offset.x * sum.x);
  y[1] += fmaf(s.x, fmaf(z.shift.x, sum.y, acc[1]), z.offset.x * sum.y);
  y[2] += fmaf(s.y, fmaf(z.shift.y, sum.x, acc[2]), z.offset.y * sum.x);
  y[3] += fmaf(s.y, fmaf(z.shift.y, sum.y, acc[3]), z.offset.y * sum.y);
}

enum class With : uint8_t {
  kNoZeros,
  kFloatZeros,
  kAnyZeros
};  // kFloatZeros: stored like the scale

// kWords words of a plane that holds, for each pair of rows, as many.
template <int kWords>
__device__ __forceinline__ void load_pair_words(const uint8_t* plane, int pair, uint32_t* out) {
  if constexpr (kWords == 1) {
    out[0] = reinterpret_cast<const uint32_t*>(plane)[pair];
  } else if constexpr (kWords == 2) {
    const uint2 v = reinterpret_cast<const uint2*>(plane)[pair];
    out[0] = v.x, out[1] = v.y;
  } else {
    const uint4 v = reinterpret_cast<const uint4*>(plane)[pair];
    out[0] = v.x, out[1] = v.y, out[2] = v.z, out[3] = v.w;
  }
}

// Words that hold the scales of rows g and g + 8, of every group of a unit (or of the block).
template <In kIn, int kGroupsOfUnit, With kWith = With::kNoZeros>
struct GroupScales {
  static constexpr int kGroups = kGroupsOfUnit;
  static constexpr bool kZeros = kWith != With::kNoZeros;
  static constexpr int kWords = kIn == In::k16 ? kGroups : kGroups / 2;
  static bool fits(const TileShape& s) {
    const bool type = kIn == In::k16     ? s.scale == Scale::kF16 || s.scale == Scale::kBF16
                      : kIn == In::kE8M0 ? s.scale == Scale::kE8M0
                                         : s.scale == Scale::kE4M3;
    const bool group = kGroups == 1 ? s.group >= kUnit : s.group * kGroups == kUnit;
    const bool zero = kWith == With::kNoZeros      ? s.zero == Zero::kNone
                      : kWith == With::kFloatZeros ? s.zero == Zero::kFloat
                                                   : true;
    return type && group && zero;
  }

  uint32_t words[kWords], offsets[kWith == With::kFloatZeros ? kWords : 1];
  bool f16;
  Shift zero[kWith == With::kAnyZeros ? kGroups : 1];

  __device__ GroupScales(const TileArgs& a, const uint8_t* scales, int g)
      : f16(a.shape.scale == Scale::kF16) {
    load_pair_words<kWords>(scales, g, words);
    const uint8_t* zeros = scales + kWords * 4 * (kTileRows / 2);
    if constexpr (kWith == With::kFloatZeros) load_pair_words<kWords>(zeros, g, offsets);
    if constexpr (kWith == With::kAnyZeros) {
#pragma unroll
      for (int i = 0; i < kGroups; ++i) zero[i] = shift_of(a, zeros, g * kGroups + i);
    }
  }
  __device__ float2 pair(int group) const {
    if constexpr (kIn == In::k16) return from_16(f16, words[group]);
    const uint32_t codes = words[group / 2] >> (group % 2 * 16);
    if constexpr (kIn == In::kE8M0) return {from_e8m0(codes & 0xff), from_e8m0(codes >> 8 & 0xff)};
    return from_e4m3(codes & 0xffff);
  }
  __device__ void apply(int group, const float (&acc)[4], float2 sum, float (&y)[4]) const {
    if constexpr (kWith == With::kAnyZeros) {
      add_shifted(pair(group), zero[group], sum, acc, y);
      return;
    }
    if constexpr (kWith == With::kFloatZeros) {
      const float2 z = from_16(f16, offsets[group]);
      y[0] = fmaf(z.x, sum.x, y[0]);
      y[1] = fmaf(z.x, sum.y, y[1]);
      y[2] = fmaf(z.y, sum.x, y[2]);
      y[3] = fmaf(z.y, sum.y, y[3]);
    }
    add_scaled(pair(group), acc, y);
  }
};

// Every stream with scales: type, group and zero are looked at as it goes.
struct AnyScales {
  static constexpr int kGroups = 4;
  static constexpr bool kZeros = true;
  static bool fits(const TileShape& s) { return s.group != 0; }

  const TileArgs& a;
  const uint8_t* scales;
  int g, per_scale, groups;  // sixteen columns each

  __device__ AnyScales(const TileArgs& args, const uint8_t* block_scales, int pair)
      : a(args), scales(block_scales), g(pair), groups(args.shape.groups()) {
    per_scale = __ffs(args.shape.group / 16) - 1;
  }
  __device__ void apply(int quarter, const float (&acc)[4], float2 sum, float (&y)[4]) const {
    const int pair = g * groups + (quarter >> per_scale);
    const float2 s = any_pair(a.shape.scale, scales, pair);
    if (a.shape.zero == Zero::kNone) {
      add_scaled(s, acc, y);
    } else {
      const uint8_t* zeros = scales + groups * kTileRows * scale_bytes(a.shape.scale);
      add_shifted(s, shift_of(a, zeros, pair), sum, acc, y);
    }
  }
};

}  // namespace lowbit::cuda
