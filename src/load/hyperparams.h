// A model's hyperparameters under the names that Hugging Face's config.json uses, whatever file
// they came from (config.json, GGUF metadata, configs/models/*.yaml). Every getter checks type and
// range and reports "FILE: FIELD: what is wrong".
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lowbit {

class Hyperparams {
 public:
  // Both throw Error with `source` (a path) in front. Duplicate keys are an error.
  static Hyperparams from_json(const std::string& source, std::string_view text);
  static Hyperparams from_yaml(const std::string& source, std::string_view text);

  const std::string& source() const;

  bool has(std::string_view key) const;  // present and not null
  int64_t integer(std::string_view key, int64_t lo, int64_t hi) const;  // required
  int64_t integer_or(std::string_view key, int64_t fallback, int64_t lo, int64_t hi) const;
  double number(std::string_view key, double lo, double hi) const;  // required, finite
  double number_or(std::string_view key, double fallback, double lo, double hi) const;
  bool boolean_or(std::string_view key, bool fallback) const;
  std::string text(std::string_view key) const;  // required
  std::string text_or(std::string_view key, std::string_view fallback) const;
  std::vector<int64_t> integers_or(std::string_view key, int64_t lo, int64_t hi) const;  // int or list; empty if absent
  std::vector<std::string> texts_or(std::string_view key) const;                         // list of strings; empty if absent
  std::optional<Hyperparams> child(std::string_view key) const;  // an object, e.g. rope_scaling
  std::vector<std::string> keys() const;

  // "FILE: KEY: message" as an Error.
  [[noreturn]] void fail(std::string_view key, const std::string& message) const;

 private:
  struct Node;
  std::shared_ptr<const Node> node_;
  std::string source_;
  std::string prefix_;  // "rope_scaling." inside a child
};

}  // namespace lowbit
