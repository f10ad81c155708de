// The mixtures that llama.cpp's llama-quantize makes (Q4_K_M, ...): one K-quant for most tensors of
// a model and more bits for those that its rules single out.
#pragma once

#include <span>

#include "models/layer_policy.h"
#include "models/weights.h"

namespace lowbit {

// The formats of the mixture that `policy` names, tensor by tensor, for a model whose tensors are
// `uses`: fills policy->single. What the policy's rules or its head say of a layer stays.
//
//   output head            q6_k; a table that is tied to it too
//   v                      Q2_K_S: q4_k where at least four heads share it. Q3_K_M: q5_k in the
//   first
//                          two layers, then q4_k. Q3_K_L: q5_k. Q4_K_S: q5_k in the first four.
//                          Q4_K_M, Q5_K_M: q6_k in every layer of the rule below
//   down                   Q2_K_S: q4_k in the first eighth. Q3_K_M: q5_k in the first sixteenth,
//   then
//                          q4_k. Q3_K_L: q5_k. Q4_K_S: q5_k in the first eighth. Q4_K_M, Q5_K_M:
//                          q6_k in every layer of the rule below
//   o                      Q3_K_M: q4_k. Q3_K_L: q5_k
//   everything else        the format that the name begins with
//
// The rule: the first eighth, the last eighth, and every third layer between. Models of 80 layers
// with grouped queries have v in q5_k at least. A row that 256 does not divide is of q4_0, q5_0,
// q5_1 or q8_0 instead of q2_k and q3_k (IQ4_NL there), q4_k, q5_k or q6_k, one that 32 does not
// divide of f16.
void resolve_mixture(std::span<const TensorUse> uses, LayerPolicy* policy);

// "q6_k: down of layers 0, 2-4; head; v of layers 0, 2-4", one line for each format of a model
// whose layers have several; else empty.
std::vector<std::string> formats_by_layer(std::span<const TensorUse> uses);

}  // namespace lowbit
