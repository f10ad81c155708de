// Round to nearest over all rows: the rule is formats/encode.h.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/thread_pool.h"
#include "formats/encode.h"
#include "quantize/quantizer.h"

namespace lowbit {
namespace {

void keep_smallest(std::atomic<int64_t>* smallest, int64_t value) {
  for (int64_t seen = *smallest; value < seen;) {
    if (smallest->compare_exchange_weak(seen, value)) return;
  }
}

// To a format without scales. What is not a number stays that.
QTensor convert(const QTensor& source, const Format& target, const std::string& tensor) {
  const QTensorBuilder out = build_qtensor(target, source.n, source.k);
  std::atomic<int64_t> bad_row{source.n};  // the smallest, whichever thread finds it
  thread_pool().for_ranges(source.n, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> row(static_cast<size_t>(source.k)), back(row.size());
    for (int64_t n = begin; n < end; ++n) {
      decode_row(source, n, row.data());
      encode_plain(target.id, row.data(), source.k, out.codes + n * row_bytes(target, source.k));
      decode_row(out.tensor, n, back.data());
      for (size_t i = 0; i < row.size(); ++i) {
        if (std::isfinite(row[i]) && !std::isfinite(back[i])) keep_smallest(&bad_row, n);
      }
    }
  });
  if (bad_row < source.n) {
    throw_error("tensor {}: row {} holds a number beyond the largest of {}, {:.6g}", tensor,
                bad_row.load(), name(target), code_range(target).max);
  }
  return out.tensor;
}

}  // namespace

float largest_magnitude(const QTensor& source) {
  std::atomic<float> largest{0};
  thread_pool().for_ranges(source.n, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> row(static_cast<size_t>(source.k));
    float amax = 0;
    for (int64_t n = begin; n < end; ++n) {
      decode_row(source, n, row.data());
      for (const float w : row) {
        if (std::isfinite(w)) amax = std::max(amax, std::abs(w));
      }
    }
    for (float seen = largest; amax > seen && !largest.compare_exchange_weak(seen, amax);) {
    }
  });
  return largest;
}

void check_takes(const Format& target, int64_t n, int64_t k, const std::string& tensor) {
  if (const std::string reason = cannot_take(target, n, k); !reason.empty()) {
    throw_error("tensor {} [{}, {}] cannot be {}: {}", tensor, n, k, name(target), reason);
  }
}

void fail_not_finite(const std::string& tensor, int64_t row, const Format& target) {
  throw_error(
      "tensor {}: row {} holds a NaN, an infinity or a weight beyond the scales of {}; "
      "check the file",
      tensor, row, name(target));
}

QTensor quantize_blocks(const QTensor& source, const Format& target, const std::string& tensor,
                        const RowOptions& options) {
  check_takes(target, source.n, source.k, tensor);
  check_does(tensor, levels_refuse(target));
  const QTensorBuilder out = build_qtensor(target, source.n, source.k);
  if (target.outer == Outer::kTensor) {
    const float outer = choose_outer(target, largest_magnitude(source));
    std::memcpy(out.outer, &outer, sizeof outer);
  }
  const int64_t band = band_rows(target, source.n);
  std::atomic<int64_t> bad_row{source.n};
  thread_pool().for_ranges(source.n, band, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; n += band) {
      const int64_t rows = std::min(band, source.n - n);
      std::vector<float> values(static_cast<size_t>(rows * source.k));
      for (int64_t r = 0; r < rows; ++r) decode_row(source, n + r, &values[r * source.k]);
      const int64_t bad = encode_rows(values, n, rows, out, options);
      if (bad >= 0) keep_smallest(&bad_row, bad);
    }
  });
  if (bad_row < source.n) fail_not_finite(tensor, bad_row, target);
  return out.tensor;
}

QTensor quantize_rtn(const QTensor& source, const Format& target, const QuantizeContext& context) {
  if (source.format == target) return source;
  if (!target.quantized()) return convert(source, target, context.tensor);
  if (target.rule == ScaleRule::kLevels) return quantize_levels(source, target, context.tensor);
  return quantize_blocks(source, target, context.tensor, {});
}

}  // namespace lowbit
