// Attention of one token over a short context, in the launch of the Linears before and after it
// (chain.h) or in one of its own: attention_token.cuh.
#pragma once

#include "ops/args.h"

namespace lowbit::cuda {

inline constexpr int kTokenHeads = 4;         // query heads of a kv head, at most
inline constexpr int kTokenBytes = 5 * 1024;  // of shared memory, at most

// As RopeAttentionArgs, of one token; K and V in bf16, what is made in f32.
struct TokenAttention {
  const float* qkv;
  const float* cos_sin;
  uint16_t *k, *v;  // [pages, kv_heads, page_tokens, head_dim]
  float* out;
  const int32_t *pos, *slot, *page_table;
  int32_t heads, kv_heads, group, head_dim, max_pages, log_page_tokens;
  float scale;
};

// Launches it, or lets it follow the Linears that are held back. False: it is none of these.
bool attend_token(const RopeAppendArgs& rope, const AttentionArgs& attention, Stream stream);

}  // namespace lowbit::cuda
