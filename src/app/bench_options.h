// The command line of `lowbit bench`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "app/llama_bench_options.h"
#include "bench/config.h"
#include "bench/profiler.h"

namespace lowbit {

struct BenchRequest {
  BenchConfig config;
  bool resume = false;
  bool suite = false;                     // a config of low-bit-inference: its lines come first
  std::vector<std::string> remarks;       // what decided, and what has no effect here
  std::string run_folder;                 // made for this run; "": none
  ProfileKeys profile = {};               // without a folder
  LlamaBenchFlags llama = {};             // llama-bench's way, if any of its flags was given
  std::vector<std::string> imports = {};  // files of the llama harness to read instead of running
};

std::string bench_help();

// nullopt: help was asked for. Error for anything that is not understood.
std::optional<BenchRequest> parse_bench(const std::vector<std::string>& args);

}  // namespace lowbit
