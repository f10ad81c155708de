#include "tokenizer/pretokenize.h"

#include <algorithm>
#include <array>

#include "base/utf8.h"
#include "tokenizer/chars.h"

namespace lowbit {
namespace {

struct Known {
  std::string_view text;
  uint32_t max_digits;  // 0: the GPT-2 pattern, which has other rules
};

// Indexed by KnownPattern.
constexpr std::array<Known, 3> kKnown = {{
    {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
     "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     3},
    {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
     "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     1},
    {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", 0},
}};

struct Char {
  CharClass type;
  uint32_t bytes;
};

inline Char char_at(std::string_view text, size_t at) {
  const auto lead = static_cast<uint8_t>(text[at]);
  if (lead < 0x80) return {char_class(lead), 1};
  const Utf8Char c = decode_utf8(text.substr(at));
  return {char_class(c.code_point), c.bytes};
}

inline size_t end_of_run(std::string_view text, size_t at, CharClass type) {
  while (at < text.size()) {
    const Char c = char_at(text, at);
    if (c.type != type) break;
    at += c.bytes;
  }
  return at;
}

inline bool is_newline(char c) { return c == '\r' || c == '\n'; }

// 's 't 're 've 'm 'll 'd: its bytes, 0 if there is none. Case-insensitive means Unicode's simple
// case folding, in which U+017F (long s) is an s.
size_t contraction(std::string_view text, bool any_case) {
  if (text.size() < 2 || text[0] != '\'') return 0;
  if (any_case && text.substr(1, 2) == "\xC5\xBF") return 3;
  const auto lower = [&](size_t i) {
    const char c = i < text.size() ? text[i] : '\0';
    return any_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  };
  switch (lower(1)) {
    case 's':
    case 't':
    case 'm':
    case 'd':
      return 2;
    case 'r':
    case 'v':
      return lower(2) == 'e' ? 3 : 0;
    case 'l':
      return lower(2) == 'l' ? 3 : 0;
    default:
      return 0;
  }
}

// \s+(?!\S)|\s+ for the white space at [from, end): a following word keeps its space.
size_t space_piece(std::string_view text, size_t from, size_t end) {
  if (end == text.size()) return end;
  const size_t last = previous_char(text, end);
  return last > from ? last : end;
}

size_t next_gpt2_piece(std::string_view text, size_t from) {
  if (const size_t bytes = contraction(text.substr(from), false)) return from + bytes;
  const Char c = char_at(text, from);
  if (text[from] == ' ' && from + 1 < text.size()) {
    const Char after = char_at(text, from + 1);
    if (after.type != CharClass::kSpace) return end_of_run(text, from + 1, after.type);
  }
  const size_t end = end_of_run(text, from, c.type);
  return c.type == CharClass::kSpace ? space_piece(text, from, end) : end;
}

size_t next_llama3_piece(std::string_view text, size_t from, uint32_t max_digits) {
  if (text[from] == '\'') {
    if (const size_t bytes = contraction(text.substr(from), true)) return from + bytes;
  }
  const Char c = char_at(text, from);
  const size_t after = from + c.bytes;
  if (c.type == CharClass::kLetter) return end_of_run(text, after, CharClass::kLetter);
  if (c.type == CharClass::kNumber) {
    size_t end = after;
    for (uint32_t digits = 1; digits < max_digits && end < text.size(); ++digits) {
      const Char next = char_at(text, end);
      if (next.type != CharClass::kNumber) break;
      end += next.bytes;
    }
    return end;
  }
  if (after < text.size() && !is_newline(text[from])) {
    const Char next = char_at(text, after);
    if (next.type == CharClass::kLetter) {
      return end_of_run(text, after + next.bytes, CharClass::kLetter);
    }
    if (text[from] == ' ' && next.type == CharClass::kOther) {
      size_t end = end_of_run(text, after, CharClass::kOther);
      while (end < text.size() && is_newline(text[end])) ++end;
      return end;
    }
  }
  size_t end = end_of_run(text, after, c.type);
  if (c.type == CharClass::kOther) {
    while (end < text.size() && is_newline(text[end])) ++end;
    return end;
  }
  const size_t newline = text.substr(from, end - from).find_last_of("\r\n");
  if (newline != std::string_view::npos) return from + newline + 1;
  return space_piece(text, from, end);
}

// Cuts `text` at the matches that `emit(begin, end)` is to be told of, applying `step`'s behaviour.
class Splitter {
 public:
  Splitter(const PreTokenStep& step, std::string_view text, std::vector<std::string_view>* pieces)
      : step_(step), text_(text), pieces_(pieces), first_(pieces->size()) {}

  void match(size_t begin, size_t end) {
    if (begin > done_) add(done_, begin, false);
    add(begin, end, true);
    done_ = end;
  }

  void finish() {
    if (done_ < text_.size()) add(done_, text_.size(), false);
    // Empty matches make empty pieces, which count for the behaviours but are not handed on.
    const auto begin = pieces_->begin() + static_cast<std::ptrdiff_t>(first_);
    pieces_->erase(std::remove_if(begin, pieces_->end(), [](auto p) { return p.empty(); }),
                   pieces_->end());
  }

 private:
  void add(size_t begin, size_t end, bool is_match) {
    using Behaviour = PreTokenStep::Behaviour;
    is_match ^= step_.invert;
    bool extend = false;
    switch (step_.behaviour) {
      case Behaviour::kIsolated:
        break;
      case Behaviour::kRemoved:
        if (is_match) return;
        break;
      case Behaviour::kContiguous:
        extend = is_match == previous_;
        break;
      case Behaviour::kMergedBefore:
        extend = is_match && !previous_;
        break;
      case Behaviour::kMergedAfter:
        extend = previous_ && !is_match;
        break;
    }
    if (extend && pieces_->size() > first_) {
      const char* start = pieces_->back().data();
      pieces_->back() = {start, static_cast<size_t>(text_.data() + end - start)};
    } else {
      pieces_->push_back(text_.substr(begin, end - begin));
    }
    previous_ = is_match;
  }

  const PreTokenStep& step_;
  std::string_view text_;
  std::vector<std::string_view>* pieces_;
  size_t first_;
  size_t done_ = 0;
  bool previous_ = false;
};

void split_known(const PreTokenStep& step, std::string_view text,
                 std::vector<std::string_view>* pieces) {
  using Behaviour = PreTokenStep::Behaviour;
  const bool every_match_is_a_piece = step.behaviour == Behaviour::kIsolated ||
                                      (step.behaviour == Behaviour::kRemoved && step.invert);
  if (every_match_is_a_piece) {
    for (size_t at = 0; at < text.size();) {
      const size_t end = next_piece(*step.known, text, at);
      pieces->push_back(text.substr(at, end - at));
      at = end;
    }
    return;
  }
  Splitter splitter(step, text, pieces);
  for (size_t at = 0; at < text.size();) {
    const size_t end = next_piece(*step.known, text, at);
    splitter.match(at, end);
    at = end;
  }
  splitter.finish();
}

void split_digits(const PreTokenStep& step, std::string_view text,
                  std::vector<std::string_view>* pieces) {
  PreTokenStep split = step;
  using Behaviour = PreTokenStep::Behaviour;
  split.behaviour = step.individual ? Behaviour::kIsolated : Behaviour::kContiguous;
  Splitter splitter(split, text, pieces);
  for (size_t at = 0; at < text.size();) {
    const Char c = char_at(text, at);
    if (c.type == CharClass::kNumber) splitter.match(at, at + c.bytes);
    at += c.bytes;
  }
  splitter.finish();
}

void split_metaspace(const PreTokenStep& step, std::string_view text, bool at_start,
                     PreTokenScratch* scratch, std::vector<std::string_view>* pieces) {
  std::string& changed = scratch->texts.emplace_back();
  const std::string& mark = step.replacement;
  const bool has_mark = text.substr(0, 1) == " " || text.substr(0, mark.size()) == mark;
  const bool wanted = step.prefix == PreTokenStep::Prefix::kAlways ||
                      (step.prefix == PreTokenStep::Prefix::kFirst && at_start);
  if (wanted && !has_mark) changed = mark;
  for (const char c : text) c == ' ' ? changed += mark : changed += c;
  if (!step.split) {
    pieces->push_back(changed);
    return;
  }
  PreTokenStep split = step;
  split.behaviour = PreTokenStep::Behaviour::kMergedAfter;
  Splitter splitter(split, changed, pieces);
  for (size_t at = 0; (at = changed.find(mark, at)) != std::string::npos; at += mark.size()) {
    splitter.match(at, at + mark.size());
  }
  splitter.finish();
}

void apply_step(const PreTokenStep& step, std::string_view text, bool at_start,
                PreTokenScratch* scratch, std::vector<std::string_view>* pieces) {
  switch (step.kind) {
    case PreTokenStep::Kind::kSplit:
      if (step.known) return split_known(step, text, pieces);
      {
        Splitter splitter(step, text, pieces);
        Regex::Search search(*step.pattern, text);
        for (size_t begin, end; search.next(&begin, &end);) splitter.match(begin, end);
        return splitter.finish();
      }
    case PreTokenStep::Kind::kDigits:
      return split_digits(step, text, pieces);
    case PreTokenStep::Kind::kPrefixSpace:
      if (text[0] == ' ') {
        pieces->push_back(text);
      } else {
        pieces->push_back(scratch->texts.emplace_back(" " + std::string(text)));
      }
      return;
    case PreTokenStep::Kind::kMetaspace:
      return split_metaspace(step, text, at_start, scratch, pieces);
  }
}

}  // namespace

std::string_view pattern_text(KnownPattern pattern) {
  return kKnown[static_cast<size_t>(pattern)].text;
}

std::optional<KnownPattern> find_known_pattern(std::string_view text) {
  for (size_t i = 0; i < kKnown.size(); ++i) {
    if (kKnown[i].text == text) return static_cast<KnownPattern>(i);
  }
  return std::nullopt;
}

size_t next_piece(KnownPattern pattern, std::string_view text, size_t from) {
  const uint32_t max_digits = kKnown[static_cast<size_t>(pattern)].max_digits;
  return max_digits == 0 ? next_gpt2_piece(text, from) : next_llama3_piece(text, from, max_digits);
}

void pre_tokenize(const std::vector<PreTokenStep>& steps, std::string_view text, bool at_start,
                  PreTokenScratch* scratch, std::vector<std::string_view>* pieces) {
  if (text.empty()) return;
  if (steps.size() == 1) return apply_step(steps[0], text, at_start, scratch, pieces);
  std::vector<std::string_view> current = {text};
  for (const PreTokenStep& step : steps) {
    scratch->pieces.clear();
    bool first = at_start;
    for (const std::string_view piece : current) {
      apply_step(step, piece, first, scratch, &scratch->pieces);
      first = false;
    }
    std::swap(current, scratch->pieces);
  }
  pieces->insert(pieces->end(), current.begin(), current.end());
}

}  // namespace lowbit
