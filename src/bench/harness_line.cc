#include "bench/harness_line.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/file.h"
#include "base/text.h"
#include "bench/fingerprint.h"
#include "quantize/method.h"

namespace lowbit {
namespace {

constexpr size_t kStampDigits = 14;
constexpr double kGiga = 1e9;

bool has_stamp(std::string_view text) {
  return text.size() > kStampDigits && text[kStampDigits] == ',' &&
         text.find_first_not_of("0123456789") == kStampDigits;
}

const char* python_bool(bool value) { return value ? "True" : "False"; }

// The parts of one line, by what stands before them.
class Parts {
 public:
  Parts(const std::string& source, std::string_view text) : source_(source) {
    const size_t repro = text.find(" repro: ");
    if (repro == std::string_view::npos) fail("repro", "is missing");
    head_ = text.substr(0, repro);
    repro_ = trim(text.substr(repro + 8));
  }
  std::string repro() const { return std::string(repro_); }

  std::optional<double> number(std::string_view key, std::string_view unit) const {
    const size_t at = head_.find(key);
    if (at == std::string_view::npos) return std::nullopt;
    std::string_view rest = head_.substr(at + key.size());
    rest = trim(rest.substr(0, rest.find(unit)));
    const auto value = parse_double(rest);
    if (!value || !std::isfinite(*value) || *value < 0) {
      fail(key, fmt::format("`{}` is not a number", printable(rest)));
    }
    return value;
  }
  double required(std::string_view key, std::string_view unit) const {
    const auto value = number(key, unit);
    if (!value) fail(key, "is missing");
    return *value;
  }

  std::optional<std::string> word(std::string_view key) const {
    const size_t at = head_.find(key);
    if (at == std::string_view::npos) return std::nullopt;
    const std::string_view rest = head_.substr(at + key.size());
    return std::string(trim(rest.substr(0, rest.find(", "))));
  }
  std::string required_word(std::string_view key) const {
    const auto value = word(key);
    if (!value) fail(key, "is missing");
    return *value;
  }
  bool flag(std::string_view key) const {
    const std::string value = required_word(key);
    if (value != "True" && value != "False") {
      fail(key, fmt::format("`{}` is neither True nor False", printable(value)));
    }
    return value == "True";
  }

 private:
  [[noreturn]] void fail(std::string_view key, const std::string& message) const {
    throw_error("{}: {}: {}", source_, key, message);
  }

  const std::string& source_;
  std::string_view head_, repro_;
};

// The value of a flag of the repro command; "" without it. The harness forgets the space after
// --cache_size N, so that a value ends where the next flag begins.
std::string flag_of(const std::string& repro, const std::string& flag) {
  const size_t at = repro.find(flag + " ");
  if (at == std::string::npos) return "";
  const std::string_view rest = std::string_view(repro).substr(at + flag.size() + 1);
  const std::string_view word = rest.substr(0, rest.find(' '));
  return std::string(word.substr(0, word.find("--")));
}

std::optional<int32_t> count_of(const std::string& repro, const std::string& flag) {
  const auto value = parse_int(flag_of(repro, flag));
  if (!value || *value < 1 || *value > INT32_MAX) return std::nullopt;
  return static_cast<int32_t>(*value);
}

// The method that the harness's two flags name here.
std::string method_text(const HarnessLine& line) {
  const bool none = line.quantization == "None" || line.quantization.empty();
  if (none) return "baseline";
  if (line.sparsity.empty() || line.sparsity == "None") return line.quantization;
  return line.quantization + "+" + line.sparsity;
}

// The canonical format; the harness's own word where it names none here.
std::string format_of_method(const std::string& method) {
  try {
    return name(parse_method(method).formats);
  } catch (const Error&) {
    return method;
  }
}

// 20240908170222 -> 2024-09-08T17:02:22Z. The harness's clock is local; its zone is not known.
std::string iso_time(const std::string& s) {
  return fmt::format("{}-{}-{}T{}:{}:{}Z", s.substr(0, 4), s.substr(4, 2), s.substr(6, 2),
                     s.substr(8, 2), s.substr(10, 2), s.substr(12, 2));
}

Record record_of(const HarnessLine& line) {
  Record record;
  const std::string method = method_text(line);
  const int32_t tokens = count_of(line.repro, "--max_new_tokens").value_or(200);  // its default
  record.config["model"] = line.model;
  record.config["format"] = method;
  record.config["kv_format"] = line.kv_quantized ? "int8" : "bf16";
  record.config["new_tokens"] = tokens;
  record.config["dtype"] = line.dtype;
  record.config["device"] = line.device;
  if (const auto size = count_of(line.repro, "--cache_size")) record.config["cache_size"] = *size;
  if (line.repro.starts_with("python")) {  // of lowbit's own lines no compiler is a part
    record.config["compile"] = line.compiled;
    record.config["compile_prefill"] = line.compiled_prefill;
    record.config["linear_causal_mask"] =
        line.repro.find("--linear_causal_mask") != std::string::npos;
  }
  record.format = record.resident = format_of_method(method);
  record.fingerprint.device = line.device;
  record.fingerprint.plan = line.compiled ? "torch.compile" : "eager";
  record.llama_bench.n_gen = tokens - 1;
  record.llama_bench.test_time = iso_time(line.stamp);
  record.llama_bench.model_filename = line.model;
  record.llama_bench.model_size = std::llround(line.model_bytes);
  return record;
}

void set_values(Record* record, const std::vector<HarnessLine>& lines) {
  const double tokens = record->llama_bench.n_gen + 1;
  std::vector<double> tps, decode, ttft, peak;
  for (const HarnessLine& line : lines) {
    tps.push_back(line.tokens_per_second);
    peak.push_back(line.peak_bytes);
    // By our definition the first token, which the prompt yields, is not a decoded one.
    if (line.decode_tokens_per_second && tokens > 1) {
      decode.push_back(*line.decode_tokens_per_second * (tokens - 1) / tokens);
    }
    if (line.ttft) ttft.push_back(*line.ttft);
  }
  if (!decode.empty()) record->set("decode_tps", decode);
  record->set("tps", tps);
  if (!ttft.empty()) record->set("ttft", ttft);
  record->set("peak_memory", peak);
}

}  // namespace

std::string harness_stamp() { return local_time("%Y%m%d%H%M%S"); }

std::string harness_text(const HarnessLine& line) {
  std::string text = fmt::format("{}, tok/s={:6.2f}, ", line.stamp, line.tokens_per_second);
  if (line.decode_tokens_per_second) {
    text += fmt::format("tok/s_decode={:6.2f}, ", *line.decode_tokens_per_second);
  }
  if (line.ttft) text += fmt::format("ttft={:5.4f}, ", *line.ttft);
  text += fmt::format("mem/s={:7.2f} GB/s, peak_mem={:5.2f} GB, model_size={:5.2f} GB quant: {}, ",
                      line.bytes_per_second / kGiga, line.peak_bytes / kGiga,
                      line.model_bytes / kGiga, line.quantization);
  if (!line.sparsity.empty()) text += fmt::format("sparse: {}, ", line.sparsity);
  return text + fmt::format(
                    "mod: {}, kv_quant: {}, compile: {}, compile_prefill: {}, dtype: {}, "
                    "device: {} repro: {}",
                    line.model, python_bool(line.kv_quantized), python_bool(line.compiled),
                    python_bool(line.compiled_prefill), line.dtype, line.device, line.repro);
}

HarnessLine parse_harness_line(const std::string& source, std::string_view text) {
  text = trim(text);
  if (!has_stamp(text)) {
    throw_error("{}: does not begin with a time (YYYYMMDDHHMMSS,) as the harness's lines do",
                source);
  }
  const Parts parts(source, text);
  HarnessLine line;
  line.stamp = std::string(text.substr(0, kStampDigits));
  line.tokens_per_second = parts.required(" tok/s=", ",");
  line.decode_tokens_per_second = parts.number(" tok/s_decode=", ",");
  line.ttft = parts.number(" ttft=", ",");
  line.bytes_per_second = parts.required(" mem/s=", " GB/s") * kGiga;
  line.peak_bytes = parts.required(" peak_mem=", " GB") * kGiga;
  line.model_bytes = parts.required(" model_size=", " GB") * kGiga;
  line.quantization = parts.required_word(" quant: ");
  line.sparsity = parts.word(" sparse: ").value_or("");
  line.model = parts.required_word(" mod: ");
  line.kv_quantized = parts.flag(" kv_quant: ");
  line.compiled = parts.flag(" compile: ");
  line.compiled_prefill = parts.flag(" compile_prefill: ");
  line.dtype = parts.required_word(" dtype: ");
  line.device = parts.required_word(" device: ");
  line.repro = parts.repro();
  return line;
}

std::vector<Record> import_harness_lines(const std::string& path, int64_t* skipped) {
  const Bytes file = map_file(path);
  std::vector<Record> records;
  std::vector<std::vector<HarnessLine>> lines;  // of each record
  int64_t number = 0;
  *skipped = 0;
  for (const std::string_view text : split(file.text(), '\n')) {
    ++number;
    if (!has_stamp(trim(text))) {
      *skipped += trim(text).empty() ? 0 : 1;
      continue;
    }
    HarnessLine line = parse_harness_line(fmt::format("{}:{}", path, number), text);
    Record record = record_of(line);
    const auto same = std::find_if(records.begin(), records.end(), [&](const Record& other) {
      return other.config == record.config;
    });
    if (same == records.end()) {
      records.push_back(std::move(record));
      lines.push_back({std::move(line)});
    } else {
      lines[static_cast<size_t>(same - records.begin())].push_back(std::move(line));
    }
  }
  if (records.empty()) {
    throw_error("{}: holds no line of the llama harness (YYYYMMDDHHMMSS, tok/s= ...)", path);
  }
  for (size_t i = 0; i < records.size(); ++i) set_values(&records[i], lines[i]);
  return records;
}

std::string shell_quoted(const std::string& word) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,@+%";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  const bool controls = std::any_of(word.begin(), word.end(),
                                    [](char c) { return static_cast<unsigned char>(c) < 0x20; });
  std::string out = controls ? "$'" : "'";
  for (const char c : word) {
    if (controls && static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\x{:02x}", c);
    } else if (controls && (c == '\'' || c == '\\')) {
      out += std::string("\\") + c;
    } else {
      out += c == '\'' ? std::string("'\\''") : std::string(1, c);
    }
  }
  return out + "'";
}

}  // namespace lowbit
