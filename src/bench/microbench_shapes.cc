// The shapes of torchao's microbenchmarks by name, as [m, k, n].
#include <algorithm>

#include "base/check.h"
#include "base/text.h"
#include "bench/microbench.h"

namespace lowbit {
namespace {

struct ModelShape {
  std::string_view model, layer;
  int32_t k, n;
};

constexpr ModelShape kLlama[] = {{"llama", "attn.wqkv", 8192, 1280},
                                 {"llama", "attn.w0", 1024, 8192},
                                 {"llama", "ffn.w13", 8192, 7168},
                                 {"llama", "ffn.w2", 3584, 8192}};
constexpr int32_t kLlamaTokens = 4 * 4096;

constexpr ModelShape kModels[] = {
    {"llama4", "FFN", 8192, 5120},
    {"llama4", "QO_proj", 8192, 8192},
    {"llama4", "KV_proj", 8192, 1024},
    {"deepseek_v3_236b", "FFN", 1536, 5120},
    {"deepseek_v3_236b", "QKVO_proj", 7168, 7168},
    {"deepseek_v3_671b", "FFN", 2048, 7168},
    {"deepseek_v3_671b", "QKVO_proj", 7168, 7168},
    {"qwen3_32b", "QO_proj", 5120, 5120},
    {"qwen3_32b", "KV_proj", 5120, 640},
    {"gemma3_27b", "QO_proj", 4096, 4096},
    {"gemma3_27b", "KV_proj", 4096, 1024},
};
constexpr int32_t kModelTokens[] = {16384, 128000};

// Powers of two; each of them is m, k and n, or they take all combinations.
struct Series {
  std::string_view name;
  int32_t first, last;
  bool cubes, halves, rising;  // halves: 1.5 times each too; rising: m <= k <= n only
};
constexpr Series kSeries[] = {{"pow2", 10, 14, true, false, false},
                              {"pow2_extended", 10, 14, true, true, false},
                              {"small_sweep", 10, 14, false, false, true},
                              {"sweep", 8, 15, false, false, false}};

std::vector<std::string> known_names() {
  std::vector<std::string> names = {"custom", "llama"};
  for (const ModelShape& shape : kModels) {
    if (names.back() != shape.model) names.emplace_back(shape.model);
  }
  for (const Series& series : kSeries) names.emplace_back(series.name);
  return names;
}

std::vector<NamedShape> series_shapes(const Series& series, const MicrobenchShapes& entry) {
  constexpr int32_t kMostPower = 24;
  const int32_t first = entry.min_power > 0 ? entry.min_power : series.first;
  const int32_t last = entry.max_power > 0 ? entry.max_power : series.last;
  if (first < 0 || last > kMostPower || first > last) {
    throw_error("{}: min_power {} and max_power {}: must be 1 to {}, the first not above the last",
                entry.name, first, last, kMostPower);
  }
  std::vector<NamedShape> shapes;
  const auto add = [&](int32_t m, int32_t k, int32_t n) {
    shapes.push_back({fmt::format("{}_{}", entry.name, shapes.size()), m, k, n});
  };
  for (int32_t m = first; m <= last; ++m) {
    if (series.cubes) {
      const int32_t size = 1 << m, more = size + size / 2;
      add(size, size, size);
      if (series.halves) add(more, more, more);
      continue;
    }
    for (int32_t k = series.rising ? m : first; k <= last; ++k) {
      for (int32_t n = series.rising ? k : first; n <= last; ++n) add(1 << m, 1 << k, 1 << n);
    }
  }
  return shapes;
}

std::vector<NamedShape> custom_shapes(const MicrobenchShapes& entry) {
  constexpr int32_t kMost = 1 << 24;
  if (entry.shapes.empty()) throw_error("custom: shapes is missing, a list of [m, k, n]");
  std::vector<NamedShape> shapes;
  for (const std::vector<int32_t>& mkn : entry.shapes) {
    const bool good = mkn.size() == 3 && std::all_of(mkn.begin(), mkn.end(), [](int32_t size) {
                        return 1 <= size && size <= kMost;
                      });
    if (!good) {
      throw_error("custom: shapes[{}]: must be [m, k, n], three sizes from 1 to {}", shapes.size(),
                  kMost);
    }
    shapes.push_back({entry.name, mkn[0], mkn[1], mkn[2]});
  }
  return shapes;
}

}  // namespace

std::vector<NamedShape> shapes_of(const MicrobenchShapes& entry) {
  const auto series = std::find_if(std::begin(kSeries), std::end(kSeries),
                                   [&](const Series& s) { return s.name == entry.name; });
  const bool powers = entry.min_power != 0 || entry.max_power != 0;
  if (powers && series == std::end(kSeries)) {
    throw_error("{}: min_power and max_power are for series, not for this one", entry.name);
  }
  if (series != std::end(kSeries)) return series_shapes(*series, entry);
  if (entry.name == "custom") return custom_shapes(entry);
  std::vector<NamedShape> shapes;
  const auto add = [&](const ModelShape& shape, int32_t m) {
    if (shape.model != entry.name) return;
    shapes.push_back({fmt::format("{}_{}", shape.model, shape.layer), m, shape.k, shape.n});
  };
  for (const ModelShape& shape : kLlama) add(shape, kLlamaTokens);
  for (const int32_t m : kModelTokens) {
    for (const ModelShape& shape : kModels) add(shape, m);
  }
  if (!shapes.empty()) return shapes;
  const std::vector<std::string> known = known_names();
  throw_error("matrix_shapes: `{}`: unknown{}; known: {}", printable(entry.name),
              suggestion(entry.name, known), join(known, ", "));
}

}  // namespace lowbit
