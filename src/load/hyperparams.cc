#include "load/hyperparams.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "load/json.h"

namespace lowbit {

using nlohmann::json;

struct Hyperparams::Node {
  json object;
};

Hyperparams::Hyperparams(std::string source, std::string prefix, std::shared_ptr<const Node> node)
    : source_(std::move(source)), prefix_(std::move(prefix)), node_(std::move(node)) {}

Hyperparams Hyperparams::from_tree(const std::string& source, json tree) {
  if (!tree.is_object()) {
    throw_error("{}: is {}, expected an object of hyperparameters", source, describe(tree));
  }
  return {source, "", std::make_shared<Node>(Node{std::move(tree)})};
}

Hyperparams Hyperparams::from_json(const std::string& source, std::string_view text) {
  return from_tree(source, parse_json(source, text));
}

Hyperparams Hyperparams::from_yaml(const std::string& source, std::string_view text) {
  return from_tree(source, parse_yaml(source, text));
}

void Hyperparams::fail(std::string_view key, const std::string& message) const {
  throw_error("{}: {}{}: {}", source_, prefix_, key, message);
}

void Hyperparams::fail_type(std::string_view key, const json& value,
                            std::string_view expected) const {
  fail(key, fmt::format("is {}, expected {}", describe(value), expected));
}

const json* Hyperparams::find(std::string_view key) const {
  const auto at = node_->object.find(std::string(key));
  return at == node_->object.end() || at->is_null() ? nullptr : &*at;
}

const json& Hyperparams::require(std::string_view key) const {
  const json* value = find(key);
  if (!value) fail(key, "is missing, and the model cannot be built without it");
  return *value;
}

bool Hyperparams::has(std::string_view key) const { return find(key) != nullptr; }

int64_t Hyperparams::to_integer(std::string_view key, const json& value, int64_t lo,
                                int64_t hi) const {
  int64_t result = 0;
  if (value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX) {
    fail(key, fmt::format("is {}, must be from {} to {}", describe(value), lo, hi));
  } else if (value.is_number_integer()) {
    result = value.get<int64_t>();
  } else if (value.is_number_float()) {
    constexpr double kExact = 9007199254740992.0;  // 2^53: below it a double is one integer only
    const double number = value.get<double>();
    if (!(std::abs(number) < kExact) || number != std::trunc(number)) {
      fail_type(key, value, "an integer");
    }
    result = static_cast<int64_t>(number);
  } else {
    fail_type(key, value, "an integer");
  }
  if (result < lo || result > hi) {
    fail(key, fmt::format("is {}, must be from {} to {}", result, lo, hi));
  }
  return result;
}

int64_t Hyperparams::integer(std::string_view key, int64_t lo, int64_t hi) const {
  return to_integer(key, require(key), lo, hi);
}

int64_t Hyperparams::integer_or(std::string_view key, int64_t fallback, int64_t lo,
                                int64_t hi) const {
  return has(key) ? integer(key, lo, hi) : fallback;
}

double Hyperparams::number(std::string_view key, double lo, double hi) const {
  const json& value = require(key);
  if (!value.is_number()) fail_type(key, value, "a number");
  const double number = value.get<double>();
  if (!(number >= lo && number <= hi)) {  // false for NaN too
    fail(key, fmt::format("is {}, must be from {} to {}", describe(value), lo, hi));
  }
  return number;
}

double Hyperparams::number_or(std::string_view key, double fallback, double lo, double hi) const {
  return has(key) ? number(key, lo, hi) : fallback;
}

bool Hyperparams::boolean_or(std::string_view key, bool fallback) const {
  const json* value = find(key);
  if (!value) return fallback;
  if (!value->is_boolean()) fail_type(key, *value, "true or false");
  return value->get<bool>();
}

std::string Hyperparams::text(std::string_view key) const {
  const json& value = require(key);
  if (!value.is_string()) fail_type(key, value, "a string");
  return value.get<std::string>();
}

std::string Hyperparams::text_or(std::string_view key, std::string_view fallback) const {
  return has(key) ? text(key) : std::string(fallback);
}

std::vector<int64_t> Hyperparams::integers_or(std::string_view key, int64_t lo, int64_t hi) const {
  const json* value = find(key);
  if (!value) return {};
  if (!value->is_array()) return {to_integer(key, *value, lo, hi)};
  std::vector<int64_t> integers;
  for (const json& item : *value) integers.push_back(to_integer(key, item, lo, hi));
  return integers;
}

std::vector<std::string> Hyperparams::texts_or(std::string_view key) const {
  const json* value = find(key);
  if (!value) return {};
  if (!value->is_array()) fail_type(key, *value, "a list of strings");
  std::vector<std::string> texts;
  for (const json& item : *value) {
    if (!item.is_string()) fail_type(key, item, "a list of strings");
    texts.push_back(item.get<std::string>());
  }
  return texts;
}

std::optional<Hyperparams> Hyperparams::child(std::string_view key) const {
  const json* value = find(key);
  if (!value) return std::nullopt;
  if (!value->is_object()) fail_type(key, *value, "an object");
  return Hyperparams(source_, prefix_ + std::string(key) + ".",
                     std::make_shared<Node>(Node{*value}));
}

std::vector<std::string> Hyperparams::keys() const {
  std::vector<std::string> keys;
  for (const auto& item : node_->object.items()) keys.push_back(item.key());
  return keys;
}

std::string Hyperparams::json_text() const { return node_->object.dump(); }

}  // namespace lowbit
