// Round to nearest over all rows: the rule is formats/encode.h.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <vector>

#include "base/check.h"
#include "base/thread_pool.h"
#include "formats/encode.h"
#include "quantize/quantizer.h"

namespace lowbit {
namespace {

// To a format without scales. What is not a number stays that.
QTensor convert(const QTensor& source, const Format& target, const std::string& tensor) {
  const QTensorBuilder out = build_qtensor(target, source.n, source.k);
  const int64_t bad = run_tiles(source.n, 1, [&](int64_t n, int64_t) -> int64_t {
    std::vector<float> row(static_cast<size_t>(source.k)), back(row.size());
    decode_row(source, n, row.data());
    encode_plain(target.id, row.data(), source.k, out.codes + n * row_bytes(target, source.k));
    decode_row(out.tensor, n, back.data());
    for (size_t i = 0; i < row.size(); ++i) {
      if (std::isfinite(row[i]) && !std::isfinite(back[i])) return n;
    }
    return -1;
  });
  if (bad >= 0) {
    throw_error("tensor {}: row {} holds a number beyond the largest of {}, {:.6g}", tensor, bad,
                name(target), code_range(target).max);
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
    store_outer(out, 0, choose_outer(target, largest_magnitude(source)));
  }
  const auto encode = [&](int64_t first, int64_t rows) {
    std::vector<float> values(static_cast<size_t>(rows * source.k));
    for (int64_t r = 0; r < rows; ++r) decode_row(source, first + r, &values[r * source.k]);
    return encode_rows(values, first, rows, out, options);
  };
  const int64_t bad = run_tiles(source.n, band_rows(target, source.n), encode);
  if (bad >= 0) fail_not_finite(tensor, bad, target);
  return out.tensor;
}

QTensor quantize_rtn(const QTensor& source, const Format& target, const QuantizeContext& context) {
  if (source.format == target) return source;
  if (!target.quantized()) return convert(source, target, context.tensor);
  if (target.rule == ScaleRule::kLevels) return quantize_levels(source, target, context.tensor);
  return quantize_blocks(source, target, context.tensor, {});
}

}  // namespace lowbit
