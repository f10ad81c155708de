#include "models/layer_policy.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/file.h"
#include "base/text.h"
#include "load/json.h"
#include "quantize/method.h"

namespace lowbit {
namespace {

using nlohmann::json;

constexpr int64_t kMixedVersion = 1;

// `*` matches any run of characters, everything else itself.
bool matches(std::string_view pattern, std::string_view text) {
  if (pattern.empty()) return text.empty();
  if (pattern[0] != '*') {
    return !text.empty() && pattern[0] == text[0] && matches(pattern.substr(1), text.substr(1));
  }
  pattern.remove_prefix(std::min(pattern.find_first_not_of('*'), pattern.size()));
  for (size_t i = 0; i <= text.size(); ++i) {
    if (matches(pattern, text.substr(i))) return true;
  }
  return false;
}

std::string text_of(const json& value, const std::string& what) {
  if (!value.is_string()) throw_error("{}: must be a text, is {}", what, describe(value));
  return value.get<std::string>();
}

// "stored" or a name; `quantizer` is for our own formats, a tool's name brings its own.
LayerChoice parse_choice(std::string_view text, const Quantizer* quantizer) {
  if (text == "stored") return {std::nullopt, quantizer};
  const Method method = parse_one_format(text);
  return {method.formats.weights, method.tool.empty() ? quantizer : method.quantizer};
}

void check_keys(const json& object, const std::vector<std::string>& known,
                const std::string& what) {
  if (!object.is_object()) throw_error("{}: must be a mapping, is {}", what, describe(object));
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    throw_error("{}: unknown key `{}`{}; known: {}", what, printable(key), suggestion(key, known),
                join(known, ", "));
  }
}

LayerRule read_rule(const json& entry, const Quantizer* quantizer, const std::string& what) {
  check_keys(entry, {"match", "format", "quantizer"}, what);
  for (const char* key : {"match", "format"}) {
    if (!entry.contains(key)) throw_error("{}: `{}` is missing", what, key);
  }
  LayerRule rule{text_of(entry["match"], what + ": match"), {std::nullopt, quantizer}, what};
  rule.choice = with_context(
      what, [&] { return parse_choice(text_of(entry["format"], "format"), quantizer); });
  if (entry.contains("quantizer")) {
    rule.choice.quantizer = with_context(
        what, [&] { return &find_quantizer(text_of(entry["quantizer"], "quantizer")); });
  }
  return rule;
}

}  // namespace

namespace {

// "layers.12.qkv" as "layers.*.qkv"
std::string any_layer(std::string_view layer) {
  std::string text;
  for (const std::string_view part : split(layer, '.')) {
    text += fmt::format("{}{}", text.empty() ? "" : ".", parse_int(part) ? "*" : part);
  }
  return text;
}

// ", did you mean ...?" for a pattern that matches no layer: perhaps it names one of their tensors.
std::string meant(const std::string& pattern, std::span<const LayerTensor> tensors) {
  const bool many = pattern.find('*') != std::string::npos;
  const std::string_view last = split(pattern, '.').back();
  std::vector<std::string> layers;
  for (const LayerTensor& t : tensors) {
    const std::string layer = many ? any_layer(t.layer) : t.layer;
    const std::string_view module = std::string_view(t.tensor).substr(0, t.tensor.rfind(".weight"));
    if (matches(pattern, t.tensor) || matches(pattern, module) ||
        (many && last != "*" && split(module, '.').back() == last)) {
      return fmt::format(", did you mean `{}`?", layer);
    }
    if (std::find(layers.begin(), layers.end(), layer) == layers.end()) layers.push_back(layer);
  }
  if (many) layers.emplace_back("layers.*");
  return suggestion(pattern, layers);
}

}  // namespace

TensorPolicy parse_tensor_policy(std::string_view text) {
  if (text == "same") return {.same = true};
  const LayerChoice choice = parse_choice(text, nullptr);
  return {.format = choice.format, .quantizer = choice.quantizer};
}

std::string name(const TensorPolicy& policy) {
  return policy.same ? "same" : policy.format ? name(*policy.format) : "stored";
}

LayerChoice LayerPolicy::choose(std::string_view layer, std::string_view tensor) const {
  for (const LayerRule& rule : rules) {
    if (matches(rule.match, layer)) return rule.choice;
  }
  const auto found = single.find({std::string(layer), std::string(tensor)});
  if (found != single.end()) return found->second;
  const TensorPolicy* special = layer == "head"        ? &head
                                : layer == "embedding" ? &embedding
                                                       : nullptr;
  if (!special || special->same) return all;
  if (special->quantizer) return {special->format, special->quantizer};
  // A tool's rule for the layers need not know the head's format.
  return {special->format, special->format == all.format ? all.quantizer : &quantizers()[0]};
}

bool LayerPolicy::changes_anything() const {
  return all.format || head.format || embedding.format ||
         std::any_of(rules.begin(), rules.end(),
                     [](const LayerRule& rule) { return rule.choice.format.has_value(); });
}

std::string_view LayerPolicy::needs_inputs() const {
  if (prepare.awq) return "awq";
  const auto asks = [](const Quantizer* quantizer) {
    return quantizer && quantizer->needs != Needs::kNothing;
  };
  for (const Quantizer* quantizer : {all.quantizer, head.quantizer, embedding.quantizer}) {
    if (asks(quantizer)) return quantizer->name;
  }
  for (const LayerRule& rule : rules) {
    if (asks(rule.choice.quantizer)) return rule.choice.quantizer->name;
  }
  return "";
}

void LayerPolicy::check_rules_used(std::span<const LayerTensor> tensors) const {
  for (auto rule = rules.begin(); rule != rules.end(); ++rule) {
    bool used = false;
    std::vector<std::string> before;  // rules that take the layers of this one
    bool decides = false;
    for (const LayerTensor& tensor : tensors) {
      const std::string& layer = tensor.layer;
      if (!matches(rule->match, layer)) continue;
      used = true;
      const auto first = std::find_if(rules.begin(), rule, [&](const LayerRule& earlier) {
        return matches(earlier.match, layer);
      });
      decides |= first == rule;
      std::string name = fmt::format("{} (`{}`)", first->where, printable(first->match));
      if (std::find(before.begin(), before.end(), name) == before.end()) {
        before.push_back(std::move(name));
      }
    }
    if (!used) {
      throw_error(
          "{}no layer matches `{}`{}; the model has {}, ... {} (`lowbit inspect` lists them)",
          rule->where.empty() ? "" : rule->where + ": ", printable(rule->match),
          meant(rule->match, tensors), tensors.front().layer, tensors.back().layer);
    }
    if (!decides) {
      throw_error(
          "{} (`{}`) decides nothing: the first match counts, and {} comes before it; put it "
          "above or remove it",
          rule->where, printable(rule->match), join(before, " and "));
    }
  }
}

void read_mixed(const std::string& path, LayerPolicy* policy) {
  const json tree = parse_yaml(path, map_file(path).text());
  check_keys(tree, {"version", "format", "quantizer", "head", "embedding", "layers"}, path);
  const json version = tree.value("version", json());
  if (version != kMixedVersion) {
    throw_error("{}: version: is {}, this program reads version {}", path,
                version.is_null() ? "absent" : version.dump(), kMixedVersion);
  }
  const auto field = [&](const char* key, auto&& set) {
    if (!tree.contains(key)) return;
    with_context(fmt::format("{}: {}", path, key), [&] { set(text_of(tree[key], key)); });
  };
  field("quantizer",
        [&](const std::string& text) { policy->all.quantizer = &find_quantizer(text); });
  const bool names_quantizer = tree.contains("quantizer");
  field("format", [&](const std::string& text) {
    const Quantizer* quantizer = policy->all.quantizer;
    policy->all = parse_choice(text, quantizer);
    if (names_quantizer) policy->all.quantizer = quantizer;
  });
  field("head", [&](const std::string& text) { policy->head = parse_tensor_policy(text); });
  field("embedding",
        [&](const std::string& text) { policy->embedding = parse_tensor_policy(text); });
  if (!tree.contains("layers")) return;
  const Quantizer* quantizer = names_quantizer ? policy->all.quantizer : &quantizers()[0];
  const json& layers = tree["layers"];
  if (!layers.is_array()) throw_error("{}: layers: must be a list, is {}", path, describe(layers));
  for (size_t i = 0; i < layers.size(); ++i) {
    policy->rules.push_back(
        read_rule(layers[i], quantizer, fmt::format("{}: layers[{}]", path, i)));
  }
}

}  // namespace lowbit
