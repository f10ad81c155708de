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

// One scale over all rows. Its range is found and codes are chosen row by row, on all threads,
// where encode_rows() would take the tensor as one block; only what a mean adds up is added in
// order.
class WholeTensor {
 public:
  WholeTensor(const QTensor& source, const QTensorBuilder& out)
      : source_(source), out_(out), format_(out.tensor.format) {}
  static bool takes(const Format& f, const RowOptions& options) {
    return f.block.n == 0 && f.block.k == 0 && !f.sparse24 && f.outer == Outer::kNone &&
           !options.choose;
  }
  // The first row that is not finite, or -1.
  int64_t encode() {
    if (const int64_t bad = find_range(); bad >= 0) return bad;
    if (!store_grid(out_, 0, 0, lowbit::choose_grid(format_, stats_, 1))) return 0;
    return run_tiles(source_.n, 1, [&](int64_t row, int64_t) { return store_row(row); });
  }

 private:
  static constexpr int64_t kBatch = int64_t{1} << 22;  // numbers

  int64_t find_range() {
    const int64_t k = source_.k, rows = std::max<int64_t>(1, kBatch / std::max<int64_t>(k, 1));
    std::vector<float> values(static_cast<size_t>(std::min(rows, source_.n) * k));
    MeanStats mean;
    stats_ = {INFINITY, -INFINITY};
    for (int64_t begin = 0; begin < source_.n; begin += rows) {
      const int64_t count = std::min(rows, source_.n - begin);
      std::vector<BlockStats> ranges(static_cast<size_t>(count));
      const int64_t bad = run_tiles(count, 1, [&](int64_t r, int64_t) -> int64_t {
        float* row = &values[static_cast<size_t>(r * k)];
        decode_row(source_, begin + r, row);
        const auto [lo, hi] = std::minmax_element(row, row + k);
        ranges[static_cast<size_t>(r)] = {*lo + 0.0f, *hi + 0.0f};
        return std::all_of(row, row + k, [](float v) { return std::isfinite(v); }) ? -1 : r;
      });
      if (bad >= 0) return begin + bad;
      for (const BlockStats& range : ranges) {
        stats_.lo = std::min(stats_.lo, range.lo);
        stats_.hi = std::max(stats_.hi, range.hi);
      }
      if (format_.rule != ScaleRule::kMean) continue;
      for (int64_t i = 0; i < count * k; ++i) mean.add(values[static_cast<size_t>(i)]);
    }
    if (format_.rule == ScaleRule::kMean) {
      stats_.mean = mean.mean();
      stats_.only = mean.only();
    }
    return -1;
  }

  int64_t store_row(int64_t row) {
    const BlockParams stored = load_block(out_.tensor, row, 0);
    std::vector<float> values(static_cast<size_t>(source_.k));
    std::vector<uint32_t> codes(values.size());
    decode_row(source_, row, values.data());
    for (size_t i = 0; i < codes.size(); ++i) codes[i] = nearest_code(format_, stored, values[i]);
    pack_codes(format_, codes, out_.codes + row * row_bytes(format_, source_.k));
    return decodes_to_finite(format_, stored, codes) ? -1 : row;
  }

  const QTensor& source_;
  const QTensorBuilder& out_;
  const Format format_;
  BlockStats stats_ = {};
};

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
  if (WholeTensor::takes(target, options)) {
    const int64_t bad = WholeTensor(source, out).encode();
    if (bad >= 0) fail_not_finite(tensor, bad, target);
    return out.tensor;
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
