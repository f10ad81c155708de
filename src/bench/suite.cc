#include "bench/suite.h"

#include <algorithm>
#include <optional>

#include "base/check.h"
#include "base/file.h"
#include "base/text.h"
#include "quantize/method.h"

namespace lowbit {
namespace {

enum class Want : uint8_t { kAny, kNo, kYes };

struct Entry {
  std::string_view name, canonical;
  Want compile = Want::kAny, quantize = Want::kAny;
  std::string_view method = "";  // early entry points: the one method they ran
};

constexpr Entry kEntries[] = {
    {"torch_baseline", "torch_baseline", Want::kNo, Want::kNo},
    {"torchinductor", "torchinductor", Want::kYes, Want::kNo},
    {"torchao_autoquant", "torchao_autoquant"},
    {"torchao_exp", "torchao_exp", Want::kYes, Want::kYes},
    {"gemlite_exp", "gemlite_exp", Want::kYes, Want::kYes},
    {"baseline", "torch_baseline", Want::kNo, Want::kNo},
    {"torchinductor_tuned", "torchinductor", Want::kYes, Want::kNo},
    {"torchinductor_autoquant", "torchao_autoquant"},
    {"torchinductor_int4", "torchao_exp", Want::kAny, Want::kAny, "bf16_int4"},
    {"torchinductor_int8", "torchao_exp", Want::kAny, Want::kAny, "bf16_int8"},
    {"torchinductor_fp8", "torchao_exp", Want::kAny, Want::kAny, "bf16_fp8"},
    {"gemlite_demo", "gemlite_exp"},
};

// The files that the suite ships, and the entry point that its documents name with each.
constexpr std::pair<std::string_view, std::string_view> kFiles[] = {
    {"profile_baseline", "torch_baseline"},
    {"profile_inductor", "torchinductor"},
    {"profile_inductor_tuned", "torchinductor_tuned"},
    {"profile_inductor_torchao", "torchao_exp"},
    {"profile_inductor_gemlite", "gemlite_exp"},
};

constexpr std::string_view kPackage = "low_bit_inference.";

const Entry* find_entry(std::string_view name) {
  if (name.starts_with(kPackage)) name.remove_prefix(kPackage.size());
  const auto found = std::find_if(std::begin(kEntries), std::end(kEntries),
                                  [&](const Entry& entry) { return entry.name == name; });
  return found == std::end(kEntries) ? nullptr : found;
}

std::string_view stem(std::string_view file) {
  file = file.substr(file.rfind('/') + 1);
  return file.substr(0, file.rfind('.'));
}

// Null: the suite ships no such file.
const Entry* entry_of_file(std::string_view path) {
  for (const auto& [name, entry] : kFiles) {
    if (stem(path) == name) return find_entry(entry);
  }
  return nullptr;
}

const Entry& decide_entry(std::string_view named, std::string_view file, const SuiteConfig& c,
                          std::string* how) {
  if (!named.empty()) {
    *how = "as named";
    return *find_entry(named);
  }
  if (const Entry* of_file = entry_of_file(file)) {
    *how = "by the name of the file";
    return *of_file;
  }
  if (c.quantize) {
    throw_error(
        "quantize = true: torchao_exp and gemlite_exp mean different formats by one name; put "
        "one of them before the file");
  }
  *how = "by compile_decode";
  return *find_entry(c.compile_decode ? "torchinductor" : "torch_baseline");
}

void require(const Entry& entry, const char* key, bool value, Want want) {
  if (want == Want::kAny || value == (want == Want::kYes)) return;
  throw_error("{} = {}: {} needs {}={}", key, value, entry.name, key, want == Want::kYes);
}

void check_choice(const char* key, const std::string& value,
                  const std::vector<std::string>& known) {
  if (std::find(known.begin(), known.end(), value) != known.end()) return;
  throw_error("{} = `{}`: unknown{}; known: {}", key, printable(value), suggestion(value, known),
              join(known, ", "));
}

void check_state(const Entry& entry, const SuiteConfig& c) {
  check_choice("attn_implementation", c.attn_implementation,
               {"sdpa", "flex_attention", "flash_attention_2", "eager"});
  check_choice("cache_implementation", c.cache_implementation,
               {"static", "dynamic", "offloaded", "offloaded_static", "sliding_window", "hybrid",
                "quantized"});
  check_choice("padding_side", c.padding_side, {"left", "right"});
  if (entry.canonical == "torchao_autoquant") {
    throw_error(
        "{}: choosing a format for each layer by measuring is not there yet; torchao_exp with "
        "quantization_method=bf16_int8 is what it chose for every layer, and `lowbit bench "
        "format=all` measures all",
        entry.name);
  }
  require(entry, "compile_decode", c.compile_decode, entry.compile);
  require(entry, "quantize", c.quantize, entry.quantize);
  if (entry.compile == Want::kNo) require(entry, "compile_prefill", c.compile_prefill, Want::kNo);
  if (!c.use_cache) throw_error("use_cache = false: decoding without a KV cache is not possible");
  if (c.memory_snapshot_max_entries < 1) {
    throw_error("memory_snapshot_max_entries = {}: must be at least 1",
                c.memory_snapshot_max_entries);
  }
  if (c.active < 1) throw_error("active = {}: must be at least 1, the runs that count", c.active);
}

std::string dtype_format(const std::string& dtype) {
  constexpr std::pair<std::string_view, const char*> kTypes[] = {
      {"bf16", "bf16"}, {"fp16", "f16"}, {"fp32", "f32"}};
  for (const auto& [name, format] : kTypes) {
    if (dtype == name) return format;
  }
  const std::vector<std::string> known = {"bf16", "fp16", "fp32"};
  throw_error(
      "compute_dtype = `{}`: activations and unquantized weights are bf16, fp16 or fp32{}; for "
      "fewer bits: quantize=True quantization_method=...",
      printable(dtype), suggestion(dtype, known));
}

const MethodGroup& group_of(std::string_view qualifier) {
  for (const MethodGroup& group : method_groups()) {
    if (group.qualifier == qualifier) return group;
  }
  LB_CHECK(false, "no group is called {}", qualifier);
  return method_groups()[0];
}

std::vector<std::string> values_of(std::string_view entry) {
  std::vector<std::string> values;
  for (const MethodRow& row : group_of(entry).rows) values.emplace_back(row.pattern);
  return values;
}

bool has(const std::vector<std::string>& values, const std::string& value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

// A value of the entry point, or a name that `lowbit formats` lists.
std::string method_of(std::string_view entry, const std::string& value) {
  const std::vector<std::string> own = values_of(entry);
  if (has(own, value)) return fmt::format("{}:{}", entry, value);
  const std::string_view other = entry == "torchao_exp" ? "gemlite_exp" : "torchao_exp";
  if (has(values_of(other), value)) {
    throw_error("quantization_method = {}: is a value of {}; {} has {}", value, other, entry,
                join(own, ", "));
  }
  const std::string near = suggestion(value, own);
  if (!near.empty()) throw_error("quantization_method = `{}`: unknown{}", printable(value), near);
  return with_context("quantization_method", [&] { return parse_method(value).asked; });
}

std::string device_of(const std::string& device) {
  if (device == "cuda:0") return "cuda";
  if (device.starts_with("cuda:")) {
    throw_error(
        "device = {}: the first GPU that is visible is used: device=cuda:0 and "
        "CUDA_VISIBLE_DEVICES={}",
        printable(device), printable(device.substr(5)));
  }
  return device;
}

// A Hugging Face id as the folder where its cache has it.
std::string model_of(const std::string& id, const std::string& cache) {
  const bool ours = id.starts_with("embedded:") || id.starts_with("synthetic:");
  if (ours || is_directory(id) || file_exists(id)) return id;
  std::string name = "models--" + id;
  for (size_t at; (at = name.find('/')) != std::string::npos;) name.replace(at, 1, "--");
  const std::string folder = cache + "/" + name, main = folder + "/refs/main";
  if (file_exists(main)) {
    std::string snapshot = folder + "/snapshots/" + std::string(trim(map_file(main).text()));
    if (is_directory(snapshot)) return snapshot;
  }
  throw_error(
      "model_id = {}: is neither a path nor in cache_dir {}; download it there, or name a folder, "
      "embedded:NAME, or synthetic:llama3.1-8b for speed alone",
      printable(id, 200), printable(cache, 200));
}

void add_remarks(const SuiteConfig& c, const Entry& entry, std::vector<std::string>* remarks) {
  const auto add = [&](bool applies, std::string remark) {
    if (applies) remarks->push_back(std::move(remark));
  };
  add(c.compile_decode || c.compile_prefill,
      "compile_decode, compile_prefill: kernels are compiled already; see plan in the results");
  add(entry.name == "torchinductor_tuned",
      "torchinductor_tuned: nothing is tuned at run time; the planner chooses the kernels");
  add(c.tps_only && c.kernel_profile, "kernel_profile: no effect with tps_only=True");
  add(c.tps_only && c.oom_profile, "oom_profile: no effect with tps_only=True");
  add(c.profile_compile, "profile_compile: nothing is compiled; the profile is of loading");
  add(!c.chat_template.empty(), "chat_template: no effect, as in the suite");
  add(c.attn_implementation != "sdpa", "attn_implementation: no effect, there is one attention");
  add(c.cache_implementation != "static", "cache_implementation: no effect, the cache is paged");
  add(c.padding_side != "left", "padding_side: no effect on one sequence");
  const bool quantizes = entry.canonical == "torchao_exp" || entry.canonical == "gemlite_exp";
  add(quantizes && c.compute_dtype != "bf16",
      "compute_dtype: no effect on quantized weights, whose scales are as the method has them");
  for (const std::string& id : c.model_id) {
    add(id.starts_with("synthetic:") && !c.prompt.empty(),
        fmt::format("prompt: {} has no tokenizer; prompt_tokens random ids instead", id));
  }
}

}  // namespace

SuiteConfig::SuiteConfig() {
  bench.quality = "none";
  bench.prompt_tokens = {6};  // what the suite's prompt is to the tokenizer of Llama 3
}

SuiteConfig suite_nulls() {
  SuiteConfig config;
  config.top_k = 0;
  config.top_p = config.temperature = 1;
  config.profiling_dir.clear();
  return config;
}

bool is_suite_entry(std::string_view name) { return find_entry(name) != nullptr; }

bool is_suite_file(std::string_view path) { return entry_of_file(path) != nullptr; }

bool is_suite_key(std::string_view name) {
  for (const std::string_view key :
       {"model_id", "compute_dtype", "cache_dir", "attn_implementation", "tps_only",
        "max_new_tokens", "do_sample", "use_cache", "cache_implementation", "compile_decode",
        "compile_prefill", "quantize", "quantization_method", "padding_side", "chat_template"}) {
    if (key == name) return true;
  }
  return false;
}

SuitePlan plan_suite(std::string_view named, std::string_view file, const SuiteConfig& c) {
  std::string how;
  const Entry& entry = decide_entry(named, file, c, &how);
  check_state(entry, c);
  SuitePlan plan{.bench = c.bench, .entry = std::string(entry.canonical), .remarks = {}};
  plan.remarks.push_back(fmt::format("entry point: {} ({})", entry.canonical, how));
  add_remarks(c, entry, &plan.remarks);
  plan.profile = {.kernels = c.kernel_profile && !c.tps_only,
                  .memory = c.oom_profile && !c.tps_only,
                  .load = c.profile_compile,
                  .max_entries = c.memory_snapshot_max_entries};

  BenchConfig& bench = plan.bench;
  const std::string dtype = dtype_format(c.compute_dtype);
  bench.format.clear();
  if (!entry.method.empty()) {
    bench.format = {fmt::format("{}:{}", entry.canonical, entry.method)};
  } else if (entry.canonical == "torchao_exp" || entry.canonical == "gemlite_exp") {
    for (const std::string& value : c.quantization_method) {
      bench.format.push_back(method_of(entry.canonical, value));
    }
  } else {
    if (c.quantization_method != std::vector<std::string>{"default"}) {
      throw_error("quantization_method: {} quantizes nothing; use torchao_exp or gemlite_exp",
                  entry.canonical);
    }
    bench.format = {dtype};
  }
  // Its decode is not compiled: a kernel for each op, and nothing captured.
  const bool op_by_op = entry.canonical == "torch_baseline";
  if (op_by_op && bench.plan == std::vector<std::string>{"auto"}) bench.plan = {"eager"};
  bench.kv_format = {dtype};
  bench.device.clear();
  for (const std::string& device : c.device) bench.device.push_back(device_of(device));
  bench.model.clear();
  for (const std::string& id : c.model_id) bench.model.push_back(model_of(id, c.cache_dir));
  bench.new_tokens = c.max_new_tokens;
  bench.prompt = c.prompt;
  bench.skip_first = c.skip_first;
  bench.wait = c.wait;
  bench.warmup = c.warmup;
  bench.active = c.active;
  bench.repeat = c.repeat;
  bench.temperature = c.do_sample ? c.temperature : 0;
  bench.top_k = c.do_sample ? c.top_k : 0;
  bench.top_p = c.do_sample ? c.top_p : 1;
  return plan;
}

}  // namespace lowbit
