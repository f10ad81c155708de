// A model's hyperparameters under the names that Hugging Face's config.json uses, whatever file
// they came from (config.json, GGUF metadata, configs/models/*.yaml). Every getter checks type and
// range and reports "FILE: FIELD: what is wrong".
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lowbit {

class Hyperparams {
 public:
  // All throw Error with `source` (a path) in front. Duplicate keys are an error, and so is
  // anything but an object.
  static Hyperparams from_json(const std::string& source, std::string_view text);
  static Hyperparams from_yaml(const std::string& source, std::string_view text);
  static Hyperparams from_tree(const std::string& source, nlohmann::json tree);

  const std::string& source() const { return source_; }

  bool has(std::string_view key) const;  // present and not null

  // A float that is a whole number (32.0) counts as an integer; a string never counts as a number.
  int64_t integer(std::string_view key, int64_t lo, int64_t hi) const;  // required
  int64_t integer_or(std::string_view key, int64_t fallback, int64_t lo, int64_t hi) const;
  double number(std::string_view key, double lo, double hi) const;  // required, finite
  double number_or(std::string_view key, double fallback, double lo, double hi) const;
  bool boolean_or(std::string_view key, bool fallback) const;
  std::string text(std::string_view key) const;  // required
  std::string text_or(std::string_view key, std::string_view fallback) const;
  // One integer or a list of them; empty if absent.
  std::vector<int64_t> integers_or(std::string_view key, int64_t lo, int64_t hi) const;
  std::vector<std::string> texts_or(std::string_view key) const;  // a list; empty if absent
  std::optional<Hyperparams> child(std::string_view key) const;   // an object, e.g. rope_scaling
  std::vector<std::string> keys() const;
  std::string json_text() const;  // all of it

  // "FILE: KEY: message" as an Error.
  [[noreturn]] void fail(std::string_view key, const std::string& message) const;

 private:
  struct Node;
  Hyperparams(std::string source, std::string prefix, std::shared_ptr<const Node> node);
  const nlohmann::json* find(std::string_view key) const;  // nullptr: absent or null
  const nlohmann::json& require(std::string_view key) const;
  [[noreturn]] void fail_type(std::string_view key, const nlohmann::json& value,
                              std::string_view expected) const;
  int64_t to_integer(std::string_view key, const nlohmann::json& value, int64_t lo,
                     int64_t hi) const;

  std::string source_;
  std::string prefix_;  // "rope_scaling." inside a child
  std::shared_ptr<const Node> node_;
};

}  // namespace lowbit
