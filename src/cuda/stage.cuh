// x on its way to the tensor cores (StagedX). First a look at all of a token: the sum of squares
// that RMSNorm needs and the largest number; then sixteen lanes make 64 columns of it, four each.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "cuda/act.cuh"
#include "cuda/mail.cuh"
#include "cuda/norm.cuh"
#include "cuda/pdl.cuh"
#include "cuda/tiles_args.h"

namespace lowbit::cuda {

constexpr int kLogLanesPerUnit = 4, kLanesPerUnit = kUnit / 4;
static_assert(kLanesPerUnit == 1 << kLogLanesPerUnit);
constexpr int kColumnsAtOnce = 4 * kNormThreads;
// Rounds of all threads that take all columns of a token, of which there are functions.
constexpr int kFewRounds = 2, kMostRounds = 7;
static_assert(kMostPosted == kMostRounds * kColumnsAtOnce);

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

// Four numbers as sums of two bf16, high and rest.
__device__ __forceinline__ void split_bf16(const float (&v)[4], uint2& high, uint2& rest) {
  float left[4];
#pragma unroll
  for (int e = 0; e < 4; ++e) {
    left[e] = isfinite(v[e]) ? v[e] - __bfloat162float(__float2bfloat16_rn(v[e])) : 0;
  }
  high = {pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3])};
  rest = {pack_bf16(left[0], left[1]), pack_bf16(left[2], left[3])};
}
// Four numbers in f16, and their sum.
__device__ __forceinline__ uint2 round_f16(const float (&v)[4], float& sum) {
#pragma unroll
  for (int e = 0; e < 4; ++e) sum += __half2float(__float2half_rn(v[e]));
  return {pack_halves(v[0], v[1]), pack_halves(v[2], v[3])};
}

// Where the numbers of a token go.
struct TokenOut {
  uint16_t* x;     // its row
  int columns;     // whole units
  int64_t stride;  // halves to the second term of bf16, or to the next unit in panels
  float* sums;     // its column
  int pitch;
  int log_sum_lanes;  // as a power of two: lanes whose columns a sum is of; -1 for no sums
  float factor;       // of the numbers, before they are rounded
  int swizzle;        // of the row's bytes in a panel
};

// Of the lanes of a group.
__device__ __forceinline__ void put_sum(const TokenOut& to, int column, float sum) {
  const int log_lanes = to.log_sum_lanes;
#pragma unroll
  for (int log = 0; log < kLogLanesPerUnit; ++log) {
    if (log < log_lanes) sum += __shfl_xor_sync(0xffffffffu, sum, 1 << log);
  }
  const int four = column / 4;
  if ((four & ((1 << log_lanes) - 1)) == 0 && column < to.columns) {
    to.sums[(four >> log_lanes) * to.pitch] = sum;
  }
}

__device__ __forceinline__ int log_sum_lanes(int sums_per_unit) {
  return sums_per_unit == 0 ? -1 : kLogLanesPerUnit - sums_per_unit / 2;
}

// Added to a number up to 2^22 it leaves the nearest whole number in its low bits.
constexpr float kRounding = 12582912;  // 1.5 * 2^23
constexpr uint32_t kRoundingBits = 0x4b400000u;

// Of four words a byte each, the one that the selector of two words names.
__device__ __forceinline__ uint32_t fixed_bytes(const uint32_t (&words)[4], uint32_t two) {
  return __byte_perm(__byte_perm(words[0], words[1], two), __byte_perm(words[2], words[3], two),
                     0x5410);
}

// Four numbers of a token in panels.
template <XTerms kX>
__device__ __forceinline__ void put_in_panel(const TokenOut& to, int column, const float4& v) {
  const auto pair = [&](float a, float b) {
    a *= to.factor, b *= to.factor;
    return kX == XTerms::kPanelBf16 ? pack_bf16(a, b) : pack_halves(a, b);
  };
  auto* panel = reinterpret_cast<uint8_t*>(to.x + column / kUnit * to.stride);
  const int i = column / 4 % kLanesPerUnit, at = i / 4 * 32 + i % 4 * 4;
  *reinterpret_cast<uint32_t*>(panel + (at ^ to.swizzle)) = pair(v.x, v.y);
  *reinterpret_cast<uint32_t*>(panel + (at + 16 ^ to.swizzle)) = pair(v.z, v.w);
}

// Four numbers of a token as the tensor cores want them, and the sums over them; by whole warps,
// some lanes of which may be past the last column. A call: what runs once for some columns takes as
// long as its instructions take to come.
template <XTerms kX>
static __device__ __noinline__ void put(TokenOut to, int column, float4 number) {
  const int i = threadIdx.x % kLanesPerUnit, unit = column / kUnit;
  uint16_t* row = to.x + unit * kUnit;
  const bool exists = column < to.columns;
  const float f = to.factor;
  const float v[4] = {number.x * f, number.y * f, number.z * f, number.w * f};
  float sum = 0;
  if constexpr (kX == XTerms::kTwoBf16) {
    uint2 high, rest;
    split_bf16(v, high, rest);
    if (!exists) return;
    uint16_t* at = row + i % 4 * 16 + i / 4 * 4;
    *reinterpret_cast<uint2*>(at) = high;
    *reinterpret_cast<uint2*>(at + to.stride) = rest;
    return;
  } else if constexpr (kX == XTerms::kFixed) {
    uint32_t bits[4], carried[4];
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      bits[e] = __float_as_uint(v[e] + kRounding);
      carried[e] = bits[e] + 128;
    }

    auto* at = reinterpret_cast<uint32_t*>(row) + i % 4 * 4 + i / 4;
    if (exists) {
      at[0] = fixed_bytes(bits, 0x0040);
      at[kUnit / 4] = fixed_bytes(carried, 0x0051);
    }
    sum = static_cast<float>(
        static_cast<int>(bits[0] + bits[1] + bits[2] + bits[3] - 4 * kRoundingBits));
  } else if constexpr (in_panels(kX)) {
    if (exists) put_in_panel<kX>(to, column, number);
    return;
  } else {
    const uint2 halves = round_f16(v, sum);
    if (exists) *reinterpret_cast<uint2*>(row + i % 4 * 16 + i / 4 * 4) = halves;
  }
  if (to.log_sum_lanes >= 0) put_sum(to, column, sum);
}

// All threads that stage; a kernel may have more.
__device__ __forceinline__ void sync_stagers() {
  __syncwarp();  // a lane may have waited alone, and the barrier counts warps
  asm volatile("bar.sync 1, %0;" ::"n"(kTileThreads) : "memory");
}

// What a CTA knows of the token that it stages.
struct StageMemory {
  alignas(16) float squares[kNormWarps];
  alignas(16) uint32_t tops[kNormWarps];  // bits: of numbers that are not negative, NaN above all
};

// What does not depend on other kernels, on its way to the L2: the weights of the norm, and the
// scales that the CTA's rows are multiplied with in the end.
__device__ inline void prefetch_constants(const TileArgs& a, int thread, int threads) {
  const LinearArgs& l = a.linear;
  const auto prefetch = [](const float* line) {
    asm volatile("prefetch.global.L2 [%0];" ::"l"(line));
  };
  if (l.norm_weight) {
#pragma unroll 1
    for (int at = 32 * thread; at < l.k; at += 32 * threads) prefetch(l.norm_weight + at);
  }
  const auto* scales = static_cast<const float*>(l.w.scales);
  if (!scales) return;
#pragma unroll 1
  for (int tile = blockIdx.x + thread * gridDim.x; tile < a.shape.tiles;
       tile += threads * gridDim.x) {
    prefetch(scales + tile * kTileRows);
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

// Of the four columns of a lane, from the first of its warp's.
__device__ __forceinline__ int lane_column() { return 4 * (threadIdx.x % 32); }

// What one thread saw of a token.
struct Look {
  float squares = 0;
  uint32_t top = 0;

  // Numbers and what each is multiplied with; returned: their products.
  __device__ __forceinline__ float4 add(const float4& v, const float4& w) {
    squares = fmaf(v.w, v.w, fmaf(v.z, v.z, fmaf(v.y, v.y, fmaf(v.x, v.x, squares))));
    const float4 p = {v.x * w.x, v.y * w.y, v.z * w.z, v.w * w.w};
    const auto bits = [](float number) { return __float_as_uint(fabsf(number)); };
    top = max(max(max(bits(p.x), bits(p.y)), max(bits(p.z), bits(p.w))), top);
    return p;
  }
  // What the warp saw.
  __device__ __forceinline__ void reduce() {
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes /= 2) {
      squares += __shfl_xor_sync(0xffffffffu, squares, lanes);
    }
    top = __reduce_max_sync(0xffffffffu, top);
  }
};

// A token to be staged.
struct TokenIn {
  const float* row;   // where it is plain f32
  const float* mail;  // where it is posted instead, or null
  const float* norm;  // null: it is taken as it is
  float eps;
  int k, columns;  // columns: whole units
  bool whole_numbers;
};

// After all threads have looked: the norm's factor, and the unit in which x is staged.
struct TokenScale {
  float inverse_rms, unit, factor;
};
// `top`: of numbers and what they are multiplied with, as bits.
template <XTerms kX>
__device__ __forceinline__ TokenScale scale_of(float inverse_rms, uint32_t top,
                                               bool whole_numbers) {
  TokenScale s = {inverse_rms, 1, 1};
  const float most = __uint_as_float(top) * inverse_rms;
  if constexpr (kX == XTerms::kFixed) {
    const float fixed = fixed_top(__float_as_uint(most), whole_numbers);
    s.unit = fixed / kFixedMost, s.factor = kFixedMost / fixed;
  } else if constexpr (kX == XTerms::kF16 || kX == XTerms::kPanelF16) {
    s.unit = power_scale(most), s.factor = inverse_power(s.unit);
  }
  return s;
}
template <XTerms kX>
__device__ __forceinline__ TokenScale scale_of(Look look, const TokenIn& in, StageMemory& shared) {
  look.reduce();
  const int warp = threadIdx.x / 32;
  if (threadIdx.x % 32 == 0) shared.squares[warp] = look.squares, shared.tops[warp] = look.top;
  sync_stagers();
  uint32_t top = 0;
#pragma unroll
  for (int i = 0; i < kNormWarps / 4; ++i) {
    const uint4 four = reinterpret_cast<const uint4*>(shared.tops)[i];
    top = max(max(max(four.x, four.y), max(four.z, four.w)), top);
  }
  const float inverse = in.norm ? inverse_rms(shared.squares, in.k, in.eps) : 1.0f;
  return scale_of<kX>(inverse, top, in.whole_numbers);
}

__device__ __forceinline__ float4 normed(const float4& v, const float4& w, float inverse) {
  return {v.x * inverse * w.x, v.y * inverse * w.y, v.z * inverse * w.z, v.w * inverse * w.w};
}

// A token of plain numbers whose columns are kAhead rounds of all threads at most, all on their way
// at once. Functions of their own: kernels of every format would hold this code again, which runs
// once in each of them and has to be fetched first.
template <XTerms kX, int kAhead>
static __device__ __noinline__ float stage_plain(TokenIn in, TokenOut to, StageMemory* shared) {
  const int first = 4 * threadIdx.x;
  const auto weights = [&](int column) {
    return in.norm && column < in.k ? *reinterpret_cast<const float4*>(in.norm + column)
                                    : float4{1, 1, 1, 1};
  };
  float4 v[kAhead], w[kAhead];
#pragma unroll
  for (int i = 0; i < kAhead; ++i) w[i] = weights(first + i * kColumnsAtOnce);
  if (in.mail) {
    receive(in.mail, first, kColumnsAtOnce, in.k, v);
  } else {
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const int column = first + i * kColumnsAtOnce;
      v[i] = {0, 0, 0, 0};
      if (column < in.k) v[i] = *reinterpret_cast<const float4*>(in.row + column);
    }
  }
  Look look;
#pragma unroll
  for (int i = 0; i < kAhead; ++i) look.add(v[i], w[i]);
  const TokenScale s = scale_of<kX>(look, in, *shared);
  to.factor = s.factor;
#pragma unroll
  for (int i = 0; i < kAhead; ++i) {
    const int column = first + i * kColumnsAtOnce;
    if (column - lane_column() < in.columns) put<kX>(to, column, normed(v[i], w[i], s.inverse_rms));
  }
  return s.unit;
}

// Any other.
template <XTerms kX>
static __device__ __noinline__ float stage_any(const LinearArgs& a, int t, TokenIn in, TokenOut to,
                                               StageMemory* shared) {
  const auto weights = [&](int column) {
    const auto one = [&](int c) { return in.norm && c < in.k ? in.norm[c] : 1.0f; };
    return float4{one(column), one(column + 1), one(column + 2), one(column + 3)};
  };
  Look look;
  float4 v;
  const int end = in.columns + lane_column();  // for all lanes of a warp alike
#pragma unroll 1
  for (int column = 4 * threadIdx.x; column < end; column += kColumnsAtOnce) {
    load_any_act(a.x, t, column, in.k, v);
    look.add(v, weights(column));
  }
  const TokenScale s = scale_of<kX>(look, in, *shared);
  to.factor = s.factor;
  float x_factor = 1;
#pragma unroll 1
  for (int column = 4 * threadIdx.x; column < end; column += kColumnsAtOnce) {
    x_factor = load_any_act(a.x, t, column, in.k, v);
    put<kX>(to, column, normed(v, weights(column), s.inverse_rms));
  }
  return s.unit * x_factor;
}

template <XTerms kX>
__device__ __forceinline__ TokenOut token_out(const TileArgs& tiles, int t, const StagedX& out) {
  const int columns = tiles.shape.blocks * tiles.shape.units * kUnit;
  if constexpr (in_panels(kX)) {
    const int64_t block = t / tiles.panel_tokens, panel = int64_t{tiles.panel_tokens} * kUnit;
    const int64_t units = int64_t{tiles.shape.blocks} * tiles.shape.units;
    const int row = t % tiles.panel_tokens * kUnit;
    return {out.x + block * units * panel + row, columns, panel, nullptr, 0, -1, 1, t % 8 * 16};
  }
  return {out.x + int64_t{t} * out.row_halves,
          columns,
          int64_t{tiles.linear.m} * out.row_halves,
          out.sums + t,
          out.pitch,
          log_sum_lanes(tiles.sums_per_unit),
          1,
          0};
}

__device__ __forceinline__ TokenIn token_in(const TileArgs& tiles, int t, const float* mail) {
  const LinearArgs& a = tiles.linear;
  return {static_cast<const float*>(a.x.data) + t * a.x.ld,
          mail,
          a.norm_weight,
          a.norm_eps,
          a.k,
          tiles.shape.blocks * tiles.shape.units * kUnit,
          a.x.scale != Scale::kNone};
}

// kFewRounds, kMostRounds or, of any other x, 0.
LB_HOST_DEVICE inline int rounds_of_x(const TileArgs& tiles) {
  if (!tiles.plain_x) return 0;
  const int columns = tiles.shape.blocks * tiles.shape.units * kUnit;
  return columns <= kFewRounds * kColumnsAtOnce ? kFewRounds : kMostRounds;
}

// Token t by all threads of the CTA, each taking four neighbours of every 2048 columns; returned:
// what its sums have to be multiplied with. `mail`: where the token is posted, if it is (only plain
// numbers are). Not synchronised afterwards.
template <XTerms kX>
__device__ float stage_token(const TileArgs& tiles, int t, StageMemory& shared, const StagedX& out,
                             const float* mail) {
  const TokenIn in = token_in(tiles, t, mail);
  const TokenOut to = token_out<kX>(tiles, t, out);
  const int rounds = rounds_of_x(tiles);
  if (rounds == kFewRounds) return stage_plain<kX, kFewRounds>(in, to, &shared);
  if (rounds == kMostRounds) return stage_plain<kX, kMostRounds>(in, to, &shared);
  return stage_any<kX>(tiles.linear, t, in, to, &shared);
}

// x of a launch in global memory: one CTA for each token, with so few registers that two or three
// fit a multiprocessor. kRounds: rounds_of_x().
template <XTerms kX, int kRounds>
__global__ void __launch_bounds__(kTileThreads, kRounds == kFewRounds ? 3 : 2)
    prepare_kernel(const __grid_constant__ TileArgs a) {
  __shared__ StageMemory memory;
  pdl_start_next();
  prefetch_constants(a, threadIdx.x, kTileThreads);
  pdl_wait();
  const int t = blockIdx.x;
  const TokenIn in = token_in(a, t, nullptr);
  const TokenOut to = token_out<kX>(a, t, a.prepared);
  float scale;
  if constexpr (kRounds == 0) {
    scale = stage_any<kX>(a.linear, t, in, to, &memory);
  } else {
    scale = stage_plain<kX, kRounds>(in, to, &memory);
  }
  if (threadIdx.x == 0) a.prepared_scale[t] = scale;
}

}  // namespace lowbit::cuda
