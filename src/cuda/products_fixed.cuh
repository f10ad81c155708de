// Products of codes with x in fixed point: both digits of a token are columns of one integer mma,
// so that codes need no conversion and sums of a group are exact. Four tokens fill the eight
// columns. One token alone, where a unit has several groups, fills them with its groups instead:
// columns 2 i and 2 i + 1 see x of group i and zeros elsewhere, and one sum of products serves all
// groups.
#pragma once

#include "cuda/decode_fixed.cuh"
#include "cuda/products.cuh"

namespace lowbit::cuda {

// Token 4 i + q of every tensor-core tile i.
template <class W, class S, int kN>
class Products<W, S, kN, XTerms::kFixed> {
  static constexpr bool kGroupColumns = S::kGroupColumns && kN == 1;
  static constexpr bool kOfRow = S::kGroups == 0;    // whole numbers to the end
  static constexpr bool kOfBlock = S::kGroups == 1;  // one scale for all of it
  static constexpr bool kOneUnit = kOneUnitBlocks<S>;
  static constexpr bool kSums = S::kZeros || W::kOffset != 0;
  // Sums of whole rows of one tile that do not wait for each other.
  static constexpr int kChains = kOfRow && kN == 1 ? 2 : 1;

 public:
  __device__ Products(const TileArgs& a, const StagedX& x, int unit)
      : a_(a),
        lane_(threadIdx.x % 32),
        m_(kN == 1 ? 1 : a.linear.m),
        units_(kOneUnit ? 1 : a.shape.units),
        unit_bytes_(held(a.shape.unit_bytes)),
        block_bytes_(held(a.shape.block_bytes)),
        unit_sums_(a.sums_per_unit * x.pitch),
        f16_(a.shape.scale == Scale::kF16) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      keep_[j] = !kGroupColumns || j * S::kGroups / 4 == lane_ / 8 ? ~0u : 0;
    }
    move(x, unit);
  }
  __device__ void move(const StagedX& x, int unit) {
    const int g = lane_ / 4, q = lane_ % 4;
    pitch_ = x.pitch;
    tile_halves_ = 4 * x.row_halves;
    reads_ = kGroupColumns ? g / 2 < S::kGroups : g / 2 < m_;
    const int token = kGroupColumns ? 0 : min(g / 2, m_ - 1);
    x_ = x.x + token * x.row_halves + unit * kUnit + g % 2 * (kUnit / 2) + q * 8;
    sums_ = x.sums + unit * unit_sums_;
    sums_ += kGroupColumns ? min(q, S::kGroups - 1) * pitch_ : q;
  }
  __device__ void clear() {
#pragma unroll
    for (int tile = 0; tile < kN; ++tile) {
      y_[tile][0] = y_[tile][1] = 0;
    }
#pragma unroll
    for (int32_t(&w)[4] : whole_) w[0] = w[1] = w[2] = w[3] = 0;
  }

  // `count` blocks, one after the other.
  __device__ __forceinline__ void add(const uint8_t* block, int count) {
    const bool one_unit = units_ == 1;
    if constexpr (kN > 1 || !S::kHas16) {
      one_unit ? run<true, Type16::kEither>(block, count)
               : run<kOneUnit, Type16::kEither>(block, count);
    } else if (f16_) {
      one_unit ? run<true, Type16::kF16>(block, count) : run<kOneUnit, Type16::kF16>(block, count);
    } else {
      one_unit ? run<true, Type16::kBF16>(block, count)
               : run<kOneUnit, Type16::kBF16>(block, count);
    }
  }

  // The sums, times `unit`, to out[m, kTileRows].
  __device__ void store(float* out, float unit = 1) {
    const int g = lane_ / 4, q = lane_ % 4;
#pragma unroll
    for (int tile = 0; tile < kN; ++tile) {
      if constexpr (kOfRow) {
        // The digits' sums alone fit in 32 bits.
        int32_t(&w)[4] = whole_[tile * kChains];
        if constexpr (kChains == 2) {
#pragma unroll
          for (int i = 0; i < 4; ++i) w[i] += whole_[1][i];
        }
        y_[tile][0] += fmaf(256, static_cast<float>(w[1]), static_cast<float>(w[0]));
        y_[tile][1] += fmaf(256, static_cast<float>(w[3]), static_cast<float>(w[2]));
      }
      if constexpr (kGroupColumns) {
#pragma unroll
        for (int lanes = 1; lanes < 4; lanes *= 2) {
          y_[tile][0] += __shfl_xor_sync(0xffffffffu, y_[tile][0], lanes);
          y_[tile][1] += __shfl_xor_sync(0xffffffffu, y_[tile][1], lanes);
        }
      }
      const int t = tile * 4 + q;
      if (t >= m_) continue;
      out[t * kTileRows + g] = y_[tile][0] * unit;
      out[t * kTileRows + g + 8] = y_[tile][1] * unit;
    }
  }

 private:
  template <bool kOneUnitNow, Type16 kType>
  __device__ __forceinline__ void run(const uint8_t* block, int count) {
    constexpr int kAtOnce = kN == 1 && kOneUnitNow ? 4 : 1;
    for (; count >= kAtOnce; count -= kAtOnce) {
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i, block += block_bytes_) {
        add_block<kOneUnitNow, kType>(block, i % kChains);
      }
    }
    if constexpr (kAtOnce > 1) {
#pragma unroll 1
      for (; count > 0; --count, block += block_bytes_) add_block<kOneUnitNow, kType>(block, 0);
    }
  }

  // kOneUnitNow: a block is one unit.
  template <bool kOneUnitNow, Type16 kType>
  __device__ __forceinline__ void add_block(const uint8_t* block, int chain) {
    const int g = lane_ / 4, q = lane_ % 4;
    const int units = kOneUnitNow ? 1 : units_;
    const uint8_t* stored = block + units * unit_bytes_;
    int32_t block_acc[kN][4] = {};
    float block_sum[kN] = {};
    int unit = 0;
    do {
      uint32_t w[8];
      W::decode(block, lane_, w);
#pragma unroll
      for (int tile = 0; tile < kN; ++tile) {
        if (kN > 1 && tile * 4 >= m_) break;
        uint4 x = {0, 0, 0, 0};
        if (kN > 1 ? tile * 4 + g / 2 < m_ : reads_) {
          x = *reinterpret_cast<const uint4*>(x_ + tile * tile_halves_);
        }
        uint32_t b[4] = {x.x, x.y, x.z, x.w};
        int32_t group_acc[4] = {0, 0, 0, 0};
        int32_t(&acc)[4] = kOfRow     ? whole_[kOfRow ? tile * kChains + chain : 0]
                           : kOfBlock ? block_acc[tile]
                                      : group_acc;
        if constexpr (kSums && (kOfRow || kOfBlock)) block_sum[tile] += sum_of(tile * 4);
        if constexpr (kGroupColumns) {
#pragma unroll
          for (int j = 0; j < 4; ++j) b[j] &= keep_[j];
        }
        if constexpr (kOfRow || kOfBlock || kGroupColumns) {
          mma_bytes<W::kUnsigned>(acc, {w[0], w[4], w[1], w[5]}, b[0], b[1]);
          mma_bytes<W::kUnsigned>(acc, {w[2], w[6], w[3], w[7]}, b[2], b[3]);
          if constexpr (kGroupColumns) {
            const S scale(a_, stored, g * S::kGroups + min(q, S::kGroups - 1), One());
            add_scaled<kType>(scale, 0, acc, kSums && q < S::kGroups ? sum_of(0) : 0, y_[0]);
          }
        } else {
          const S scales(a_, stored, g);
#pragma unroll
          for (int group = 0; group < S::kGroups; ++group) {
            if constexpr (S::kGroups == 2) {
              const int j = 2 * group;
              mma_bytes<W::kUnsigned>(group_acc, {w[j], w[j + 4], w[j + 1], w[j + 5]}, b[j],
                                      b[j + 1]);
            } else {
              mma_bytes<W::kUnsigned>(group_acc, w[group], w[group + 4], b[group]);
            }
            float sum = 0;
            if (kSums && unit_sums_ != 0) sum = sum_of(group * pitch_ + tile * 4);
            add_scaled<kType>(scales, group, group_acc, sum, y_[tile]);
            group_acc[0] = group_acc[1] = group_acc[2] = group_acc[3] = 0;
          }
        }
      }
      block += unit_bytes_;
      x_ += kUnit;
      if constexpr (kSums) sums_ += unit_sums_;
    } while (!kOneUnitNow && ++unit < units);
    if constexpr (kOfBlock) {
      const S scales(a_, stored, g);
#pragma unroll
      for (int tile = 0; tile < kN; ++tile) {
        if (kN > 1 && tile * 4 >= m_) break;
        add_scaled<kType>(scales, 0, block_acc[tile], block_sum[tile], y_[tile]);
      }
    } else if constexpr (kOfRow && W::kOffset != 0) {
#pragma unroll
      for (int tile = 0; tile < kN; ++tile) {
        y_[tile][0] -= W::kOffset * block_sum[tile];
        y_[tile][1] -= W::kOffset * block_sum[tile];
      }
    }
  }

  // Of x over the group that lies so many numbers further on.
  __device__ float sum_of(int ahead) const { return sums_[ahead]; }

  // y += s (acc + shift S) + offset S, the digits of acc being columns 0 and 1.
  template <Type16 kType>
  __device__ static void add_scaled(const S& scales, int group, const int32_t (&acc)[4], float sum,
                                    float (&y)[2]) {
    float rows[2] = {static_cast<float>(acc[1] * 256 + acc[0]),
                     static_cast<float>(acc[3] * 256 + acc[2])};
    if constexpr (W::kOffset != 0) {
      rows[0] -= W::kOffset * sum;
      rows[1] -= W::kOffset * sum;
    }
    const float of_codes[1] = {sum * (1 / W::kFactor)};
    scales.template apply<1, kType>(group, rows, of_codes, y);
  }

  const TileArgs& a_;
  const int lane_, m_, units_, unit_bytes_, block_bytes_, unit_sums_;
  uint32_t keep_[4];   // of x, where columns are groups
  const uint16_t* x_;  // this lane's column of the next unit, and the sums of its token
  const float* sums_;
  const bool f16_;
  int pitch_, tile_halves_;
  bool reads_;
  float y_[kN][2];
  int32_t whole_[kOfRow ? kN * kChains : 1][4];
};

}  // namespace lowbit::cuda
