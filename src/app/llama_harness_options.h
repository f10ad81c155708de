// The command line of torchao's llama harness, and what it means here.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "app/model_options.h"

namespace lowbit {

struct HarnessConfig {
  std::string prompt = "Hello, my name is";
  bool interactive = false;
  int32_t num_samples = 5, max_new_tokens = 200, batch_size = 1, prefill_size = 0;
  int32_t top_k = 200;
  double temperature = 0.8;
  std::string checkpoint_path, quantization, sparsity;
  std::string demo_summarize_prompt;
  bool kv_cache_quantization = false;
  int32_t cache_size = 0;
  bool linear_causal_mask = false, save = false, compile = false, compile_prefill = false;
  std::string profile, memory_profile, device, precision = "torch.bfloat16";
  std::string write_result, output_json_path, min_sqnr;
  bool output_json_local = false;
  // Ours beside them.
  CalibrationText calibration;
  int32_t threads = 0;
  int64_t seed = 1234;
};

template <class Visitor>
void visit(Visitor& v, HarnessConfig& c) {
  v.field("prompt", c.prompt, "text to continue");
  v.field("interactive", c.interactive, "ask for the prompt of each sample");
  v.field("num_samples", c.num_samples, "timed samples");
  v.field("max_new_tokens", c.max_new_tokens, "tokens of each");
  v.field("batch_size", c.batch_size, "copies of the prompt in one batch");
  v.field("prefill_size", c.prefill_size, "a prompt of about so many tokens instead of the text");
  v.field("top_k", c.top_k, "draw from the k most likely tokens");
  v.field("temperature", c.temperature, "of the draws");
  v.field("checkpoint_path", c.checkpoint_path, "model.pth, or any model of ours");
  v.field("quantization", c.quantization, "-q: int8wo, int4wo-64, ... or a format of ours");
  v.field("sparsity", c.sparsity, "-s: semi-structured, with -q, or bsr-<level>-<block>");
  v.field("demo_summarize_prompt", c.demo_summarize_prompt, "file with the prompt");
  v.field("kv_cache_quantization", c.kv_cache_quantization, "int8 keys and values");
  v.field("cache_size", c.cache_size, "tokens to make room for; 0: prompt and new ones");
  v.field("linear_causal_mask", c.linear_causal_mask, "no effect: no mask is stored");
  v.field("save", c.save, "no effect: `lowbit quantize` stores models");
  v.field("compile", c.compile, "no effect: kernels are compiled already");
  v.field("compile_prefill", c.compile_prefill, "no effect: kernels are compiled already");
  v.field("profile", c.profile, "every op of the last sample, to PATH.json");
  v.field("memory_profile", c.memory_profile,
          "memory by what it is for, from the first tensor on, to PATH.json");
  v.field("device", c.device, "cuda, cpu or ref; empty: cpu");
  v.field("precision", c.precision, "of unquantized weights: torch.bfloat16, float16, float32");
  v.field("write_result", c.write_result, "file that the record line is appended to");
  v.field("output_json_path", c.output_json_path, "file for the dashboard's JSON");
  v.field("output_json_local", c.output_json_local, "its older, shorter rows");
  v.field("min_sqnr", c.min_sqnr, "no effect: it filters autoquant, which is not there");
  visit(v, c.calibration);
  v.field("threads", c.threads, "of the cpu backend; 0: one per core");
  v.field("seed", c.seed, "of the draws");
}

// Error for a value that is out of range or means nothing here.
void check(const HarnessConfig& c);

// What to load, in our words.
ModelOptions model_options(const HarnessConfig& c);

// One line each: flags that have no effect here, and what was done instead.
std::vector<std::string> harness_remarks(const HarnessConfig& c);

// `lowbit generate ...` that repeats the run.
std::string repro_command(const HarnessConfig& c);

// "Llama-2-7b-chat-hf" of .../Llama-2-7b-chat-hf/model.pth; other sources as they are.
std::string harness_model_name(const std::string& source);

}  // namespace lowbit
