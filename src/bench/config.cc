#include "bench/config.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/text.h"
#include "quantize/method.h"

namespace lowbit {
namespace {

constexpr int32_t kManyTokens = 1 << 24;

template <class T>
void check_range(const char* key, T value, T lo, T hi) {
  if (!(lo <= value && value <= hi)) throw_error("{} = {}: must be {} to {}", key, value, lo, hi);
}

void check_choice(const char* key, const std::string& value,
                  const std::vector<std::string>& known) {
  if (std::find(known.begin(), known.end(), value) == known.end()) {
    throw_error("{} = `{}`: unknown{}; known: {}", key, printable(value), suggestion(value, known),
                join(known, ", "));
  }
}

// Our own names in canonical form; those of other tools mean more than their formats.
std::string method_name(const std::string& text) {
  const Method method = parse_method(text);
  return method.tool.empty() ? name(method.formats) : method.asked;
}

class JsonVisitor {
 public:
  template <class T>
  void field(const char* key, const T& value, const char*) {
    json[key] = value;
  }
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
};

}  // namespace

void check(const BenchConfig& c) {
  check_range("threads", c.threads, 0, 1024);
  check_range("prompt_tokens", c.prompt_tokens, 1, kManyTokens);
  check_range("new_tokens", c.new_tokens, 1, kManyTokens);
  if (c.ctx != 0) check_range("ctx", c.ctx, 2, kManyTokens);
  check_range<int64_t>("seed", c.seed, 0, INT64_MAX);
  check_range("min_samples", c.min_samples, 1, 100000);
  check_range("max_seconds", c.max_seconds, 0.0, 1e6);
  check_range("ci_width", c.ci_width, 0.0, 10.0);
  check_range("quality_tokens", c.quality_tokens, 0, kManyTokens);
  check_choice("quality", c.quality, {"none", "self", "text", "auto"});
  check_choice("output", c.output, {"table", "md", "json"});
  with_context("kv_format", [&] { parse_cache_format(c.kv_format); });
  if (c.quality == "text" && c.text.empty()) throw_error("quality = text: needs text=FILE");
  if (!c.text.empty() && (c.quality == "none" || c.quality == "self")) {
    throw_error("text = {}: not used with quality={}; leave one of them out",
                printable(c.text, 300), c.quality);
  }
  if (expand_formats(c.formats).empty())
    throw_error("format: the list is empty; `all` is the default");
}

std::vector<std::string> expand_formats(const std::vector<std::string>& formats) {
  std::vector<std::string> names;
  const auto add = [&](std::string text) {
    if (std::find(names.begin(), names.end(), text) == names.end()) {
      names.push_back(std::move(text));
    }
  };
  for (const std::string& format : formats) {
    if (format == "all") {
      for (const FormatRow& row : kFormats) {
        const bool chosen = row.params.weights && row.defaults.rule != ScaleRule::kImport;
        if (chosen) add(std::string(row.name));
      }
    } else {
      add(format == "stored" ? format : method_name(format));
    }
  }
  return names;
}

nlohmann::ordered_json case_json(const BenchConfig& config, const std::string& model,
                                 const std::string& format) {
  BenchConfig copy = config;
  JsonVisitor visitor;
  visit(visitor, copy);
  visitor.json["model"] = model;
  visitor.json["format"] = format;
  visitor.json.erase("out");
  visitor.json.erase("output");
  return std::move(visitor.json);
}

}  // namespace lowbit
