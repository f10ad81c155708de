// x of one token on its way to the tensor cores: a warp stages the columns that it multiplies, in
// units of its own, and waits for no other. The norm's factor comes after the sums of products: all
// it needs here is the sum of squares.
#pragma once

#include "cuda/ptx.cuh"
#include "cuda/stage.cuh"

namespace lowbit::cuda {

// Columns of a warp that are all under way at once, in steps of 128.
constexpr int kMostOwnSteps = 7, kOwnStep = 4 * 32;
static_assert(kMostPosted == kTileWarps * kMostOwnSteps * kOwnStep);

// Where a warp's columns are and go, and what is done on the way.
struct OwnColumns {
  const float* row;   // of x, where it is plain f32
  const float* mail;  // where it is posted instead, or null
  const float* norm;  // null: it is taken as it is
  int first, end;     // of x; past `end` there are zeros
  int columns;        // whole units
  uint32_t x, sums;   // in shared memory, as StagedX has them
  int row_bytes;      // there, to the second term of bf16
  bool whole_numbers;
};

// What sums over the warp's columns still have to be multiplied with; the squares of its columns.
struct OwnScale {
  float unit, squares;
};

// Bytes of eight bits of four numbers, in all lanes: bit 4, 2 or 1 of a bit's number trades places
// with bit kLane of the lane's, so that a lane is left with one bit of all of them.
template <int kBit, int kLane>
struct Trade {
  static constexpr uint32_t kMask = kBit == 4 ? 0x0f0f0f0fu : kBit == 2 ? 0x33333333u : 0x55555555u;
  uint32_t keep;
  int turn;

  __device__ Trade() {
    const bool upper = (threadIdx.x & kLane) != 0;
    keep = upper ? ~kMask : kMask;
    turn = upper ? 32 - kBit : kBit;
  }
  __device__ __forceinline__ uint32_t operator()(uint32_t word) const {
    const uint32_t other = __shfl_xor_sync(0xffffffffu, word, kLane);
    return (word & keep) | (__funnelshift_l(other, other, turn) & ~keep);
  }
};
// The four columns of every lane, 16-bit numbers as their low and their high bytes, to the planes
// of their bits (products_planes.cuh). Bits of a byte of a word are, from bit 2 on, the unit and
// column / 16, as in words of codes.
class PlaneWriter {
  static constexpr int kLane2 = 16, kLane1 = 8, kLane0 = 4;

 public:
  __device__ explicit PlaneWriter(uint32_t x) {
    const int lane = threadIdx.x % 32;
    const auto bit = [&](int of) { return (lane & of) != 0 ? 1 : 0; };
    to_ = x + 4 * (32 * bit(kLane2) + 4 * (lane % 4) + 2 * bit(kLane1) + bit(kLane0));
  }
  __device__ __forceinline__ void put(int pair, uint32_t low, uint32_t high) const {
    store_shared(to_ + pair * 256, trade0_(trade1_(trade2_(low))), true);
    store_shared(to_ + pair * 256 + 64, trade0_(trade1_(trade2_(high))), true);
  }

 private:
  uint32_t to_;
  Trade<4, kLane2> trade2_;
  Trade<2, kLane1> trade1_;
  Trade<1, kLane0> trade0_;
};
struct NoPlanes {
  __device__ explicit NoPlanes(uint32_t) {}
};

// Four columns of each lane, step after step, in the order of a unit's lanes.
template <XTerms kX, int kSumsPerUnit>
class OwnWriter {
 public:
  // `factor`: of the numbers, before they are rounded.
  __device__ OwnWriter(const OwnColumns& c, float factor)
      : factor_(factor), left_(c.columns - lane_column()), row_bytes_(c.row_bytes), planes_(c.x) {
    const int lane = threadIdx.x % 32, i = lane % kLanesPerUnit;
    const int in_unit = kX == XTerms::kFixed ? (i % 4 * 4 + i / 4) * 4 : (i % 4 * 4 + i / 4) * 8;
    x_ = c.x + lane / kLanesPerUnit * 2 * kUnit + in_unit;
    const int sum = lane * kSumsPerUnit / kLanesPerUnit;  // of two units
    sums_ = c.sums + sum * kSumBytes;
    sums_left_ = (lane & (kLanesPerSum - 1)) == 0 ? left_ : 0;
  }
  __device__ __forceinline__ void put(int step, const float4& v) const {
    const bool exists = left_ > step * kOwnStep;
    const uint32_t at = x_ + step * (2 * kOwnStep);
    if constexpr (kX == XTerms::kFixed || kPlanes) {
      uint32_t bits[4], carried[4];
      const float number[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        bits[e] = __float_as_uint(fmaf(number[e], factor_, kRounding));
        carried[e] = bits[e] + 128;
      }
      if constexpr (kPlanes) {
        planes_.put(step, fixed_bytes(bits, 0x0040), fixed_bytes(bits, 0x0051));
      } else {
        store_shared(at, fixed_bytes(bits, 0x0040), exists);
        store_shared(at + kUnit, fixed_bytes(carried, 0x0051), exists);
      }
      put_sum(step, static_cast<int>(bits[0] + bits[1] + bits[2] + bits[3] - 4 * kRoundingBits));
    } else if constexpr (kX == XTerms::kTwoBf16) {
      uint2 high, rest;
      split_bf16({v.x, v.y, v.z, v.w}, high, rest);
      store_shared(at, high, exists);
      store_shared(at + row_bytes_, rest, exists);
    } else {
      float sum = 0;
      const float number[4] = {v.x * factor_, v.y * factor_, v.z * factor_, v.w * factor_};
      store_shared(at, round_f16(number, sum), exists);
      put_sum(step, sum);
    }
  }

 private:
  static constexpr bool kPlanes = kX == XTerms::kPlanes;
  static constexpr int kLanesPerSum = kSumsPerUnit > 0 ? kLanesPerUnit / kSumsPerUnit : 1;
  static constexpr int kSumBytes = tokens_of_mma(kX) * static_cast<int>(sizeof(float));

  template <class Sum>
  __device__ __forceinline__ void put_sum(int step, Sum sum) const {
    if constexpr (kSumsPerUnit > 0) {
#pragma unroll
      for (int lanes = 1; lanes < kLanesPerSum; lanes *= 2) {
        sum += __shfl_xor_sync(0xffffffffu, sum, lanes);
      }
      store_shared(sums_ + step * (2 * kSumsPerUnit * kSumBytes),
                   __float_as_uint(static_cast<float>(sum)), sums_left_ > step * kOwnStep);
    }
  }

  const float factor_;
  const int left_, row_bytes_;
  int sums_left_;
  uint32_t x_, sums_;
  [[no_unique_address]] std::conditional_t<kPlanes, PlaneWriter, NoPlanes> planes_;
};

// The squares of all lanes' columns, the unit that the largest of them asks for, and what numbers
// are multiplied with for it.
template <XTerms kX>
__device__ __forceinline__ OwnScale own_scale(Look look, const OwnColumns& c, float& factor) {
  if (c.norm) {
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes /= 2) {
      look.squares += __shfl_xor_sync(0xffffffffu, look.squares, lanes);
    }
  }
  factor = 1;
  if constexpr (kX == XTerms::kTwoBf16) return {1, look.squares};
  const uint32_t top = __reduce_max_sync(0xffffffffu, look.top);
  if constexpr (kX == XTerms::kFixed || kX == XTerms::kPlanes) {
    const float fixed = fixed_top(top, c.whole_numbers);
    factor = kFixedMost * reciprocal(fixed);
    return {fixed * (1.0f / kFixedMost), look.squares};
  }
  const float unit = power_scale(__uint_as_float(top));
  factor = inverse_power(unit);
  return {unit, look.squares};
}

// Plain numbers, kSteps steps at most, all on their way at once. A function of its own, so that its
// code is there once.
template <XTerms kX, int kSteps, int kSumsPerUnit>
static __device__ __noinline__ OwnScale stage_own_plain(OwnColumns c) {
  const int first = c.first + lane_column();
  float4 v[kSteps], w[kSteps];
#pragma unroll
  for (int i = 0; i < kSteps; ++i) {
    const int column = first + i * kOwnStep;
    w[i] = {1, 1, 1, 1};
    if (c.norm && column < c.end) w[i] = *reinterpret_cast<const float4*>(c.norm + column);
  }
  if (c.mail) {
    receive(c.mail, first, kOwnStep, c.end, v);
  } else {
#pragma unroll
    for (int i = 0; i < kSteps; ++i) {
      const int column = first + i * kOwnStep;
      v[i] = {0, 0, 0, 0};
      if (column < c.end) v[i] = *reinterpret_cast<const float4*>(c.row + column);
    }
  }
  Look look;
#pragma unroll
  for (int i = 0; i < kSteps; ++i) v[i] = look.add(v[i], w[i]);
  float factor;
  const OwnScale scale = own_scale<kX>(look, c, factor);
  const OwnWriter<kX, kSumsPerUnit> writer(c, factor);
#pragma unroll
  for (int i = 0; i < kSteps; ++i) {
    if (i * kOwnStep < c.columns) writer.put(i, v[i]);
  }
  return scale;
}

// Of any numbers.
template <XTerms kX, int kSumsPerUnit>
static __device__ __noinline__ OwnScale stage_own_any(const Act& x, OwnColumns c) {
  const auto weight = [&](int column) { return c.norm && column < c.end ? c.norm[column] : 1.0f; };
  float x_factor = 1;
  Look look;
  const auto number = [&](int step) {
    const int column = c.first + step * kOwnStep + lane_column();
    float4 v;
    x_factor = load_any_act(x, 0, column, c.end, v);
    return look.add(v,
                    {weight(column), weight(column + 1), weight(column + 2), weight(column + 3)});
  };
  const int steps = (c.columns + kOwnStep - 1) / kOwnStep;
#pragma unroll 1
  for (int i = 0; i < steps; ++i) number(i);
  float factor;
  OwnScale scale = own_scale<kX>(look, c, factor);
  const OwnWriter<kX, kSumsPerUnit> writer(c, factor);
#pragma unroll 1
  for (int i = 0; i < steps; ++i) writer.put(i, number(i));
  scale.unit *= x_factor;
  return scale;
}

// The columns of the blocks that are the warp's part of every tile.
template <XTerms kX, int kSumsPerUnit>
__device__ __forceinline__ OwnScale stage_own(const TileArgs& tiles, int2 blocks,
                                              const StagedX& out, const float* mail) {
  const LinearArgs& a = tiles.linear;
  const int block_columns = tiles.shape.units * kUnit;
  const int first = blocks.x * block_columns, columns = (blocks.y - blocks.x) * block_columns;
  const OwnColumns c = {static_cast<const float*>(a.x.data),
                        mail,
                        a.norm_weight,
                        first,
                        min(a.k, first + columns),
                        columns,
                        shared_address(out.x),
                        shared_address(out.sums),
                        out.row_halves * 2,
                        a.x.scale != Scale::kNone};
  if (!tiles.plain_x) return stage_own_any<kX, kSumsPerUnit>(a.x, c);
  if (columns <= 4 * kOwnStep) return stage_own_plain<kX, 4, kSumsPerUnit>(c);
  return stage_own_plain<kX, kMostOwnSteps, kSumsPerUnit>(c);
}

}  // namespace lowbit::cuda
