// Chat templates of the model families we run, as their authors publish them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace lowbit {

enum class ChatStyle { kLlama2, kLlama3 };

// By the tokenizer's special tokens: <|start_header_id|> is Llama 3; <s> without it is Llama 2.
// Error if neither is there.
ChatStyle chat_style(const Tokenizer& tokenizer);

// Ids of one user turn, ready for the model's answer. `system` may be empty. Special tokens come
// from the template only, never from the texts.
std::vector<int32_t> chat_prompt(const Tokenizer& tokenizer, std::string_view system,
                                 std::string_view user);

// The ids that end an answer in this style, besides the tokenizer's own.
std::vector<int32_t> chat_stop_ids(const Tokenizer& tokenizer);

}  // namespace lowbit
