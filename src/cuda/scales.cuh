// How the scales (and zeros) of a block turn sums of codes into sums of weights. Kernels know at
// compile time which they meet, Scales::fits() says which one takes a stream; each has
//   kGroups  sums of a unit that have a scale of their own: 0 none, 1 (of the whole block), 2, 4
//   kZeros   whether sums of x are needed
//   kHas16   whether scales have 16 bits
//   kGroupColumns  whether a unit's groups may be columns of one product (products_fixed.cuh)
//   apply    y += s (acc + shift S) + offset S, with S the sums of x over the group; of two rows,
//   as
//            many tokens of each as there are sums
#pragma once

#include <cuda_fp8.h>

#include <type_traits>

#include "cuda/act.cuh"
#include "cuda/tiles_args.h"

namespace lowbit::cuda {

// One factor for each row, applied after the last block.
struct RowScales {
  static constexpr int kGroups = 0;
  static constexpr bool kZeros = false, kHas16 = false, kGroupColumns = false;
  static bool fits(const TileShape& s) { return s.group == 0; }
  __device__ RowScales(const TileArgs&, const uint8_t*, int) {}
};

struct One {};  // scales of one group alone

enum class In : uint8_t { k16, kE8M0, kE4M3 };  // k16: f16 or bf16

// What 16-bit scales are, where a kernel's copy of a loop knows.
enum class Type16 : uint8_t { kEither, kF16, kBF16 };

template <Type16 kType = Type16::kEither>
__device__ __forceinline__ float2 from_16(bool is_f16, uint32_t pair) {
  const bool f16 = kType == Type16::kEither ? is_f16 : kType == Type16::kF16;
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
  // The numbers in the tiles have lost their middle.
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

// Of two rows, kTokens of each.
template <int kTokens>
__device__ __forceinline__ void add_scaled(float2 s, const float (&acc)[2 * kTokens],
                                           float (&y)[2 * kTokens]) {
#pragma unroll
  for (int t = 0; t < kTokens; ++t) {
    y[t] = fmaf(s.x, acc[t], y[t]);
    y[kTokens + t] = fmaf(s.y, acc[kTokens + t], y[kTokens + t]);
  }
}
template <int kTokens>
__device__ __forceinline__ void add_shifted(float2 s, const Shift& z, const float (&sum)[kTokens],
                                            const float (&acc)[2 * kTokens],
                                            float (&y)[2 * kTokens]) {
#pragma unroll
  for (int t = 0; t < kTokens; ++t) {
    const int u = kTokens + t;
    y[t] += fmaf(s.x, fmaf(z.shift.x, sum[t], acc[t]), z.offset.x * sum[t]);
    y[u] += fmaf(s.y, fmaf(z.shift.y, sum[t], acc[u]), z.offset.y * sum[t]);
  }
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
  static constexpr bool kHas16 = kIn == In::k16;
  static constexpr bool kGroupColumns = kGroups > 1 && !kZeros;
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
  // Of pair `index` of the plane: group 0.
  __device__ GroupScales(const TileArgs& a, const uint8_t* scales, int index, One)
      : f16(a.shape.scale == Scale::kF16) {
    static_assert(!kZeros);
    words[0] = kIn == In::k16 ? reinterpret_cast<const uint32_t*>(scales)[index]
                              : reinterpret_cast<const uint16_t*>(scales)[index];
  }
  template <Type16 kType>
  __device__ float2 pair(int group) const {
    if constexpr (kIn == In::k16) return from_16<kType>(f16, words[group]);
    const uint32_t codes = words[group / 2] >> (group % 2 * 16);
    if constexpr (kIn == In::kE8M0) return {from_e8m0(codes & 0xff), from_e8m0(codes >> 8 & 0xff)};
    return from_e4m3(codes & 0xffff);
  }
  template <int kTokens, Type16 kType = Type16::kEither>
  __device__ void apply(int group, const float (&acc)[2 * kTokens], const float (&sum)[kTokens],
                        float (&y)[2 * kTokens]) const {
    if constexpr (kWith == With::kAnyZeros) {
      add_shifted<kTokens>(pair<kType>(group), zero[group], sum, acc, y);
      return;
    }
    if constexpr (kWith == With::kFloatZeros) {
      const float2 z = from_16<kType>(f16, offsets[group]);
#pragma unroll
      for (int t = 0; t < kTokens; ++t) {
        y[t] = fmaf(z.x, sum[t], y[t]);
        y[kTokens + t] = fmaf(z.y, sum[t], y[kTokens + t]);
      }
    }
    add_scaled<kTokens>(pair<kType>(group), acc, y);
  }
};

// Every stream with scales: type, group and zero are looked at as it goes.
struct AnyScales {
  static constexpr int kGroups = 4;
  static constexpr bool kZeros = true, kHas16 = false, kGroupColumns = false;
  static bool fits(const TileShape& s) { return s.group != 0; }

  const TileArgs& a;
  const uint8_t* scales;
  int g, per_scale, groups;  // sixteen columns each

  __device__ AnyScales(const TileArgs& args, const uint8_t* block_scales, int pair)
      : a(args), scales(block_scales), g(pair), groups(args.shape.groups()) {
    per_scale = __ffs(args.shape.group / 16) - 1;
  }
  template <int kTokens, Type16 kType = Type16::kEither>
  __device__ void apply(int quarter, const float (&acc)[2 * kTokens], const float (&sum)[kTokens],
                        float (&y)[2 * kTokens]) const {
    const int pair = g * groups + (quarter >> per_scale);
    const float2 s = any_pair(a.shape.scale, scales, pair);
    if (a.shape.zero == Zero::kNone) {
      add_scaled<kTokens>(s, acc, y);
    } else {
      const uint8_t* zeros = scales + groups * kTileRows * scale_bytes(a.shape.scale);
      add_shifted<kTokens>(s, shift_of(a, zeros, pair), sum, acc, y);
    }
  }
};

// Whether a block is one unit, whatever the stream: its scales are of a unit or less, or not in it.
template <class S>
constexpr bool kOneUnitBlocks = S::kGroups != 1 && !std::is_same_v<S, AnyScales>;

}  // namespace lowbit::cuda
