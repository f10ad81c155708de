// Attention of prompts (attention_prompt.cu).
#pragma once

#include <cuda_runtime_api.h>

#include "ops/args.h"

namespace lowbit::cuda {

inline constexpr int kPromptTokens = 32;  // of a sequence in a step, on average, at least

// False: not these heads or this cache, or too few tokens of each sequence.
bool launch_prompt(const AttentionArgs& args, cudaStream_t stream);

}  // namespace lowbit::cuda
