#include "app/llama_harness_options.h"

#include <filesystem>

#include "base/check.h"
#include "base/file.h"
#include "base/text.h"
#include "bench/bench_model.h"
#include "bench/harness_line.h"

namespace lowbit {
namespace {

// torch.bfloat16, bfloat16, bf16: all three are in use.
std::string precision_format(const std::string& precision) {
  std::string_view name = precision;
  if (name.starts_with("torch.")) name.remove_prefix(6);
  constexpr std::pair<std::string_view, const char*> kTypes[] = {
      {"bfloat16", "bf16"}, {"float16", "f16"}, {"half", "f16"}, {"float32", "f32"},
      {"float", "f32"},     {"bf16", "bf16"},   {"fp16", "f16"}, {"fp32", "f32"}};
  for (const auto& [type, format] : kTypes) {
    if (name == type) return format;
  }
  const std::vector<std::string> known = {"torch.bfloat16", "torch.float16", "torch.float32"};
  throw_error("--precision `{}`: must be one of {}{}", printable(precision), join(known, ", "),
              suggestion(precision, known));
}

std::string method_name(const HarnessConfig& c) {
  const bool blocks = c.sparsity.starts_with("bsr");
  if (c.quantization.empty() || c.quantization == "None") {
    if (blocks) return precision_format(c.precision) + "+" + c.sparsity;
    if (!c.sparsity.empty()) {
      throw_error(
          "--sparsity {}: 2:4 needs codes here: -q int8dq, float8dq or marlin, or -q int4-24",
          printable(c.sparsity));
    }
    return precision_format(c.precision);
  }
  if (c.sparsity.empty()) return c.quantization;
  const bool tensor = !blocks && c.quantization == "float8dq-tensor";
  return (tensor ? "float8dq" : c.quantization) + "+" + c.sparsity;
}

void check_least(const char* flag, int64_t value, int64_t least) {
  if (value < least) throw_error("{} {}: must be at least {}", flag, value, least);
}

// A folder may have Hugging Face's files where the harness expects its converted ones.
std::string checkpoint_of(const HarnessConfig& c) {
  if (c.checkpoint_path.empty()) return default_bench_model();
  const std::filesystem::path path(c.checkpoint_path);
  const bool converted = file_exists(c.checkpoint_path) || is_directory(c.checkpoint_path);
  const bool folder = path.filename() == "model.pth" && is_directory(path.parent_path().string());
  return !converted && folder ? path.parent_path().string() : c.checkpoint_path;
}

}  // namespace

void check(const HarnessConfig& c) {
  check_least("--num_samples", c.num_samples, 1);
  check_least("--max_new_tokens", c.max_new_tokens, 1);
  check_least("--batch_size", c.batch_size, 1);
  check_least("--prefill_size", c.prefill_size, 0);
  check_least("--top_k", c.top_k, 0);
  check_least("--cache_size", c.cache_size, 0);
  check_least("--seed", c.seed, 0);
  if (c.temperature < 0) throw_error("--temperature {}: must not be negative", c.temperature);
  if (c.interactive && c.batch_size > 1) throw_error("--interactive takes one prompt at a time");
  if (c.prefill_size > 0 && !c.demo_summarize_prompt.empty()) {
    throw_error("--prefill_size and --demo_summarize_prompt both say what the prompt is");
  }
  for (const std::string& path : {c.write_result, c.output_json_path}) {
    if (!path.empty()) check_can_write(path);
  }
  precision_format(c.precision);
}

ModelOptions model_options(const HarnessConfig& c) {
  ModelOptions options;
  options.model = checkpoint_of(c);
  options.quantize.format = parse_format_flag("--quantization", method_name(c)).asked;
  options.calibration = c.calibration;
  options.device = c.device;
  options.kv_format = c.kv_cache_quantization ? "int8" : precision_format(c.precision);
  options.threads = c.threads;
  return options;
}

std::vector<std::string> harness_remarks(const HarnessConfig& c) {
  std::vector<std::string> remarks;
  const auto add = [&](bool applies, std::string remark) {
    if (applies) remarks.push_back(std::move(remark));
  };
  const std::string model = checkpoint_of(c);
  add(c.checkpoint_path.empty(), "--checkpoint_path: not given; this is " + model);
  add(!c.checkpoint_path.empty() && model != c.checkpoint_path,
      "--checkpoint_path: there is no model.pth; the weights of the folder itself are used");
  add(c.compile, "--compile: no effect, kernels are compiled already");
  add(c.compile_prefill, "--compile_prefill: no effect, kernels are compiled already");
  add(c.linear_causal_mask, "--linear_causal_mask: no effect, a mask is never stored");
  add(c.save, "--save: no effect, `lowbit quantize MODEL --format F --out DIR` stores the weights");
  add(!c.memory_profile.empty(),
      "--memory_profile: a timeline in JSON, not a pickle of allocations");
  add(!c.min_sqnr.empty(), "--min_sqnr: no effect, it filters what autoquant may choose");
  return remarks;
}

std::string repro_command(const HarnessConfig& c) {
  std::string text = "lowbit generate";
  const auto add = [&](const char* flag, const std::string& value) {
    if (!value.empty()) text += fmt::format(" {} {}", flag, shell_quoted(value));
  };
  const auto set = [&](const char* flag, bool given) {
    if (given) text += fmt::format(" {}", flag);
  };
  add("--quantization", c.quantization);
  add("--sparsity", c.sparsity);
  add("--checkpoint_path", checkpoint_of(c));
  add("--device", c.device);
  add("--precision", c.precision);
  set("--compile", c.compile);
  set("--compile_prefill", c.compile_prefill);
  if (c.prefill_size > 0) {
    add("--prefill_size", std::to_string(c.prefill_size));
  } else if (!c.demo_summarize_prompt.empty()) {
    add("--demo_summarize_prompt", c.demo_summarize_prompt);
  } else {
    add("--prompt", c.prompt);
  }
  set("--interactive", c.interactive);
  add("--num_samples", std::to_string(c.num_samples));
  add("--max_new_tokens", std::to_string(c.max_new_tokens));
  if (c.batch_size > 1) add("--batch_size", std::to_string(c.batch_size));
  add("--top_k", std::to_string(c.top_k));
  add("--temperature", fmt::format("{}", c.temperature));
  if (c.cache_size > 0) add("--cache_size", std::to_string(c.cache_size));
  set("--kv_cache_quantization", c.kv_cache_quantization);
  set("--linear_causal_mask", c.linear_causal_mask);
  add("--calibration", c.calibration.file);
  if (c.calibration.tokens != CalibrationText().tokens) {
    add("--calibration_tokens", std::to_string(c.calibration.tokens));
  }
  if (c.threads > 0) add("--threads", std::to_string(c.threads));
  add("--seed", std::to_string(c.seed));
  return text;
}

std::string harness_model_name(const std::string& source) {
  const std::filesystem::path path(source);
  const bool file = path.extension() == ".pth" || path.extension() == ".pt";
  if (!file && !is_directory(source)) return source;
  const auto absolute = std::filesystem::absolute(path).lexically_normal();
  const auto folder = file || absolute.filename().empty() ? absolute.parent_path() : absolute;
  return folder.filename().string();
}

}  // namespace lowbit
