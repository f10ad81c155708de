// Attention of prompts (attention_prompt.cu).
#pragma once

#include <cuda_runtime_api.h>

#include "ops/args.h"

namespace lowbit::cuda {

// False: not these heads or this cache, or too few tokens of each sequence.
bool launch_prompt(const AttentionArgs& args, cudaStream_t stream);

}  // namespace lowbit::cuda
