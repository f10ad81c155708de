#include "models/mixture.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/check.h"
#include "base/text.h"

namespace lowbit {
namespace {

// What the rules ask of a model.
struct Shape {
  int32_t layers = 0;
  int64_t heads_a_key = 1;  // query heads that share a key
  bool tied = false;
};

// "v" of "model.layers.3.self_attn.v_proj.weight"; the tensor's name where it is no projection.
std::string part_of(const TensorUse& use) {
  constexpr std::string_view kEnd = "_proj.weight";
  if (!use.layer.starts_with("layers.") || !use.tensor.ends_with(kEnd)) return use.layer;
  const std::string_view name =
      std::string_view(use.tensor).substr(0, use.tensor.size() - kEnd.size());
  return std::string(name.substr(name.rfind('.') + 1));
}

// Of "layers.3.qkv"; -1 for the head and the table.
int32_t layer_of(const TensorUse& use) {
  if (!use.layer.starts_with("layers.")) return -1;
  return static_cast<int32_t>(parse_int(split(use.layer, '.')[1]).value_or(-1));
}

Shape shape_of(std::span<const TensorUse> uses) {
  Shape shape;
  int64_t q = 0, k = 0;
  const TensorUse* table = nullptr;
  for (const TensorUse& use : uses) {
    shape.layers = std::max(shape.layers, layer_of(use) + 1);
    if (part_of(use) == "q") q = use.n;
    if (part_of(use) == "k") k = use.n;
    if (use.layer == "embedding") table = &use;
    if (use.layer == "head" && table) shape.tied = use.tensor == table->tensor;
  }
  if (k > 0) shape.heads_a_key = q / k;
  return shape;
}

bool gets_more(int32_t layer, int32_t layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

// By llama.cpp's rules; `base` where they say nothing.
FormatId wanted(std::string_view mixture, FormatId base, const std::string& part, int32_t layer,
                const Shape& shape) {
  const bool most = mixture == "Q4_K_M" || mixture == "Q5_K_M";
  if (part == "head" || (part == "embedding" && shape.tied)) return FormatId::kQ6_K;
  if (part == "o") {
    return mixture == "Q3_K_M" ? FormatId::kQ4_K : mixture == "Q3_K_L" ? FormatId::kQ5_K : base;
  }
  if (part != "v" && part != "down") return base;
  const bool v = part == "v";
  FormatId format = base;
  if (mixture == "Q3_K_L") format = FormatId::kQ5_K;
  if (mixture == "Q3_K_M") {
    format = layer < (v ? 2 : shape.layers / 16) ? FormatId::kQ5_K : FormatId::kQ4_K;
  }
  if (mixture == "Q2_K_S" && (v ? shape.heads_a_key >= 4 : layer < shape.layers / 8)) {
    format = FormatId::kQ4_K;
  }
  if (mixture == "Q4_K_S" && layer < (v ? 4 : shape.layers / 8)) format = FormatId::kQ5_K;
  if (most && gets_more(layer, shape.layers)) format = FormatId::kQ6_K;
  const bool large = shape.layers == 80 && shape.heads_a_key > 1;
  if (v && large && (format == FormatId::kQ3_K || format == FormatId::kQ4_K)) {
    format = FormatId::kQ5_K;
  }
  return format;
}

// The nearest that takes rows of k.
LayerChoice fitting(FormatId format, int64_t k, const Quantizer* quantizer) {
  if (k % 256 == 0) return {format_of(format), quantizer};
  if (k % 32 != 0) return {.format = format_of(FormatId::kF16)};
  constexpr std::pair<FormatId, FormatId> kInstead[] = {{FormatId::kQ2_K, FormatId::kQ4_0},
                                                        {FormatId::kQ3_K, FormatId::kQ4_0},
                                                        {FormatId::kQ4_K, FormatId::kQ5_0},
                                                        {FormatId::kQ5_K, FormatId::kQ5_1},
                                                        {FormatId::kQ6_K, FormatId::kQ8_0}};
  for (const auto& pair : kInstead) {
    if (pair.first == format) return {format_of(pair.second), &find_quantizer("gguf-0.19.0")};
  }
  __builtin_unreachable();
}

// "0, 2-4" of 0, 2, 3, 4.
std::string ranges(const std::vector<int32_t>& numbers) {
  std::string text;
  for (size_t begin = 0, end; begin < numbers.size(); begin = end) {
    for (end = begin + 1; end < numbers.size() && numbers[end] == numbers[end - 1] + 1; ++end) {
    }
    text += fmt::format("{}{}", text.empty() ? "" : ", ", numbers[begin]);
    if (end - begin > 1) text += fmt::format("-{}", numbers[end - 1]);
  }
  return text;
}

}  // namespace

void resolve_mixture(std::span<const TensorUse> uses, LayerPolicy* policy) {
  const Shape shape = shape_of(uses);
  LB_CHECK(policy->all.format, "a mixture has a format for most tensors");
  for (const TensorUse& use : uses) {
    if (use.role == TensorRole::kVector) continue;
    const bool table = use.layer == "embedding";
    if ((use.layer == "head" && !policy->head.same) || (table && !policy->embedding.same)) continue;
    const FormatId format =
        wanted(policy->mixture, policy->all.format->id, part_of(use), layer_of(use), shape);
    policy->single[{use.layer, use.tensor}] = fitting(format, use.k, policy->all.quantizer);
  }
}

std::vector<std::string> formats_by_layer(std::span<const TensorUse> uses) {
  std::map<std::string, std::map<std::string, std::vector<int32_t>>> parts;  // by format
  std::set<std::string> of_layers;
  for (const TensorUse& use : uses) {
    if (use.role == TensorRole::kVector) continue;
    const Format& format = final_format(use);
    parts[name(format)][part_of(use)].push_back(layer_of(use));
    if (layer_of(use) >= 0) of_layers.insert(name(format));
  }
  std::vector<std::string> lines;
  for (const auto& [format, layers] : parts) {
    std::vector<std::string> texts;
    for (const auto& [part, numbers] : layers) {
      texts.push_back(numbers[0] < 0
                          ? part
                          : fmt::format("{} of layer{} {}", part, numbers.size() == 1 ? "" : "s",
                                        ranges(numbers)));
    }
    lines.push_back(fmt::format("{}: {}", format, join(texts, "; ")));
  }
  return of_layers.size() > 1 ? lines : std::vector<std::string>();
}

}  // namespace lowbit
