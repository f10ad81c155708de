// Round to nearest in formats whose scales have several levels (ScaleRule::kLevels): all scales of
// a row, or of 256 weights of it, are chosen before any code is.
//
// GGUF's K-quants: a block's scale (and minimum) by min-max with 0 in the range or, without
// minima, by the weight of largest magnitude; then the f16 above 256 weights so that the largest
// of these scales is the last of its codes, the scales nearest to theirs, and the codes nearest on
// that grid. llama.cpp searches scales of less squared error instead.
//
// QQQ (github.com/HandH1998/QQQ) as torchao 0.9.0 computes it, in f16: compared bit by bit with the
// package in tests/formats/golden_test.cc.
#include <algorithm>
#include <cmath>
#include <vector>

#include "base/check.h"
#include "formats/codec.h"
#include "formats/grid.h"
#include "quantize/tool_rule.h"

namespace lowbit {
namespace {

// One row of weights and where its planes are. encode() is false for weights beyond the scales.
class LevelsRow {
 public:
  LevelsRow(const QTensorBuilder& out, int64_t row)
      : f_(out.tensor.format), planes_(view_of(out.tensor)), out_(out), row_(row) {
    codes_.resize(static_cast<size_t>(planes_.k));
  }

  bool encode(std::span<const float> w) {
    if (f_.outer == Outer::kSuper) {
      for (size_t at = 0; at < w.size(); at += kSuperBlock) {
        if (!encode_super(w.subspan(at, kSuperBlock), static_cast<int64_t>(at))) return false;
      }
    } else if (!encode_qqq(w)) {
      return false;
    }
    pack_codes(f_, codes_, out_.codes + row_ * planes_.row_bytes);
    return true;
  }

 private:
  // ---- K-quants ---------------------------------------------------------------------------------

  struct Level {
    float scale, minimum;  // the number below 0 that code 0 stands for is -minimum
  };
  Level level(std::span<const float> w) const {
    const auto [lo, hi] = std::minmax_element(w.begin(), w.end());
    const CodeRange codes = code_range(f_);
    if (f_.zero == Zero::kOffset) {
      const float low = std::min(*lo, 0.0f), top = static_cast<float>(codes.max);
      return {*hi / top - low / top, -low};  // hi - low could overflow
    }
    const float extreme = std::abs(*lo) >= std::abs(*hi) ? *lo : *hi;
    return {extreme / static_cast<float>(codes.min), 0};
  }

  // The last code of a block's scale, on the side that reaches further.
  float last_scale() const {
    switch (f_.scale) {
      case Scale::kU4:
        return 15;
      case Scale::kU6:
        return 63;
      case Scale::kI6:
        return -32;
      default:
        return -128;
    }
  }

  // Writes f16 number `index` of the row's outer plane; returns what is stored.
  float store_outer(int64_t index, float value) {
    std::byte* at = out_.outer + row_ * (planes_.k / kSuperBlock) * f_.outer_bits() / 8;
    store_scale(Scale::kF16, at, index, value);
    return static_cast<float>(load_scale(Scale::kF16, at, index));
  }

  bool encode_super(std::span<const float> w, int64_t at) {
    const auto step = static_cast<size_t>(f_.block.k);
    std::vector<Level> levels;
    float scale = 0, minimum = 0;  // of largest magnitude
    for (size_t i = 0; i < w.size(); i += step) {
      levels.push_back(level(w.subspan(i, step)));
      if (std::abs(levels.back().scale) > std::abs(scale)) scale = levels.back().scale;
      minimum = std::max(minimum, levels.back().minimum);
    }
    const bool minima = f_.zero == Zero::kOffset;
    const int64_t super = at / kSuperBlock;
    const float outer = store_outer(minima ? 2 * super : super, scale / last_scale());
    const float outer_minimum = minima ? store_outer(2 * super + 1, minimum / last_scale()) : 0;
    if (!std::isfinite(outer) || !std::isfinite(outer_minimum)) return false;
    const auto over = [](float value, float unit) { return unit == 0 ? 0 : value / unit; };
    int64_t block = at / f_.block.k;
    for (size_t i = 0; i < w.size(); i += step, ++block) {
      const Level& own = levels[i / step];
      store_scale(f_.scale, out_.scales + planes_.scales_at(row_), block, over(own.scale, outer));
      if (minima) {
        store_scale(f_.scale, out_.zeros + planes_.zeros_at(row_), block,
                    over(own.minimum, outer_minimum));
      }
      const BlockParams stored = load_block(planes_, row_, block);
      for (size_t j = i; j < i + step; ++j) {
        codes_[static_cast<size_t>(at) + j] = nearest_code(f_, stored, w[j]);
      }
    }
    return true;
  }

  // ---- QQQ --------------------------------------------------------------------------------------

  void store_qqq(int64_t block, float scale) {
    store_scale(f_.scale, out_.scales + planes_.scales_at(row_), block, scale);
  }

  bool encode_qqq(std::span<const float> weights) {
    std::vector<float> w(weights.size());
    std::transform(weights.begin(), weights.end(), w.begin(), as_f16);
    if (!all_finite(w)) return false;
    const int32_t group = f_.block.k;
    const bool by_row = group == 0 || group >= planes_.k;
    const float unit = by_row ? row_codes(w) : group_codes(w);
    store_scale(Scale::kF32, out_.outer, row_, unit);
    return true;
  }

  // Fills codes with those of `w` / scale, of up to `lowest`.
  void divide(std::span<const float> w, size_t at, float scale, float lowest) {
    for (size_t i = 0; i < w.size(); ++i) {
      const float q = std::nearbyint(as_f16(w[i] / scale));
      codes_[at + i] = code_of(f_, std::max(q, lowest));
    }
  }

  // Codes times 16 are the integers: its kernel has them in the upper halves of bytes.
  float row_codes(std::span<const float> w) {
    const float scale = as_f16(largest_magnitude_of(w) / 7);
    divide(w, 0, scale, -7);
    for (int64_t block = 0; block < planes_.k_blocks; ++block) store_qqq(block, 16);
    return as_f16(scale / 16);
  }

  float group_codes(std::span<const float> w) {
    const auto group = static_cast<size_t>(f_.block.k);
    std::vector<float> scales;
    float amax = 0;  // of the numbers that the codes stand for
    for (size_t at = 0; at < w.size(); at += group) {
      const std::span<const float> part = w.subspan(at, std::min(group, w.size() - at));
      const float scale = as_f16(largest_magnitude_of(part) * static_cast<float>(2.0 / 15));
      divide(part, at, scale, -8);
      for (size_t i = at; i < at + part.size(); ++i) {
        const auto q = static_cast<float>(decode_code(f_, codes_[i]));
        amax = std::max(amax, std::abs(as_f16(q * scale)));
      }
      scales.push_back(scale);
    }
    const float unit = as_f16(amax / 127);
    for (size_t i = 0; i < scales.size(); ++i) {
      store_qqq(static_cast<int64_t>(i), unit == 0 ? 0 : scales[i] / unit);
    }
    return unit;
  }

  const Format f_;
  const PlanesView planes_;
  const QTensorBuilder& out_;
  const int64_t row_;
  std::vector<uint32_t> codes_;
};

}  // namespace

std::string levels_refuse(const Format& target) {
  if (target.rule != ScaleRule::kLevels) return "";
  return fmt::format("the {} of {} are chosen together for a {}, which only rtn does",
                     target.has_table() ? "numbers" : "scales", name(target),
                     target.has_table() ? "tensor" : "row");
}

QTensor quantize_levels(const QTensor& source, const Format& target, const std::string& tensor) {
  check_takes(target, source.n, source.k, tensor);
  if (target.has_table()) return quantize_codebook(source, target, tensor);
  const QTensorBuilder out = build_qtensor(target, source.n, source.k);
  const int64_t bad = run_tiles(source.n, 1, [&](int64_t n, int64_t) {
    std::vector<float> row(static_cast<size_t>(source.k));
    decode_row(source, n, row.data());
    return all_finite(row) && LevelsRow(out, n).encode(row) ? -1 : n;
  });
  if (bad >= 0) fail_not_finite(tensor, bad, target);
  return out.tensor;
}

}  // namespace lowbit
