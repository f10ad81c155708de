// The command line of `lowbit microbench`, and of torchao's benchmark_runner.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bench/microbench.h"

namespace lowbit {

struct MicrobenchRequest {
  MicrobenchConfig config;
  std::vector<std::string> remarks;  // what has no effect here
};

std::string microbench_help();

// Whether the arguments of `lowbit bench` are torchao's: its runner's name, or a file with its
// keys.
bool is_microbench_command(const std::vector<std::string>& args);

// nullopt: help was asked for. Error for anything that is not understood: file, entry and key.
std::optional<MicrobenchRequest> parse_microbench(const std::vector<std::string>& args);

}  // namespace lowbit
