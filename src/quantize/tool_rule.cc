#include "quantize/tool_rule.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/check.h"
#include "formats/codec.h"

namespace lowbit {
namespace {

std::vector<uint32_t> kept_of_4(std::span<const float> row, bool later) {
  if (!later) return keep_2_of_4(row);
  const std::vector<float> backward(row.rbegin(), row.rend());
  std::vector<uint32_t> kept = keep_2_of_4(backward);
  std::reverse(kept.begin(), kept.end());
  for (uint32_t& position : kept) position = 3 - position;
  return kept;
}

class Band {  // rows that share scales
 public:
  Band(const QTensor& source, const QTensorBuilder& out, const ToolRule& rule)
      : source_(source),
        out_(out),
        rule_(rule),
        width_(stored_codes(out.tensor.format, source.k)) {}

  // Returns the first row that cannot be stored, or -1.
  int64_t encode(int64_t first, int64_t rows) {
    const int64_t bad = read(first, rows);
    if (bad >= 0) return bad;
    const Format& f = out_.tensor.format;
    codes_.resize(w_.size());
    const int64_t step = f.block.k == 0 ? width_ : stored_codes(f, f.block.k);
    for (int64_t begin = 0; begin < width_; begin += step) {
      if (!encode_block(first, rows, begin, std::min(width_, begin + step))) return first;
    }
    for (int64_t r = 0; r < rows; ++r) {
      pack_codes(f, std::span(codes_).subspan(at(r, 0), static_cast<size_t>(width_)),
                 out_.codes + (first + r) * row_bytes(f, source_.k));
    }
    return -1;
  }

 private:
  size_t at(int64_t row, int64_t column) const {
    return static_cast<size_t>(row * width_ + column);
  }

  int64_t read(int64_t first, int64_t rows) {
    const Format& f = out_.tensor.format;
    const Rounding round = rule_.weights(f);
    std::vector<float> row(static_cast<size_t>(source_.k));
    w_.clear();
    for (int64_t n = first; n < first + rows; ++n) {
      decode_row(source_, n, row.data());
      for (float& value : row) value = round(value);
      if (!all_finite(row)) return n;
      if (f.sparse24) {
        const std::vector<uint32_t> kept = kept_of_4(row, rule_.keep_later);
        store_codes(out_.meta + n * plane_shape(f, Plane::kMeta, source_.n, source_.k).row_bytes, 2,
                    kept);
        for (size_t i = 0; i < kept.size(); ++i) w_.push_back(row[i / 2 * 4 + kept[i]]);
      } else {
        w_.insert(w_.end(), row.begin(), row.end());
      }
    }
    return -1;
  }

  bool encode_block(int64_t first, int64_t rows, int64_t begin, int64_t end) {
    const Format& f = out_.tensor.format;
    block_.clear();
    for (int64_t r = 0; r < rows; ++r) {
      block_.insert(block_.end(), w_.begin() + static_cast<int64_t>(at(r, begin)),
                    w_.begin() + static_cast<int64_t>(at(r, end)));
    }
    block_codes_.resize(block_.size());
    const Grid grid = rule_.encode(f, block_, load_outer(out_, first), block_codes_);
    const int64_t step = f.block.k == 0 ? width_ : stored_codes(f, f.block.k);
    if (!store_grid(out_, first, begin / step, grid)) return false;
    for (int64_t r = 0; r < rows; ++r) {
      std::copy_n(block_codes_.begin() + r * (end - begin), end - begin,
                  codes_.begin() + static_cast<int64_t>(at(r, begin)));
    }
    return true;
  }

  const QTensor& source_;
  const QTensorBuilder& out_;
  const ToolRule& rule_;
  int64_t width_;
  std::vector<float> w_, block_;  // w_ [rows, width_]
  std::vector<uint32_t> codes_, block_codes_;
};

}  // namespace

QTensor quantize_by_rule(const QTensor& source, const Format& target,
                         const QuantizeContext& context, const ToolRule& rule) {
  if (just_converts(source, target)) return quantize_rtn(source, target, context);
  check_takes(target, source.n, source.k, context.tensor);
  LB_CHECK(target.outer == Outer::kNone || target.outer == Outer::kTensor, "{}", name(target));
  const QTensorBuilder out = build_qtensor(target, source.n, source.k);
  if (target.outer == Outer::kTensor) {
    store_outer(out, 0, rule.outer(target, largest_magnitude(source)));
  }
  const int64_t bad = run_tiles(
      source.n, band_rows(target, source.n),
      [&](int64_t first, int64_t rows) { return Band(source, out, rule).encode(first, rows); });
  if (bad >= 0) fail_not_finite(context.tensor, bad, target);
  return out.tensor;
}

std::string not_done(std::string_view quantizer, std::string_view does, const Format& target) {
  return fmt::format("quantizer {} does not do {}: it does {}; `rtn` does every format", quantizer,
                     name(target), does);
}

uint32_t code_of(const Format& format, float value) {
  return encode_code(format, std::isnan(value) ? 0 : value);
}

void encode_times(const Format& format, std::span<const float> w, float factor,
                  std::span<uint32_t> codes) {
  for (size_t i = 0; i < w.size(); ++i) codes[i] = code_of(format, w[i] * factor);
}

void encode_over(const Format& format, std::span<const float> w, float scale,
                 std::span<uint32_t> codes) {
  for (size_t i = 0; i < w.size(); ++i) codes[i] = code_of(format, scale == 0 ? 0 : w[i] / scale);
}

float largest_magnitude_of(std::span<const float> w) {
  float amax = 0;
  for (const float value : w) amax = std::max(amax, std::abs(value));
  return amax;
}

}  // namespace lowbit
