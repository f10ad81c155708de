#include "tokenizer/added_tokens.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "base/utf8.h"
#include "tokenizer/chars.h"

namespace lowbit {
namespace {

bool word_char_at(std::string_view text, size_t at) {
  return is_word_char(decode_utf8(text.substr(at)).code_point);
}

bool space_at(std::string_view text, size_t at) {
  return char_class(decode_utf8(text.substr(at)).code_point) == CharClass::kSpace;
}

// The space that ends at `end`: its bytes, 0 if there is none. The text may be broken.
size_t space_before(std::string_view text, size_t end) {
  const size_t begin = previous_char(text, end);
  const bool whole = decode_utf8(text.substr(begin)).bytes == end - begin;
  return whole && space_at(text, begin) ? end - begin : 0;
}

}  // namespace

AddedTokens::AddedTokens(const std::vector<AddedToken>& tokens,
                         const std::vector<Normalizer>& normalizers)
    : tokens_(tokens) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    std::string text = tokens_[i].text;
    if (text.empty()) continue;
    if (tokens_[i].normalized) {
      text = normalize(normalizers, text);
      if (text.empty()) continue;
    }
    (tokens_[i].normalized ? normalized_ : raw_).add(std::move(text), static_cast<int32_t>(i));
  }
  raw_.finish();
  normalized_.finish();
}

AddedTokens::Span AddedTokens::next(const PrefixMatcher& matcher, std::string_view text,
                                    size_t done, size_t* search, bool parse_special) const {
  while (*search < text.size()) {
    const size_t begin = *search;
    PrefixMatcher::Match match;
    if (matcher.may_start(text[begin])) match = matcher.longest_at(text, begin);
    if (match.bytes == 0) {
      ++*search;
      continue;
    }
    *search = begin + match.bytes;  // whatever follows: matches do not overlap
    const AddedToken& token = tokens_[static_cast<size_t>(match.value)];
    if (token.special && !parse_special) continue;
    Span span{begin, *search, token.id};
    if (token.single_word) {
      const bool joined_before = begin > 0 && word_char_at(text, previous_char(text, begin));
      const bool joined_after = span.end < text.size() && word_char_at(text, span.end);
      if (joined_before || joined_after) continue;
    }
    if (token.lstrip) {
      while (span.begin > done) {
        const size_t bytes = space_before(text, span.begin);
        if (bytes == 0) break;
        span.begin -= bytes;
      }
    }
    if (token.rstrip) {
      while (span.end < text.size() && space_at(text, span.end)) {
        span.end += utf8_length(text[span.end]);
      }
      *search = std::max(*search, span.end);
    }
    span.begin = std::max(span.begin, done);
    return span;
  }
  return {};
}

void check_text_size(std::string_view text) {
  // Escaping a space takes three bytes, and positions are 32 bits.
  if (text.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max()) / 3) {
    throw_error("the text has {} bytes, more than a tokenizer takes at once: split it",
                text.size());
  }
}

void check_vocab_id(int32_t id, int32_t count) {
  if (id < 0 || id >= count) {
    throw_error("token id {} is outside the vocabulary of {} tokens", id, count);
  }
}

std::string file_name(const std::string& source) {
  return source.substr(source.find_last_of('/') + 1);
}

}  // namespace lowbit
