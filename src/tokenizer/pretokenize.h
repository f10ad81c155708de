// Pre-tokenizers: cut a text into pieces that are encoded one by one.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/regex.h"

namespace lowbit {

// The patterns of well-known models, matched by hand: 2 to 10 times as fast as PCRE2.
enum class KnownPattern : uint8_t { kLlama3, kQwen2, kGpt2 };

std::string_view pattern_text(KnownPattern pattern);
std::optional<KnownPattern> find_known_pattern(std::string_view text);

// The end of the piece that starts at `from` (< text.size()). These patterns match every character,
// so the pieces follow each other without gaps. text: valid UTF-8.
size_t next_piece(KnownPattern pattern, std::string_view text, size_t from);

struct PreTokenStep {
  enum class Kind : uint8_t { kSplit, kDigits, kPrefixSpace, kMetaspace };
  // What becomes of a match: a piece, nothing, one piece with its matching neighbours, part of the
  // piece before or after it.
  enum class Behaviour : uint8_t { kIsolated, kRemoved, kContiguous, kMergedBefore, kMergedAfter };
  enum class Prefix : uint8_t { kNever, kFirst, kAlways };

  Kind kind = Kind::kSplit;
  Behaviour behaviour = Behaviour::kIsolated;  // kSplit
  bool invert = false;                         // kSplit: what does not match counts as a match
  std::optional<KnownPattern> known = {};      // kSplit: this,
  std::shared_ptr<Regex> pattern = {};         //         or this
  bool individual = false;                     // kDigits: one piece per digit
  std::string replacement = {};                // kMetaspace: instead of a space
  Prefix prefix = Prefix::kAlways;             // kMetaspace: where one is put in front
  bool split = true;                           // kMetaspace: pieces start at it

  bool changes_text() const { return kind == Kind::kPrefixSpace || kind == Kind::kMetaspace; }
};

// What one call of pre_tokenize needs besides its result; reuse it for the next call.
struct PreTokenScratch {
  std::vector<std::string_view> pieces;
  std::deque<std::string> texts;  // of pieces whose text changed
};

// Appends the pieces of `text` (valid UTF-8; none is empty) to *pieces, which then view `text` and
// `scratch`. at_start: `text` is the beginning of the whole text.
void pre_tokenize(const std::vector<PreTokenStep>& steps, std::string_view text, bool at_start,
                  PreTokenScratch* scratch, std::vector<std::string_view>* pieces);

}  // namespace lowbit
