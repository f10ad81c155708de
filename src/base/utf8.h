// UTF-8, one character at a time, hostile input included (Unicode 15, table 3-7: no overlong
// forms, no surrogates, nothing above U+10FFFF).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace lowbit {

struct Utf8Char {
  uint32_t code_point;  // U+FFFD if not valid
  uint32_t bytes;       // consumed: 1..4; of a broken sequence its maximal well-formed start
  bool valid;
};

// The first character of a non-empty text.
Utf8Char decode_utf8(std::string_view text);

void append_utf8(std::string* text, uint32_t code_point);

bool is_valid_utf8(std::string_view text);

// Every maximal broken sequence replaced by U+FFFD (as Python's errors="replace" and WHATWG do).
std::string replace_invalid_utf8(std::string_view text);

}  // namespace lowbit
