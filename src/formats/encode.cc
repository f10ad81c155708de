#include "formats/encode.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"

namespace lowbit {
namespace {

BlockStats range_of(std::span<const float> w) {
  const auto [lo, hi] = std::minmax_element(w.begin(), w.end());
  return {*lo + 0.0f, *hi + 0.0f};  // no zero is negative: scales do not depend on the order
}

}  // namespace

Grid choose_grid(const Format& format, std::span<const float> w, float outer) {
  LB_CHECK(format.rule != ScaleRule::kNone && format.rule != ScaleRule::kLevels,
           "{} has no scale rule of a block", name(format));
  BlockStats stats = range_of(w);
  if (format.rule == ScaleRule::kMean) {
    MeanStats mean;
    for (const float value : w) mean.add(value);
    stats.mean = mean.mean();
    stats.only = mean.only();
  }
  return choose_grid(format, stats, outer);
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
  return store_grid(view_of(out.tensor), row, block_k, grid);
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

namespace {

std::byte* outer_at(const QTensorBuilder& out, int64_t row) {
  const int64_t at = out.tensor.format.outer == Outer::kRow ? row : 0;
  return out.outer + at * static_cast<int64_t>(sizeof(float));
}

}  // namespace

float load_outer(const QTensorBuilder& out, int64_t row) {
  float outer = 1;
  if (out.tensor.format.outer != Outer::kNone) {
    std::memcpy(&outer, outer_at(out, row), sizeof outer);
  }
  return outer;
}

void store_outer(const QTensorBuilder& out, int64_t row, float outer) {
  std::memcpy(outer_at(out, row), &outer, sizeof outer);
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

}  // namespace

bool every_code_is_finite(const Format& f, const BlockParams& stored) {
  const CodeRange range = code_range(f);
  return is_f32(stored(range.min)) && is_f32(stored(range.max));
}

bool decodes_to_finite(const Format& f, const BlockParams& p, std::span<const uint32_t> codes) {
  if (every_code_is_finite(f, p)) return true;
  const std::span<const double> table = code_table(f);
  return std::all_of(codes.begin(), codes.end(),
                     [&](uint32_t code) { return is_f32(p(table[code])); });
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
      const auto stored = std::span(w).last(static_cast<size_t>(width));
      store_outer(out, first + r, choose_outer(f, magnitude(stored)));
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
