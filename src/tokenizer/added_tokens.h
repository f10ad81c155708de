// Tokens that are found in a text before it is cut into pieces: special ones ("<|eot_id|>") and
// those that a model's author added. Also what both kinds of tokenizer check on their input.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/spec.h"
#include "tokenizer/token_index.h"

namespace lowbit {

class AddedTokens {
 public:
  // Tokens with `normalized` are looked for as `normalizers` write them.
  AddedTokens(const std::vector<AddedToken>& tokens, const std::vector<Normalizer>& normalizers);

  // Calls emit(part, id) from left to right: kNone for text between tokens (never empty). Special
  // tokens are passed over as text unless parse_special, leftmost-longest as all the others.
  template <class Emit>
  void split_raw(std::string_view text, bool parse_special, const Emit& emit) const {
    split(raw_, text, parse_special, emit);
  }
  template <class Emit>
  void split_normalized(std::string_view text, bool parse_special, const Emit& emit) const {
    split(normalized_, text, parse_special, emit);
  }

 private:
  struct Span {
    size_t begin = 0, end = 0;
    int32_t id = TokenIndex::kNone;
    bool found() const { return id != TokenIndex::kNone; }
  };

  template <class Emit>
  void split(const PrefixMatcher& matcher, std::string_view text, bool parse_special,
             const Emit& emit) const {
    size_t done = 0;
    size_t search = 0;
    while (!matcher.empty()) {
      const Span span = next(matcher, text, done, &search, parse_special);
      if (!span.found()) break;
      if (span.begin > done) emit(text.substr(done, span.begin - done), TokenIndex::kNone);
      emit(text.substr(span.begin, span.end - span.begin), span.id);
      done = span.end;
    }
    if (done < text.size()) emit(text.substr(done), TokenIndex::kNone);
  }

  Span next(const PrefixMatcher& matcher, std::string_view text, size_t done, size_t* search,
            bool parse_special) const;

  std::vector<AddedToken> tokens_;  // the matchers' values index it
  PrefixMatcher raw_, normalized_;
};

void check_text_size(std::string_view text);       // Error: 2 GB or more
void check_vocab_id(int32_t id, int32_t count);    // Error: outside the vocabulary
std::string file_name(const std::string& source);  // the last part of a path

}  // namespace lowbit
