// The command line of `lowbit bench`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bench/config.h"

namespace lowbit {

struct BenchRequest {
  BenchConfig config;
  bool resume = false;
};

std::string bench_help();

// nullopt: help was asked for. Error for anything that is not understood.
std::optional<BenchRequest> parse_bench(const std::vector<std::string>& args);

}  // namespace lowbit
