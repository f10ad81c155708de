#include "tokenizer/pretokenize.h"

#include <gtest/gtest.h>
#include <utf8proc.h>

#include "base/check.h"
#include "base/text.h"
#include "base/utf8.h"
#include "tokenizer/chars.h"
#include "tokenizer/strings.h"

namespace lowbit {
namespace {

constexpr KnownPattern kPatterns[] = {KnownPattern::kLlama3, KnownPattern::kQwen2,
                                      KnownPattern::kGpt2};

std::vector<std::string_view> pieces_by_pcre2(const Regex& regex, std::string_view text) {
  std::vector<std::string_view> pieces;
  Regex::Search search(regex, text);
  for (size_t begin, end; search.next(&begin, &end);) {
    pieces.push_back(text.substr(begin, end - begin));
  }
  return pieces;
}

std::vector<std::string_view> pieces_by_hand(KnownPattern pattern, std::string_view text) {
  std::vector<std::string_view> pieces;
  for (size_t at = 0; at < text.size();) {
    const size_t end = next_piece(pattern, text, at);
    pieces.push_back(text.substr(at, end - at));
    at = end;
  }
  return pieces;
}

TEST(PreTokenize, HandWrittenPatternsCutAsPcre2Does) {
  for (const KnownPattern pattern : kPatterns) {
    const Regex regex("test", pattern_text(pattern));
    for (const std::string& raw : test_strings()) {
      const std::string text = replace_invalid_utf8(raw);
      ASSERT_EQ(pieces_by_hand(pattern, text), pieces_by_pcre2(regex, text))
          << pattern_text(pattern) << " on " << printable(text, 2000);
    }
  }
}

// Every string of up to 6 characters, one of each kind that the patterns tell apart.
TEST(PreTokenize, HandWrittenPatternsCutAllShortStringsAsPcre2Does) {
  const std::vector<std::string> letters = {"a", "S", "'", " ", "\n", "\t", "1", "!", "\u00A0"};
  for (const KnownPattern pattern : kPatterns) {
    const Regex regex("test", pattern_text(pattern));
    for (size_t length = 1; length <= 6; ++length) {
      size_t count = 1;
      for (size_t i = 0; i < length; ++i) count *= letters.size();
      for (size_t code = 0; code < count; code += length < 6 ? 1 : 7) {
        std::string text;
        for (size_t i = 0, rest = code; i < length; ++i, rest /= letters.size()) {
          text += letters[rest % letters.size()];
        }
        ASSERT_EQ(pieces_by_hand(pattern, text), pieces_by_pcre2(regex, text)) << printable(text);
      }
    }
  }
}

// utf8proc 2.8 knows Unicode 15.0, PCRE2 10.42 knows 14.0: they may differ only where PCRE2 takes a
// character for unassigned.
TEST(PreTokenize, UnicodeTablesAgreeOnWhatBothKnow) {
  const Regex letters("test", "\\p{L}"), numbers("test", "\\p{N}"), spaces("test", "\\s");
  const Regex unassigned("test", "\\p{Cn}");
  const auto matches = [](const Regex& regex, const std::string& text) {
    size_t begin, end;
    return Regex::Search(regex, text).next(&begin, &end);
  };
  size_t newer = 0;
  for (uint32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    append_utf8(&text, c);
    const CharClass by_pcre2 = matches(letters, text)   ? CharClass::kLetter
                               : matches(numbers, text) ? CharClass::kNumber
                               : matches(spaces, text)  ? CharClass::kSpace
                                                        : CharClass::kOther;
    const bool equal = char_class(c) == by_pcre2 && unicode_char_class(c) == char_class(c);
    if (!equal && matches(unassigned, text)) {
      ++newer;
      continue;
    }
    ASSERT_TRUE(equal) << fmt::format("U+{:04X}", c);
  }
  EXPECT_LT(newer, 10000u);
}

std::vector<std::string> cut(const PreTokenStep& step, std::string_view text) {
  PreTokenScratch scratch;
  std::vector<std::string_view> pieces;
  pre_tokenize({step}, text, true, &scratch, &pieces);
  return {pieces.begin(), pieces.end()};
}

TEST(PreTokenize, BehavioursAreThoseOfTheLibrary) {
  using Behaviour = PreTokenStep::Behaviour;
  using Pieces = std::vector<std::string>;
  PreTokenStep step;
  step.pattern = std::make_shared<Regex>("test", "-");
  const auto with = [&](Behaviour behaviour) {
    step.behaviour = behaviour;
    return cut(step, "the-final--countdown");
  };
  // The example of the tokenizers documentation.
  EXPECT_EQ(with(Behaviour::kRemoved), (Pieces{"the", "final", "countdown"}));
  EXPECT_EQ(with(Behaviour::kIsolated), (Pieces{"the", "-", "final", "-", "-", "countdown"}));
  EXPECT_EQ(with(Behaviour::kMergedBefore), (Pieces{"the-", "final-", "-", "countdown"}));
  EXPECT_EQ(with(Behaviour::kMergedAfter), (Pieces{"the", "-final", "-", "-countdown"}));
  EXPECT_EQ(with(Behaviour::kContiguous), (Pieces{"the", "-", "final", "--", "countdown"}));
}

TEST(Regex, SpacesAreUnicodeWhiteSpaceOnly) {
  const Regex space("test", "\\s"), other("test", "[^\\s]");
  size_t begin, end;
  EXPECT_TRUE(Regex::Search(space, "\u3000").next(&begin, &end));
  EXPECT_FALSE(Regex::Search(space, "\u180E").next(&begin, &end));
  EXPECT_TRUE(Regex::Search(other, "\u180E").next(&begin, &end));
}

TEST(Regex, EmptyMatchesStepOverWholeCharacters) {
  const std::string text = "\u00E9\u00E9";
  const Regex regex("test", "x*");
  Regex::Search search(regex, text);
  size_t begin, end, count = 0;
  while (search.next(&begin, &end)) {
    EXPECT_EQ(begin % 2, 0u);
    ++count;
  }
  EXPECT_EQ(count, 3u);
}

}  // namespace
}  // namespace lowbit
