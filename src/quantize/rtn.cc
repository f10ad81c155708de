// Round to nearest. Rules: formats/ids.h (ScaleRule); arithmetic in f32, then the scale is rounded
// to its storage type and the codes are chosen on the stored grid.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <vector>

#include "base/check.h"
#include "base/thread_pool.h"
#include "formats/codec.h"
#include "quantize/quantizer.h"

namespace lowbit {
namespace {

// Scale and float zero of a block before rounding to their storage types.
struct Grid {
  float scale, zero;
};

Grid choose_grid(const Format& format, std::span<const float> w) {
  const auto [lo, hi] = std::minmax_element(w.begin(), w.end());
  const float amax = std::max(std::abs(*lo), std::abs(*hi));
  const CodeRange range = code_range(format);
  const auto q_min = static_cast<float>(range.min), q_max = static_cast<float>(range.max);
  switch (format.rule) {
    case ScaleRule::kNone:
      break;
    case ScaleRule::kAmaxOverMax:
      return {amax / q_max, 0};
    case ScaleRule::kAmaxOverMin:
      return {amax / -q_min, 0};
    case ScaleRule::kExtreme:
      return {(std::abs(*lo) >= std::abs(*hi) ? *lo : *hi) / q_min, 0};
    case ScaleRule::kMinMax: {
      if (format.zero == Zero::kInt) {  // zero must be on the grid
        const float low = std::min(*lo, 0.0f), high = std::max(*hi, 0.0f);
        const float scale = high / q_max - low / q_max;
        return {scale, scale > 0 ? std::clamp(std::nearbyint(-low / scale), 0.0f, q_max) : 0};
      }
      const float scale = *hi / q_max - *lo / q_max;  // hi - lo could overflow
      return {scale, *lo + scale * ((q_max + 1) / 2)};
    }
  }
  LB_CHECK(false, "{} has no scale rule", name(format));
  __builtin_unreachable();
}

// The rows that share scales: `rows` rows from `first`, decoded.
struct Band {
  int64_t first, rows, k;
  std::vector<float> values;  // [rows, k]
};

Band decode_band(const QTensor& source, int64_t first, int64_t rows) {
  Band band{first, rows, source.k, std::vector<float>(static_cast<size_t>(rows * source.k))};
  for (int64_t r = 0; r < rows; ++r) decode_row(source, first + r, &band.values[r * source.k]);
  return band;
}

// Writes scale, zero and codes of the columns [k0, k1) of a band; codes go to `codes` [rows, k].
// False if the scale or the zero is too large for its storage type.
bool quantize_block(const Band& band, int64_t k0, int64_t k1, const QTensorBuilder& out,
                    std::vector<uint32_t>* codes) {
  const Format& f = out.tensor.format;
  std::vector<float> w;
  for (int64_t r = 0; r < band.rows; ++r) {
    const float* row = &band.values[r * band.k];
    w.insert(w.end(), row + k0, row + k1);
  }
  const Grid grid = choose_grid(f, w);
  const int64_t block_k = f.block.k == 0 ? 0 : k0 / f.block.k;
  const int64_t block_n = f.block.n == 0 ? 0 : band.first / f.block.n;
  const int64_t block = block_n * blocks_along_k(f, band.k) + block_k;
  store_scale(f.scale, out.scales, block, grid.scale);
  if (f.zero == Zero::kInt) out.zeros[block] = static_cast<std::byte>(grid.zero);
  if (f.zero == Zero::kFloat) store_scale(f.scale, out.zeros, block, grid.zero);

  // A block whose stored scale is 0 decodes to its offset whatever the code: take the shift.
  const BlockParams stored = load_block(out.tensor, band.first, block_k);
  if (!std::isfinite(stored.scale) || !std::isfinite(stored.offset)) return false;
  const double inverse = stored.scale == 0 ? 0 : 1 / stored.scale;
  for (int64_t r = 0, i = 0; r < band.rows; ++r) {
    for (int64_t k = k0; k < k1; ++k, ++i) {
      (*codes)[r * band.k + k] = encode_code(f, (w[i] - stored.offset) * inverse + stored.shift);
    }
  }
  return true;
}

// The first row of the band that cannot be quantized, or -1.
int64_t quantize_band(const Band& band, const QTensorBuilder& out) {
  const auto bad = std::find_if_not(band.values.begin(), band.values.end(),
                                    [](float v) { return std::isfinite(v); });
  if (bad != band.values.end()) return band.first + (bad - band.values.begin()) / band.k;
  const Format& f = out.tensor.format;
  const int64_t step = f.block.k == 0 ? band.k : f.block.k;
  std::vector<uint32_t> codes(band.values.size());
  for (int64_t k = 0; k < band.k; k += step) {
    if (!quantize_block(band, k, std::min(band.k, k + step), out, &codes)) return band.first;
  }
  for (int64_t r = 0; r < band.rows; ++r) {
    store_codes(
        out.codes + (band.first + r) * row_bytes(f, band.k), f.bits,
        std::span(codes).subspan(static_cast<size_t>(r * band.k), static_cast<size_t>(band.k)));
  }
  return -1;
}

QTensor convert(const QTensor& source, const Format& target) {
  if (source.format == target) return source;
  const QTensorBuilder out = build_qtensor(target, source.n, source.k);
  thread_pool().for_ranges(source.n, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> row(static_cast<size_t>(source.k));
    for (int64_t n = begin; n < end; ++n) {
      decode_row(source, n, row.data());
      encode_plain(target.id, row.data(), source.k, out.codes + n * row_bytes(target, source.k));
    }
  });
  return out.tensor;
}

}  // namespace

QTensor quantize_rtn(const QTensor& source, const Format& target, const std::string& tensor) {
  if (!target.quantized()) return convert(source, target);
  if (source.format == target) return source;
  const QTensorBuilder out = build_qtensor(target, source.n, source.k);
  const int64_t band_rows = target.block.n == 0 ? source.n : target.block.n;
  std::atomic<int64_t> bad_row{source.n};  // the smallest, whichever thread finds it
  thread_pool().for_ranges(source.n, band_rows, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; n += band_rows) {
      const Band band = decode_band(source, n, std::min(band_rows, source.n - n));
      const int64_t bad = quantize_band(band, out);
      for (int64_t seen = bad_row; bad >= 0 && bad < seen;) {
        if (bad_row.compare_exchange_weak(seen, bad)) break;
      }
    }
  });
  if (bad_row < source.n) {
    throw_error(
        "tensor {}: row {} holds a NaN, an infinity or a weight beyond the scales of {}; "
        "check the file",
        tensor, bad_row.load(), name(target));
  }
  return out.tensor;
}

}  // namespace lowbit
