// Linear without any ISA flags: every format in its canonical layout, a decoded row at a time.
#include <vector>

#include "base/check.h"
#include "cpu/bodies.h"
#include "ops/view.h"

namespace lowbit::cpu {
namespace {

constexpr int kLanes = 16;  // independent sums, so that the compiler may use the baseline's SIMD

// Decodes rows of one matrix. Codes of up to 8 bits go through a table of what they stand for.
class RowDecoder {
 public:
  RowDecoder(const WeightView& w, int32_t k) : w_(w), format_(format_of(w)), k_(k) {
    if (!tabled()) return;
    table_.resize(size_t{1} << w.bits);
    for (uint32_t code = 0; code < table_.size(); ++code) {
      table_[code] = decode_code(format_, code);
    }
  }

  void decode(int64_t n, float* out) const {
    if (!tabled()) return decode_row(w_, n, k_, out);
    const auto* codes = static_cast<const uint8_t*>(w_.codes) + n * w_.row_bytes;
    const int32_t step = w_.block_k == 0 ? k_ : w_.block_k;
    const int64_t first = (w_.block_n == 0 ? 0 : n / w_.block_n) * w_.k_blocks;
    for (int32_t k = 0; k < k_; k += step) {
      decode_block(codes, block(first + k / step), k, std::min(k_, k + step), out);
    }
  }

 private:
  bool tabled() const { return format_.quantized() && (w_.bits == 8 || w_.bits == 4); }

  BlockParams block(int64_t index) const {
    const auto* scales = static_cast<const std::byte*>(w_.scales);
    const auto* zeros = static_cast<const std::byte*>(w_.zeros);
    BlockParams params{.scale = load_scale(w_.scale, scales, index)};
    if (w_.zero == Zero::kInt) params.shift = static_cast<double>(zeros[index]);
    if (w_.zero == Zero::kFloat) {
      params.shift = 1 << (w_.bits - 1);
      params.offset = load_scale(w_.scale, zeros, index);
    }
    return params;
  }

  void decode_block(const uint8_t* codes, const BlockParams& p, int32_t begin, int32_t end,
                    float* out) const {
    for (int32_t i = begin; i < end; ++i) {
      const uint32_t q = w_.bits == 8 ? codes[i] : (codes[i / 2] >> (i % 2 * 4)) & 15u;
      out[i] = static_cast<float>((table_[q] - p.shift) * p.scale + p.offset);
    }
  }

  const WeightView& w_;
  const Format format_;
  const int32_t k_;
  std::vector<double> table_;
};

float dot(const float* x, const float* w, int32_t k) {
  float lanes[kLanes] = {};
  int32_t i = 0;
  for (; i + kLanes <= k; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += x[i + lane] * w[i + lane];
  }
  for (int lane = 0; i < k; ++i, ++lane) lanes[lane] += x[i] * w[i];
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
  }
  return lanes[0];
}

}  // namespace

void linear_any_baseline(const LinearArgs& a, int32_t n0, int32_t n1) {
  const RowDecoder decoder(a.w, a.k);
  std::vector<float> w(static_cast<size_t>(a.k));
  const auto* x = static_cast<const float*>(a.x.data);
  for (int32_t n = n0; n < n1; ++n) {
    decoder.decode(n, w.data());
    for (int32_t t = 0; t < a.m; ++t) {
      const float value = dot(x + t * a.x.ld, w.data(), a.k) + (a.bias ? a.bias[n] : 0.0f);
      float& y = a.y[t * a.ldy + n];
      y = a.epilogue == Epilogue::kAdd ? y + value : value;
    }
  }
}

}  // namespace lowbit::cpu
