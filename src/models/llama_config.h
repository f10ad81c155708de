// Hyperparameters of the Llama family (Llama 2, 3, 3.1, 3.2), from config.json's names.
#pragma once

#include <cstdint>
#include <vector>

#include "load/hyperparams.h"

namespace lowbit {

struct LlamaConfig {
  int32_t hidden, intermediate, layers, heads, kv_heads, head_dim, vocab, max_context;
  float norm_eps;
  bool tied_embeddings, attention_bias, mlp_bias;
  std::vector<float> inv_freq;  // [head_dim / 2], rope scaling applied
};

// Error names file and field for anything absent, out of range, contradictory or not supported.
LlamaConfig read_llama_config(const Hyperparams& params);

}  // namespace lowbit
