// The sizes of the ops beside Linear that tests check and benches time.
#pragma once

#include <cstdint>

namespace lowbit {

// Row lengths: below, at and beside a vector of 16, and those of real models.
inline constexpr int32_t kOpWidths[] = {1, 7, 16, 33, 80, 257, 4096};
inline constexpr int32_t kOpRows[] = {1, 3, 16};

struct AttentionCase {
  int32_t heads, kv_heads, head_dim, page_tokens;
  // Positions already in the cache and tokens of this step, for three sequences.
  int32_t past[3];
  int32_t fresh[3];
};

inline constexpr AttentionCase kAttentionCases[] = {
    {1, 1, 2, 1, {0, 0, 0}, {1, 0, 0}},          // the smallest there is
    {4, 1, 64, 16, {5, 0, 40}, {1, 7, 1}},       // GQA 4:1, prefill beside decode
    {4, 4, 80, 16, {0, 31, 15}, {9, 1, 1}},      // MHA, head size 80
    {6, 2, 18, 8, {7, 8, 0}, {2, 1, 3}},         // GQA 3:1, ragged head size
    {32, 8, 128, 64, {200, 63, 64}, {1, 1, 2}},  // Llama-3.1-8B
    {10, 2, 36, 5, {4, 11, 3}, {1, 2, 1}},       // five heads a group, odd pages
};

}  // namespace lowbit
