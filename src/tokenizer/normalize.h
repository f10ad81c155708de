// The normalizers of tokenizer.json: what happens to a text before it is cut into pieces.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/regex.h"

namespace lowbit {

struct Normalizer {
  enum class Kind { kPrepend, kReplace, kNfc, kNfd, kNfkc, kNfkd, kLowercase, kStrip };
  Kind kind;
  std::string text;                // kPrepend: what; kReplace: by what
  std::shared_ptr<Regex> pattern;  // kReplace by a regular expression
  std::string from;                // kReplace by a string
  bool left = true, right = true;  // kStrip
};

// All steps in order. text: valid UTF-8; so is the result. Error: the text grows more than any
// honest normalizer makes it (a hostile file's replacements could fill the memory).
std::string normalize(const std::vector<Normalizer>& steps, std::string_view text);

}  // namespace lowbit
