// Token ids of a text and how they are cut into windows: to score a model on, or to calibrate with.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace lowbit {

struct ScoredText {
  // What the figures are about: the file's name and, in parentheses, how much of it and a hash of
  // those ids. Where the file lies makes no difference.
  std::string label;
  std::vector<int32_t> ids;
  int32_t ctx = 0;   // tokens of a window
  int32_t bos = -1;  // starts every window; -1: none
};

// The first `max_tokens` tokens (0: all) of a text file, in windows of 512 or of the model's
// `context`, whichever is shorter. Error: an unreadable file.
ScoredText file_text(const Tokenizer& tokenizer, int32_t context, const std::string& path,
                     int32_t max_tokens);

// Whether labels are of the same ids, whatever the files are called.
bool same_text(std::string_view label, std::string_view other);

}  // namespace lowbit
