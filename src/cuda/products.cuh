// What a warp makes of its part of a tile: sums over blocks of codes times x. Two ways, by how x is
// staged (W::kX): floats on f16 or bf16 tensor cores here, fixed point on integer ones in
// products_fixed.cuh. Lane 4g + q has rows g and g + 8.
#pragma once

#include "cuda/decode.cuh"
#include "cuda/scales.cuh"

namespace lowbit::cuda {

template <class W, class S, int kN, XTerms kX = W::kX>
class Products;

// Tokens 8 i + 2 q and the next one of every tensor-core tile i.
template <class W, class S, int kN>
class FloatProducts {
  static constexpr bool kOfBlock = S::kGroups == 1;  // one scale for all of it
  static constexpr bool kOneUnit = kOneUnitBlocks<S>;

 public:
  // At the first unit of the warp's part.
  __device__ FloatProducts(const TileArgs& a, const StagedX& x, int unit)
      : a_(a),
        lane_(threadIdx.x % 32),
        m_(a.linear.m),
        units_(kOneUnit ? 1 : a.shape.units),
        unit_bytes_(held(a.shape.unit_bytes)),
        block_bytes_(held(a.shape.block_bytes)),
        unit_sums_(a.sums_per_unit * x.pitch) {
    move(x, unit);
  }
  __device__ void move(const StagedX& x, int unit) {
    pitch_ = x.pitch, row_halves_ = x.row_halves;
    x_ = x.x + unit * kUnit + lane_ % 4 * 16;
    sums_ = x.sums + unit * unit_sums_ + lane_ % 4 * 2;
  }
  __device__ void clear() {
#pragma unroll
    for (int tile = 0; tile < kN; ++tile) y_[tile][0] = y_[tile][1] = y_[tile][2] = y_[tile][3] = 0;
  }

  // `count` blocks, one after the other.
  __device__ __forceinline__ void add(const uint8_t* block, int count) {
    do {
      add_block(block);
      block += block_bytes_;
    } while (--count > 0);
  }

  // The sums, times `unit`, to out[m, kTileRows].
  __device__ void store(float* out, float unit = 1) const {
    const int g = lane_ / 4, q = lane_ % 4;
#pragma unroll
    for (int tile = 0; tile < kN; ++tile) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int t = tile * 8 + 2 * q + e;
        if (t >= m_) continue;
        out[t * kTileRows + g] = y_[tile][e] * unit;
        out[t * kTileRows + g + 8] = y_[tile][2 + e] * unit;
      }
    }
  }

 private:
  __device__ __forceinline__ void add_block(const uint8_t* block) {
    const int g = lane_ / 4, m = m_;
    const int units = kOneUnit ? 1 : units_;
    const S scales(a_, block + units * unit_bytes_, g);
    float block_acc[kN][4] = {};
    float block_sums[kN][2] = {};
    int unit = 0;
    do {
      uint32_t lo[8], hi[8];
      W::decode(block, lane_, lo, hi);
#pragma unroll
      for (int tile = 0; tile < kN; ++tile) {
        if (kN > 1 && tile * 8 >= m) break;
        // Columns of tokens that do not exist repeat the last one; nobody reads what they become.
        const uint16_t* row = x_ + min(tile * 8 + g, m - 1) * row_halves_;
        float quarter_acc[4] = {0, 0, 0, 0};
        float(&acc)[4] = S::kGroups == 0 ? y_[tile] : kOfBlock ? block_acc[tile] : quarter_acc;
        if constexpr (S::kZeros && kOfBlock) {
          const float2 sum = *reinterpret_cast<const float2*>(sums_ + tile * 8);
          block_sums[tile][0] += sum.x, block_sums[tile][1] += sum.y;
        }
        constexpr bool kBf16 = W::kX == XTerms::kTwoBf16;
#pragma unroll
        for (int term = 0; term < rows_of_token(W::kX); ++term, row += m * row_halves_) {
          const uint4 b0 = reinterpret_cast<const uint4*>(row)[0];
          const uint4 b1 = reinterpret_cast<const uint4*>(row)[1];
          const uint32_t b[8] = {b0.x, b0.y, b0.z, b0.w, b1.x, b1.y, b1.z, b1.w};
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            const uint32_t fragment[4] = {lo[2 * j], hi[2 * j], lo[2 * j + 1], hi[2 * j + 1]};
            if constexpr (kBf16) {
              mma_bf16(acc, fragment, b[2 * j], b[2 * j + 1]);
            } else {
              mma_f16(acc, fragment, b[2 * j], b[2 * j + 1]);
            }
            if constexpr (S::kGroups > 1) {
              constexpr int kSteps = 4 / S::kGroups;  // to a group
              if ((j + 1) % kSteps != 0) continue;
              const int group = j / kSteps;
              float sum[2] = {0, 0};
              if (S::kZeros && unit_sums_ != 0) {
                const float* two = sums_ + group * pitch_ + tile * 8;
                sum[0] = two[0], sum[1] = two[1];
              }
              scales.template apply<2>(group, acc, sum, y_[tile]);
              acc[0] = acc[1] = acc[2] = acc[3] = 0;
            }
          }
        }
      }
      block += unit_bytes_;
      x_ += kUnit;
      if constexpr (S::kZeros) sums_ += unit_sums_;
    } while (!kOneUnit && ++unit < units);
    if constexpr (kOfBlock) {
#pragma unroll
      for (int tile = 0; tile < kN; ++tile) {
        if (kN > 1 && tile * 8 >= m) break;
        scales.template apply<2>(0, block_acc[tile], block_sums[tile], y_[tile]);
      }
    }
  }

  const TileArgs& a_;
  const int lane_, m_, units_, unit_bytes_, block_bytes_, unit_sums_;
  int pitch_, row_halves_;
  const uint16_t* x_;  // of token 0 at this lane's columns of the next unit, and its sums
  const float* sums_;
  float y_[kN][4];
};

template <class W, class S, int kN>
class Products<W, S, kN, XTerms::kF16> : public FloatProducts<W, S, kN> {
  using FloatProducts<W, S, kN>::FloatProducts;
};
template <class W, class S, int kN>
class Products<W, S, kN, XTerms::kTwoBf16> : public FloatProducts<W, S, kN> {
  using FloatProducts<W, S, kN>::FloatProducts;
};

}  // namespace lowbit::cuda
