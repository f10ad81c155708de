#include "formats/encode.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"

namespace lowbit {
namespace {

struct Range {
  float lo, hi;
  float amax() const { return std::max(std::abs(lo), std::abs(hi)); }
};

Range range_of(std::span<const float> w) {
  const auto [lo, hi] = std::minmax_element(w.begin(), w.end());
  return {*lo + 0.0f, *hi + 0.0f};  // no zero is negative: scales do not depend on the order
}

Grid min_max_grid(const Format& format, Range r) {
  const auto q_max = static_cast<float>(code_range(format).max);
  if (format.zero == Zero::kInt) {  // zero must be on the grid
    const float lo = std::min(r.lo, 0.0f), hi = std::max(r.hi, 0.0f);
    const float scale = hi / q_max - lo / q_max;
    return {scale, scale > 0 ? std::clamp(std::nearbyint(-lo / scale), 0.0f, q_max) : 0};
  }
  const float scale = r.hi / q_max - r.lo / q_max;  // hi - lo could overflow
  if (format.zero == Zero::kOffset) return {scale, r.lo};
  if (format.zero == Zero::kFloat) {  // fma: the product is exact, but may be beyond f32
    return {scale, std::fma(scale, (q_max + 1) / 2, r.lo)};
  }
  if (scale > 0) return {scale, -r.lo / scale};
  return {std::abs(r.lo), r.lo == 0 ? 0 : std::copysign(1.0f, -r.lo)};  // one number: code 0
}

// floor(log2(x)) of a positive finite x, and what is left of it in [1, 2).
struct Binade {
  int exponent;
  double mantissa;
};
Binade binade(float x) {
  int exponent = 0;
  const double half = std::frexp(double{x}, &exponent);
  return {exponent - 1, 2 * half};
}

// Powers of two, exactly: no logarithm is rounded.
Grid power_grid(const Format& format, float amax) {
  constexpr int kLowest = -127, kHighest = 127;
  if (amax == 0) return {static_cast<float>(power_of_two(kLowest)), 0};
  const MiniFloat f = mini_float(format.code);
  const Binade largest = binade(static_cast<float>(code_range(format).max)), at = binade(amax);
  int exponent = at.exponent - largest.exponent;
  if (format.rule == ScaleRule::kCeil) exponent += at.mantissa > 1;
  if (format.rule == ScaleRule::kRceil) exponent += at.mantissa > largest.mantissa;
  if (format.rule == ScaleRule::kEven) {
    exponent += at.mantissa + power_of_two(-f.mantissa_bits - 1) >= 2;
  }
  return {static_cast<float>(power_of_two(std::clamp(exponent, kLowest, kHighest))), 0};
}

double mean_magnitude(std::span<const float> w) {
  double sum = 0;
  for (const float value : w) sum += std::abs(double{value});
  return sum / static_cast<double>(w.size());
}

// The one magnitude of numbers that are all 0 or +-m; 0 if there are several, or only zeros.
float only_magnitude(std::span<const float> w) {
  float m = 0;
  for (const float value : w) {
    if (value == 0) continue;
    if (m != 0 && std::abs(value) != m) return 0;
    m = std::abs(value);
  }
  return m;
}

constexpr float kMinE4M3Scale = 0x1p-6f, kMaxE4M3Scale = 448;

}  // namespace

Grid choose_grid(const Format& format, std::span<const float> w, float outer) {
  const Range r = range_of(w);
  const CodeRange range = code_range(format);
  const auto q_min = static_cast<float>(range.min), q_max = static_cast<float>(range.max);
  switch (format.rule) {
    case ScaleRule::kAmaxOverMax:
      return {r.amax() / q_max, 0};
    case ScaleRule::kAmaxOverMin:
      return {r.amax() / -q_min, 0};
    case ScaleRule::kExtreme:
      return {(std::abs(r.lo) >= std::abs(r.hi) ? r.lo : r.hi) / q_min, 0};
    case ScaleRule::kMinMax:
      return min_max_grid(format, r);
    case ScaleRule::kMean:
      // Weights that are ternary already stay as they are: the zeros would pull the mean down.
      if (const float m = format.code == Code::kSign ? 0 : only_magnitude(w); m > 0) return {m, 0};
      return {static_cast<float>(mean_magnitude(w)), 0};
    case ScaleRule::kFloor:
    case ScaleRule::kCeil:
    case ScaleRule::kEven:
    case ScaleRule::kRceil:
      return power_grid(format, r.amax());
    case ScaleRule::kTwoLevel: {
      const float scale = outer == 0 ? 0 : r.amax() / q_max / outer;
      return {std::clamp(scale, kMinE4M3Scale, kMaxE4M3Scale), 0};
    }
    case ScaleRule::kNone:
    case ScaleRule::kImport:
      break;
  }
  LB_CHECK(false, "{} has no scale rule", name(format));
  __builtin_unreachable();
}

float choose_outer(const Format& format, float amax) {
  return amax / (kMaxE4M3Scale * static_cast<float>(code_range(format).max));
}

BlockParams stored_params(const Format& format, const Grid& grid, float outer) {
  std::byte stored[sizeof(float)] = {};
  const auto round_trip = [&](float value) {
    store_scale(format.scale, stored, 0, value);
    return load_scale(format.scale, stored, 0);
  };
  const double scale = round_trip(grid.scale);
  const double zero = format.zero == Zero::kNone  ? 0
                      : format.zero == Zero::kInt ? double{grid.zero}
                                                  : round_trip(grid.zero);
  BlockParams params = block_params(format, scale, zero);
  params.scale *= outer;
  return params;
}

bool store_grid(const QTensorBuilder& out, int64_t row, int64_t block_k, const Grid& grid) {
  const QTensor& t = out.tensor;
  const int64_t block_n = t.format.block.n == 0 ? 0 : row / t.format.block.n;
  const auto row_of = [&](Plane plane) {
    return out.plane(plane) + block_n * plane_shape(t.format, plane, t.n, t.k).row_bytes;
  };
  store_scale(t.format.scale, row_of(Plane::kScales), block_k, grid.scale);
  if (t.format.zero == Zero::kInt) {
    row_of(Plane::kZeros)[block_k] = static_cast<std::byte>(grid.zero);
  } else if (t.format.zero != Zero::kNone) {
    store_scale(t.format.scale, row_of(Plane::kZeros), block_k, grid.zero);
  }
  const BlockParams stored = load_block(t, row, block_k);
  return std::isfinite(stored.scale) && std::isfinite(stored.offset) && std::isfinite(stored.shift);
}

uint32_t nearest_code(const Format& format, const BlockParams& p, double w) {
  const double inverse = p.scale == 0 ? 0 : 1 / p.scale;
  return encode_code(format, (w - p.offset) * inverse + p.shift);
}

std::vector<uint32_t> keep_2_of_4(std::span<const float> row, std::span<const float> importance) {
  LB_CHECK(row.size() % 4 == 0, "{}", row.size());
  const auto worth = [&](size_t i) {
    return importance.empty() ? std::abs(row[i])
                              : std::abs(row[i]) * std::sqrt(std::max(importance[i], 0.0f));
  };
  std::vector<uint32_t> kept;
  kept.reserve(row.size() / 2);
  for (size_t quad = 0; quad < row.size(); quad += 4) {
    uint32_t order[] = {0, 1, 2, 3};
    std::stable_sort(order, order + 4,
                     [&](uint32_t a, uint32_t b) { return worth(quad + a) > worth(quad + b); });
    kept.push_back(std::min(order[0], order[1]));
    kept.push_back(std::max(order[0], order[1]));
  }
  return kept;
}

float load_outer(const QTensorBuilder& out, int64_t row) {
  float outer = 1;
  if (out.tensor.format.outer != Outer::kNone) {
    const int64_t at = out.tensor.format.outer == Outer::kRow ? row : 0;
    std::memcpy(&outer, out.outer + at * static_cast<int64_t>(sizeof outer), sizeof outer);
  }
  return outer;
}

namespace {

float magnitude(std::span<const float> w) { return w.empty() ? 0 : range_of(w).amax(); }

// Appends the numbers of a row that get a code, and their importance: all, or the kept ones of a
// 2:4 row, whose positions are stored.
void append_coded(std::span<const float> row, int64_t at, const QTensorBuilder& out,
                  std::span<const float> importance, std::vector<float>* numbers,
                  std::vector<float>* counts) {
  const Format& f = out.tensor.format;
  if (!f.sparse24) {
    numbers->insert(numbers->end(), row.begin(), row.end());
    counts->insert(counts->end(), importance.begin(), importance.end());
    return;
  }
  const std::vector<uint32_t> kept = keep_2_of_4(row, importance);
  store_codes(out.meta + at * plane_shape(f, Plane::kMeta, out.tensor.n, out.tensor.k).row_bytes, 2,
              kept);
  for (size_t i = 0; i < kept.size(); ++i) {
    const size_t column = i / 2 * 4 + kept[i];
    numbers->push_back(row[column]);
    if (!importance.empty()) counts->push_back(importance[column]);
  }
}

// Of the number that decode_code yields.
bool is_finite_f32(const BlockParams& p, double q) {
  constexpr double kRoundsToInfinity = 0x1.ffffffp127;
  return std::abs((q - p.shift) * p.scale + p.offset) < kRoundsToInfinity;
}

bool decodes_to_finite(const Format& f, const BlockParams& p, std::span<const uint32_t> codes) {
  if (every_code_is_finite(f, p)) return true;
  const std::span<const double> table = code_table(f);
  return std::all_of(codes.begin(), codes.end(),
                     [&](uint32_t code) { return is_finite_f32(p, table[code]); });
}

}  // namespace

bool every_code_is_finite(const Format& f, const BlockParams& stored) {
  const CodeRange range = code_range(f);
  return is_finite_f32(stored, range.min) && is_finite_f32(stored, range.max);
}

int64_t encode_rows(std::span<const float> values, int64_t first, int64_t rows,
                    const QTensorBuilder& out, const RowOptions& options) {
  const Format& f = out.tensor.format;
  const int64_t k = out.tensor.k;
  const auto bad =
      std::find_if_not(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
  if (bad != values.end()) return first + (bad - values.begin()) / k;

  const int64_t width = stored_codes(f, k);  // codes of a row
  std::vector<float> w, counts;              // [rows, width]; counts may be empty
  w.reserve(static_cast<size_t>(rows * width));
  for (int64_t r = 0; r < rows; ++r) {
    const auto row = values.subspan(static_cast<size_t>(r * k), static_cast<size_t>(k));
    append_coded(row, first + r, out, options.importance, &w, &counts);
    if (f.outer == Outer::kRow) {
      const float outer = choose_outer(f, magnitude(std::span(w).last(static_cast<size_t>(width))));
      std::memcpy(out.outer + (first + r) * static_cast<int64_t>(sizeof outer), &outer,
                  sizeof outer);
    }
  }
  std::vector<uint32_t> codes(w.size());
  std::vector<float> block, block_counts;
  const int64_t step = f.block.k == 0 ? width : stored_codes(f, f.block.k);
  for (int64_t begin = 0; begin < width; begin += step) {
    const int64_t end = std::min(width, begin + step), block_k = begin / step;
    block.clear();
    block_counts.clear();
    for (int64_t r = 0; r < rows; ++r) {
      block.insert(block.end(), w.begin() + r * width + begin, w.begin() + r * width + end);
      if (counts.empty()) continue;
      block_counts.insert(block_counts.end(), counts.begin() + r * width + begin,
                          counts.begin() + r * width + end);
    }
    const BlockNumbers numbers{block, block_counts, load_outer(out, first)};
    const Grid grid =
        options.choose ? options.choose(f, numbers) : choose_grid(f, numbers.w, numbers.outer);
    if (!store_grid(out, first, block_k, grid)) return first;
    for (int64_t r = 0; r < rows; ++r) {
      const BlockParams stored = load_block(out.tensor, first + r, block_k);
      for (int64_t i = r * width + begin; i < r * width + end; ++i) {
        codes[static_cast<size_t>(i)] = nearest_code(f, stored, w[static_cast<size_t>(i)]);
      }
      const auto coded = std::span(codes).subspan(static_cast<size_t>(r * width + begin),
                                                  static_cast<size_t>(end - begin));
      if (!decodes_to_finite(f, stored, coded)) return first + r;
    }
  }
  for (int64_t r = 0; r < rows; ++r) {
    pack_codes(f,
               std::span(codes).subspan(static_cast<size_t>(r * width), static_cast<size_t>(width)),
               out.codes + (first + r) * row_bytes(f, k));
  }
  return -1;
}

}  // namespace lowbit
