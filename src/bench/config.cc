#include "bench/config.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/text.h"
#include "models/layer_policy.h"
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

constexpr const char* kStandard[] = {"bf16",  "int8", "fp8",  "fp6",  "int4",    "mxfp4",
                                     "nvfp4", "int3", "int2", "int1", "ternary", "int8+int8"};

class JsonWriter {
 public:
  template <class T>
  void field(const char* key, const T& value, const char*) {
    json[key] = value;
  }
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
};

class JsonReader {
 public:
  explicit JsonReader(const nlohmann::ordered_json& json) : json_(json) {}

  template <class T>
  void field(const char* key, T& value, const char*) {
    const auto found = json_.find(key);
    if (found == json_.end()) throw_error("case: {}: is absent", key);
    try {
      found->get_to(value);
    } catch (const nlohmann::json::exception&) {
      throw_error("case: {}: {} is not of the right type", key, printable(found->dump()));
    }
    ++read_;
  }
  void check_all_read() const {
    if (read_ != json_.size()) throw_error("case: has keys that no case has");
  }

 private:
  const nlohmann::ordered_json& json_;
  size_t read_ = 0;
};

template <class T, class Check>
void each(const char* key, const std::vector<T>& values, const Check& check) {
  if (values.empty()) throw_error("{}: the list is empty", key);
  for (const T& value : values) check(value);
}

// Every case so far with every value of one more key.
template <class T>
void multiply(std::vector<BenchCase>* cases, const std::vector<T>& values, T BenchCase::*member) {
  std::vector<BenchCase> product;
  for (const BenchCase& c : *cases) {
    std::vector<T> seen;
    for (const T& value : values) {
      if (std::find(seen.begin(), seen.end(), value) != seen.end()) continue;
      seen.push_back(value);
      product.push_back(c);
      product.back().*member = value;
    }
  }
  *cases = std::move(product);
}

}  // namespace

void check(const BenchConfig& c) {
  const auto all_in = [](const char* key, const std::vector<int32_t>& values, int32_t lo,
                         int32_t hi) {
    each(key, values, [&](int32_t value) { check_range(key, value, lo, hi); });
  };
  all_in("threads", c.threads, 0, 1024);
  all_in("prompt_tokens", c.prompt_tokens, 1, kManyTokens);
  all_in("new_tokens", c.new_tokens, 1, kManyTokens);
  all_in("depth", c.depth, 0, kManyTokens);
  all_in("batch", c.batch, 1, 512);
  all_in("cache_size", c.cache_size, 0, kManyTokens);
  each("ctx", c.ctx, [](int32_t ctx) {
    if (ctx != 0) check_range("ctx", ctx, 2, kManyTokens);
  });
  check_range<int64_t>("seed", c.seed, 0, INT64_MAX);
  check_range("min_samples", c.min_samples, 1, 100000);
  check_range("max_seconds", c.max_seconds, 0.0, 1e6);
  check_range("ci_width", c.ci_width, 0.0, 10.0);
  check_range("quality_tokens", c.quality_tokens, 0, kManyTokens);
  check_range("calibration_tokens", c.calibration_tokens, 1, kManyTokens);
  check_range("timeout", c.timeout, 0.0, 1e9);
  const std::pair<const char*, int32_t> counts[] = {
      {"skip_first", c.skip_first}, {"wait", c.wait},     {"warmup", c.warmup},
      {"active", c.active},         {"repeat", c.repeat}, {"top_k", c.top_k}};
  for (const auto& [key, value] : counts) check_range(key, value, 0, 1000000);
  check_range("temperature", c.temperature, 0.0, 1e6);
  check_range("top_p", c.top_p, 1e-9, 1.0);
  if (c.active == 0 && c.skip_first + c.wait + c.warmup > 0) {
    throw_error("active = 0: skip_first, wait and warmup need active, the runs that count");
  }
  check_choice("quality", c.quality, {"none", "self", "text", "auto"});
  check_choice("output", c.output, {"table", "md", "json", "csv", "jsonl", "sql"});
  each("kv_format", c.kv_format, [](const std::string& format) {
    with_context("kv_format", [&] { parse_cache_name(format); });
  });
  each("head", c.head, [](const std::string& head) {
    if (!head.empty()) with_context("head", [&] { parse_tensor_policy(head); });
  });
  each("device", c.device, [](const std::string&) {});
  each("plan", c.plan, [](const std::string& plan) {
    check_choice("plan", plan, {"auto", "eager", "graph"});
  });
  if (c.quality == "text" && c.text.empty()) throw_error("quality = text: needs text=FILE");
  if (!c.text.empty() && (c.quality == "none" || c.quality == "self")) {
    throw_error("text = {}: not used with quality={}; leave one of them out",
                printable(c.text, 300), c.quality);
  }
  if (expand_formats(c.format).empty())
    throw_error("format: the list is empty; `standard` is the default");
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
        if (row.params.weights) add(std::string(row.name));
      }
    } else if (format == "standard") {
      for (const char* standard : kStandard) add(standard);
    } else {
      add(format == "stored" ? format : method_name(format));
    }
  }
  return names;
}

std::vector<BenchCase> cases_of(const BenchConfig& config) {
  BenchCase first;
  static_cast<MeasureKeys&>(first) = config;
  std::vector<BenchCase> cases = {first};
  multiply(&cases, config.model, &BenchCase::model);
  multiply(&cases, config.device, &BenchCase::device);
  multiply(&cases, config.plan, &BenchCase::plan);
  multiply(&cases, config.threads, &BenchCase::threads);
  multiply(&cases, config.kv_format, &BenchCase::kv_format);
  multiply(&cases, config.ctx, &BenchCase::ctx);
  multiply(&cases, config.cache_size, &BenchCase::cache_size);
  multiply(&cases, config.depth, &BenchCase::depth);
  multiply(&cases, config.batch, &BenchCase::batch);
  multiply(&cases, config.prompt_tokens, &BenchCase::prompt_tokens);
  multiply(&cases, config.new_tokens, &BenchCase::new_tokens);
  multiply(&cases, config.head, &BenchCase::head);
  multiply(&cases, expand_formats(config.format), &BenchCase::format);
  return cases;
}

nlohmann::ordered_json case_json(const BenchCase& c) {
  JsonWriter writer;
  visit(writer, const_cast<BenchCase&>(c));  // only read
  return std::move(writer.json);
}

std::string case_text(const BenchCase& c) {
  try {
    return case_json(c).dump();
  } catch (const nlohmann::json::exception&) {
    throw_error("{}: the name is not UTF-8; link it under another one", printable(c.model, 300));
  }
}

std::string repro_command(const BenchCase& c) {
  std::string command = "lowbit bench";
  const nlohmann::ordered_json keys = case_json(c), defaults = case_json(BenchCase());
  for (const auto& item : keys.items()) {
    const auto initial = defaults.find(item.key());
    if (initial != defaults.end() && *initial == item.value() && item.key() != "format") continue;
    const std::string value =
        item.value().is_string() ? item.value().get<std::string>() : item.value().dump();
    std::string word = item.key() + "=" + value;
    constexpr std::string_view kPlain =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=.,:/@";
    if (word.find_first_not_of(kPlain) != std::string::npos) {
      std::string quoted = "'";
      for (const char x : word) quoted += x == '\'' ? "'\\''" : std::string(1, x);
      word = quoted + "'";
    }
    command += " " + word;
  }
  return command;
}

BenchCase parse_case(std::string_view text) {
  const auto json = nlohmann::ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) throw_error("case: `{}` is not a JSON object", printable(text));
  BenchCase c;
  JsonReader reader(json);
  visit(reader, c);
  reader.check_all_read();
  return c;
}

}  // namespace lowbit
