// `lowbit generate` with the flags of torchao's llama harness (generate.py): several samples of one
// prompt, timed, and its record line. Any flag of it that is none of ours asks for this.
#pragma once

#include <string>
#include <vector>

namespace lowbit {

bool is_harness_command(const std::vector<std::string>& args);
int run_harness(const std::vector<std::string>& args);

// The flags with their defaults, for --help of generate.
std::string harness_help();

}  // namespace lowbit
