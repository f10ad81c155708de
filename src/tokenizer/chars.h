// Classes of characters, as pre-tokenizers need them. Unicode tables: utf8proc.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lowbit {

enum class CharClass : uint8_t { kOther, kLetter, kNumber, kSpace };  // \p{L} \p{N} White_Space

CharClass unicode_char_class(uint32_t code_point);  // by the tables

inline constexpr auto kAsciiClasses = [] {
  std::array<CharClass, 128> classes{};
  for (int c = 0; c < 128; ++c) {
    const bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    const bool space = (c >= 0x09 && c <= 0x0D) || c == ' ';
    classes[static_cast<size_t>(c)] = letter                 ? CharClass::kLetter
                                      : c >= '0' && c <= '9' ? CharClass::kNumber
                                      : space                ? CharClass::kSpace
                                                             : CharClass::kOther;
  }
  return classes;
}();

inline CharClass char_class(uint32_t code_point) {
  return code_point < 128 ? kAsciiClasses[code_point] : unicode_char_class(code_point);
}

// \w of Rust's regex crate: alphabetic, marks, decimal digits, connectors, joiners.
bool is_word_char(uint32_t code_point);

// The UTF-8 length that a lead byte announces; 1 for what cannot lead.
inline uint32_t utf8_length(char lead) {
  const auto byte = static_cast<uint8_t>(lead);
  return byte < 0xC0 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

// The character before `end`, in valid UTF-8: where it starts.
inline size_t previous_char(std::string_view text, size_t end) {
  do --end;
  while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xC0) == 0x80);
  return end;
}

// U+2581, which stands for a space in sentencepiece vocabularies.
inline constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";

}  // namespace lowbit
