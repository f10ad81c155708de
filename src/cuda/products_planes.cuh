// Products of one token with codes of one bit: x, whole numbers of 16 bits, lies as planes of its
// bits, and mma.m16n8k256 counts where a bit of the codes and one of x are both set. A product
// takes four units; codes are not decoded, only sorted by row.
//
// Columns 2 u and 2 u + 1 of B see unit u of the four and zeros elsewhere, in product j bits j and
// 8 + j of its x: after eight products lane 4 g + q is left with what unit q's scales are for.
//
// A pair of units has 64 words: word 32 i + 16 h + 4 q + j holds bit 8 h + 4 i + j of x, of the
// columns that lane q of four has in both units, in the order of BitPlane::rows().
#pragma once

#include "cuda/decode_planes.cuh"
#include "cuda/products.cuh"

namespace lowbit::cuda {

template <class W, class S>
class Products<W, S, 1, XTerms::kPlanes> {
  static_assert(S::kGroups == 1);
  static constexpr bool kSums = S::kZeros || W::kOffset != 0;
  static constexpr int kUnits = 4;  // at once
  static constexpr int kPairWords = 64, kHalfWords = 16, kBits = 8;

 public:
  __device__ Products(const TileArgs& a, const StagedX& x, int)
      : a_(a), lane_(threadIdx.x % 32), f16_(a.shape.scale == Scale::kF16) {
    const TileShape& s = a.shape;
    log_units_ = s.units / 2;  // of 1, 2 or 4
    const auto block_of = [&](int unit) { return (unit >> log_units_) * s.block_bytes; };
#pragma unroll
    for (int u = 0; u < kUnits; ++u) {
      at_[u] = held(block_of(u) + (u & (s.units - 1)) * s.unit_bytes);
    }
    scales_at_ = block_of(lane_ % 4) + s.units * s.unit_bytes;
    chunk_blocks_ = kUnits >> log_units_;
    chunk_bytes_ = held(block_of(kUnits));
    const uint32_t mask = lane_ / 8 % 2 == 0 ? W::kEven : ~W::kEven;
    keep_[0] = lane_ < 16 ? mask : 0;
    keep_[1] = lane_ < 16 ? 0 : mask;
    move(x, 0);
  }
  __device__ void move(const StagedX& x, int) {
    const int g = lane_ / 4, q = lane_ % 4;
    x_ = reinterpret_cast<const uint32_t*>(x.x) + g / 4 * kPairWords + g % 2 * kHalfWords + 4 * q;
    sums_ = x.sums + q;
  }
  __device__ void clear() { y_[0] = y_[1] = 0; }

  // `count` blocks, one after the other; only in the last call they may end within a product.
  __device__ __forceinline__ void add(const uint8_t* block, int count) {
    if constexpr (!S::kHas16) {
      run<Type16::kEither>(block, count);
    } else if (f16_) {
      run<Type16::kF16>(block, count);
    } else {
      run<Type16::kBF16>(block, count);
    }
  }

  // The sums, times `unit`, to out[kTileRows].
  __device__ void store(float* out, float unit) {
#pragma unroll
    for (int lanes = 1; lanes < 4; lanes *= 2) {
      y_[0] += __shfl_xor_sync(0xffffffffu, y_[0], lanes);
      y_[1] += __shfl_xor_sync(0xffffffffu, y_[1], lanes);
    }
    if (lane_ % 4 != 0) return;
    out[lane_ / 4] = y_[0] * unit;
    out[lane_ / 4 + 8] = y_[1] * unit;
  }

 private:
  template <Type16 kType>
  __device__ __forceinline__ void run(const uint8_t* block, int count) {
#pragma unroll 2
    for (; count >= chunk_blocks_; count -= chunk_blocks_, block += chunk_bytes_) {
      add_units<true, kType>(block, kUnits);
    }
    if (count > 0) add_units<false, kType>(block, count << log_units_);
  }

  // `units` of the four exist; kAll: all of them.
  template <bool kAll, Type16 kType>
  __device__ __forceinline__ void add_units(const uint8_t* block, int units) {
    uint32_t a[4];
#pragma unroll
    for (int pair = 0; pair < 2; ++pair) {
      uint32_t words[2] = {0, 0};
#pragma unroll
      for (int u = 0; u < 2; ++u) {
        if (!kAll && 2 * pair + u >= units) break;
        load_words<1>(block + at_[2 * pair + u], lane_, words + u);
      }
      W::rows(words[0], words[1], a[2 * pair], a[2 * pair + 1]);
    }
    float rows[2];
    multiply(a, rows);
    if (kAll || lane_ % 4 < units) scale<kType>(block + scales_at_, rows);
    x_ += 2 * kPairWords;
    if constexpr (kSums) sums_ += kUnits;
  }

  // Of unit q and rows g and g + 8.
  __device__ __forceinline__ void multiply(const uint32_t (&a)[4], float (&rows)[2]) const {
    const uint4 few = *reinterpret_cast<const uint4*>(x_);
    const uint4 many = *reinterpret_cast<const uint4*>(x_ + kPairWords / 2);
    const uint32_t x[kBits] = {few.x, few.y, few.z, few.w, many.x, many.y, many.z, many.w};
    int32_t low[2] = {0, 0}, high[2] = {0, 0};
#pragma unroll
    for (int j = kBits - 1; j >= 0; --j) {
      int32_t acc[4] = {0, 0, 0, 0};
      mma_bits(acc, a, x[j] & keep_[0], x[j] & keep_[1]);
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        low[r] = 2 * low[r] + acc[2 * r];
        // Bit 15 is the sign.
        high[r] = j == kBits - 1 ? -acc[2 * r + 1] : 2 * high[r] + acc[2 * r + 1];
      }
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) rows[r] = __int2float_rn((high[r] << kBits) + low[r]);
  }

  template <Type16 kType>
  __device__ __forceinline__ void scale(const uint8_t* stored, float (&rows)[2]) {
    const float sum = kSums ? *sums_ : 0;
    rows[0] -= W::kOffset * sum;
    rows[1] -= W::kOffset * sum;
    const float of_codes[1] = {sum * (1 / W::kFactor)};
    const S scales(a_, stored, lane_ / 4);
    scales.template apply<1, kType>(0, rows, of_codes, y_);
  }

  const TileArgs& a_;
  const int lane_;
  const bool f16_;
  int at_[kUnits], scales_at_, chunk_bytes_;  // of the four units, of this lane's scales
  int chunk_blocks_, log_units_;
  uint32_t keep_[2];   // of x: the unit of the lane's column, in the words of both pairs
  const uint32_t* x_;  // of the lane's column in the next product
  const float* sums_;
  float y_[2];
};

}  // namespace lowbit::cuda
