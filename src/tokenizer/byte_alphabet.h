// GPT-2's alphabet: one printable character for each byte, so that vocabularies can be text files.
// Source: bytes_to_unicode() in openai/gpt-2, src/encoder.py.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/spec.h"

namespace lowbit {

// The bytes that `text` spells; nullopt if a character is not of the alphabet.
std::optional<std::string> from_byte_alphabet(std::string_view text);

// Fills tokens and texts of a byte-level BPE from its vocabulary as it is in the file ("": none).
// What is not spelled in the alphabet decodes to itself and never comes out of encoding.
void set_byte_level_tokens(const std::vector<std::string>& vocab, BpeSpec* spec);

// Looks merges up in the vocabulary as it is in the file. Error: a part or the result is no token.
std::vector<BpeMerge> resolve_merges(
    const std::vector<std::string>& vocab,
    const std::vector<std::pair<std::string, std::string>>& merges);

}  // namespace lowbit
