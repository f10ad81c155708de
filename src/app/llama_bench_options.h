// llama-bench's flags for `lowbit bench`: which they are, and what they mean in our keys.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bench/config.h"
#include "bench/llama_bench.h"

namespace lowbit {

// What was asked for: cases, and the tests that each of them is.
struct LlamaCases {
  struct Asked {
    LlamaTest test;
    size_t at = 0;  // of its case
    bool operator==(const Asked&) const = default;
  };
  std::vector<BenchCase> cases;      // each once
  std::vector<Asked> tests;          // in the order of the flags
  std::vector<std::string> remarks;  // which tests were asked for twice, or are one case
};

class LlamaBenchFlags {
 public:
  // Whether one of them is a flag of llama-bench that is none of ours.
  static bool asked_for(const std::vector<std::string>& args);
  // Takes the flag at args[*i], with its value, if it is one of llama-bench's.
  bool take(const std::vector<std::string>& args, size_t* i);
  void add_model(const std::string& model) { models_.push_back(model); }
  // A flag that has a value, by its short name.
  void set(const std::string& flag, const std::string& value);

  bool given() const { return given_; }
  // The keys that were given, and llama-bench's defaults for what was not: weights as stored, one
  // warm-up and 5 runs, no quality. A key that `overrides` sets is left alone.
  void apply(BenchConfig* config, const std::vector<std::string>& overrides) const;
  // Each test with every combination of the other keys. Error: there is no test.
  LlamaCases cases(const BenchConfig& config) const;
  // Flags that change nothing here, one line each.
  const std::vector<std::string>& remarks() const { return remarks_; }
  const std::string& also() const { return also_; }  // -oe: a form for standard error; "": none

 private:
  bool given_ = false, prompts_given_ = false, warm_up_ = true;
  std::vector<std::string> models_, caches_, devices_;
  std::vector<int32_t> prompts_ = {512}, gens_ = {128}, depths_, threads_;
  std::vector<LlamaTest> pairs_, deep_;  // -pg; -gp: prompt is the depth
  bool gens_given_ = false;
  int32_t repetitions_ = 5;
  std::string also_;
  std::vector<std::string> remarks_;
};

std::string llama_bench_help();

}  // namespace lowbit
