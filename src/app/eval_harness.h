// `lowbit eval` with the flags of the llama harness's eval.py: its task wikitext, its words. Any
// flag of it that is none of ours asks for this.
#pragma once

#include <string>
#include <vector>

namespace lowbit {

bool is_eval_harness_command(const std::vector<std::string>& args);
int run_eval_harness(const std::vector<std::string>& args);

// The flags with their defaults, for --help of eval.
std::string eval_harness_help();

}  // namespace lowbit
