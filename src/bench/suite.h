// The configs of low-bit-inference: its keys, its entry points, and the cases that they mean here.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bench/config.h"
#include "bench/profiler.h"
#include "bench/record.h"

namespace lowbit {

// Its keys and defaults, and ours that go with them. A list of models, methods, devices or lengths
// is a sweep.
struct SuiteConfig {
  SuiteConfig();

  std::vector<std::string> device = {"cuda:0"};
  std::string compute_dtype = "bf16";
  std::vector<std::string> model_id = {"unsloth/Meta-Llama-3.1-8B-Instruct"};
  std::string cache_dir = "/root/.cache/huggingface/hub";
  std::string attn_implementation = "sdpa", profiling_dir = "log/";
  int32_t skip_first = 0, wait = 0, warmup = 0, active = 1, repeat = 1;
  bool tps_only = false, kernel_profile = false, oom_profile = false, profile_compile = false;
  int32_t memory_snapshot_max_entries = 100000;
  std::string prompt;
  std::vector<int32_t> max_new_tokens = {1024};
  std::string chat_template;
  bool do_sample = false;
  int32_t top_k = 5;
  double top_p = 0.5, temperature = 0.6;
  bool use_cache = true;
  std::string cache_implementation = "static";
  bool compile_decode = false, compile_prefill = false, quantize = false;
  std::vector<std::string> quantization_method = {"default"};
  std::string padding_side = "left";
  BenchConfig bench;
};

// Lets through the keys of ours that none of the suite's stands for.
template <class Visitor>
class OwnKeys {
 public:
  explicit OwnKeys(Visitor& visitor) : visitor_(visitor) {}

  template <class T>
  void field(std::string_view name, T& value, std::string_view help) {
    for (const std::string_view own :
         {"plan", "threads", "prompt_tokens", "ctx", "seed", "quality", "text", "quality_tokens",
          "calibration", "calibration_tokens", "timeout", "out", "output"}) {
      if (name == own) visitor_.field(own.data(), value, help.data());
    }
  }

 private:
  Visitor& visitor_;
};

template <class Visitor>
void visit(Visitor& v, SuiteConfig& c) {
  v.field("device", c.device, "cuda:0, cpu or ref");
  v.field("compute_dtype", c.compute_dtype, "bf16, fp16 or fp32");
  v.field("model_id", c.model_id, "model in cache_dir, or any model of ours");
  v.field("cache_dir", c.cache_dir, "where Hugging Face models are");
  v.field("attn_implementation", c.attn_implementation, "no effect: there is one attention");
  v.field("profiling_dir", c.profiling_dir, "a folder per run is made in it; null: none");
  v.field("skip_first", c.skip_first, "runs at the start that are not recorded");
  v.field("wait", c.wait, "runs of each cycle that are not recorded");
  v.field("warmup", c.warmup, "runs after those that are not recorded either");
  v.field("active", c.active, "runs of each cycle that are recorded");
  v.field("repeat", c.repeat, "cycles; 0 means 1");
  v.field("tps_only", c.tps_only, "speed only: no kernel_profile, no oom_profile");
  visit_profiles(v, c);
  v.field("prompt", c.prompt, "text of the prompt");
  v.field("max_new_tokens", c.max_new_tokens, "tokens drawn after it");
  v.field("chat_template", c.chat_template, "no effect, as there");
  v.field("do_sample", c.do_sample, "draw with the three keys that follow, else greedy");
  v.field("top_k", c.top_k, "with do_sample; null: off");
  v.field("top_p", c.top_p, "with do_sample; null: off");
  v.field("temperature", c.temperature, "with do_sample; null: 1");
  v.field("use_cache", c.use_cache, "must be true");
  v.field("cache_implementation", c.cache_implementation, "no effect: the cache is paged");
  v.field("compile_decode", c.compile_decode, "the entry point says what it must be");
  v.field("compile_prefill", c.compile_prefill, "no effect: prefill needs no compiling");
  v.field("quantize", c.quantize, "the entry point says what it must be");
  v.field("quantization_method", c.quantization_method, "values of the entry point, or formats");
  v.field("padding_side", c.padding_side, "no effect on one sequence");
  OwnKeys<Visitor> own(v);
  visit(own, c.bench);
}

// What `null` means for each key: the default, or, for what shapes the draws, off.
SuiteConfig suite_nulls();

// A module of the suite, of its early versions too, with or without the name of the package.
bool is_suite_entry(std::string_view name);

// A file that the suite ships, by its name alone.
bool is_suite_file(std::string_view path);

// A key of the suite's files that is none of ours.
bool is_suite_key(std::string_view name);

struct SuitePlan {
  BenchConfig bench;
  std::string entry;                 // canonical: "gemlite_exp"
  std::vector<std::string> remarks;  // one line each: what decided, what has no effect here
  ProfileKeys profile = {};          // without a folder
};

// `entry`: "" if none was named, then the name of the file decides, or else what the keys say.
// Error names the key: a state that the entry point does not take, an unknown value.
SuitePlan plan_suite(std::string_view entry, std::string_view file, const SuiteConfig& config);

// The suite's two lines about a case that ran, in its syntax, by its definitions; "" without one.
// FLOPs follow from the shapes, so that they are right for every kernel; power is nan where this
// machine does not tell it.
std::string suite_lines(const Record& record);

}  // namespace lowbit
