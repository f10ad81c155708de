#include "models/layer_policy.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/file.h"
#include "base/text.h"
#include "load/json.h"

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

std::optional<Format> parse_stored_or_format(const std::string& text) {
  if (text == "stored") return std::nullopt;
  return parse_format(text);
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
  LayerRule rule{text_of(entry["match"], what + ": match"), {std::nullopt, quantizer}};
  rule.choice.format = with_context(
      what, [&] { return parse_stored_or_format(text_of(entry["format"], "format")); });
  if (entry.contains("quantizer")) {
    rule.choice.quantizer = with_context(
        what, [&] { return &find_quantizer(text_of(entry["quantizer"], "quantizer")); });
  }
  return rule;
}

}  // namespace

TensorPolicy parse_tensor_policy(std::string_view text) {
  if (text == "same") return {.same = true};
  return {.format = parse_stored_or_format(std::string(text))};
}

std::string name(const TensorPolicy& policy) {
  return policy.same ? "same" : policy.format ? name(*policy.format) : "stored";
}

LayerChoice LayerPolicy::choose(std::string_view layer) const {
  for (const LayerRule& rule : rules) {
    if (matches(rule.match, layer)) return rule.choice;
  }
  const TensorPolicy* special = layer == "head"        ? &head
                                : layer == "embedding" ? &embedding
                                                       : nullptr;
  if (!special || special->same) return all;
  // A tool's rule for the layers need not know the head's format.
  return {special->format, special->format == all.format ? all.quantizer : &quantizers()[0]};
}

bool LayerPolicy::changes_anything() const {
  return all.format || head.format || embedding.format ||
         std::any_of(rules.begin(), rules.end(),
                     [](const LayerRule& rule) { return rule.choice.format.has_value(); });
}

void LayerPolicy::check_rules_used(const std::vector<std::string>& layers) const {
  for (const LayerRule& rule : rules) {
    const bool used = std::any_of(layers.begin(), layers.end(), [&](const std::string& layer) {
      return matches(rule.match, layer);
    });
    if (!used) {
      throw_error("no layer matches `{}`; the model has {}, ... {}", printable(rule.match),
                  layers.front(), layers.back());
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
  field("format",
        [&](const std::string& text) { policy->all.format = parse_stored_or_format(text); });
  field("head", [&](const std::string& text) { policy->head = parse_tensor_policy(text); });
  field("embedding",
        [&](const std::string& text) { policy->embedding = parse_tensor_policy(text); });
  if (!tree.contains("layers")) return;
  const json& layers = tree["layers"];
  if (!layers.is_array()) throw_error("{}: layers: must be a list, is {}", path, describe(layers));
  for (size_t i = 0; i < layers.size(); ++i) {
    policy->rules.push_back(
        read_rule(layers[i], policy->all.quantizer, fmt::format("{}: layers[{}]", path, i)));
  }
}

}  // namespace lowbit
