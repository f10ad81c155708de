#include "base/text.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/hash.h"
#include "base/utf8.h"

namespace lowbit {
namespace {

TEST(Text, SuggestsNearNames) {
  EXPECT_EQ(suggestion("int5", {"int8", "int4", "bf16"}), ", did you mean `int8` or `int4`?");
  EXPECT_EQ(suggestion("wieghts", {"weights", "model"}), ", did you mean `weights`?");
  EXPECT_EQ(suggestion("INT4", {"int4", "bf16"}), ", did you mean `int4`?");
  EXPECT_EQ(suggestion("zzzzzz", {"weights"}), "");
}

// The numbers of Noll's own tables.
TEST(Hash, IsFnv1a) {
  static_assert(fnv1a("") == 0xcbf29ce484222325u);
  static_assert(fnv1a("a") == 0xaf63dc4c8601ec8cu);
  EXPECT_EQ(fnv1a("foobar"), 0x85944171f73967e8u);
  const std::vector<int32_t> words = {0x6f6f66, 0};
  EXPECT_EQ(fnv1a(std::span<const int32_t>(words)), fnv1a(std::string_view("foo\0\0\0\0\0", 8)));
}

TEST(Text, ParsesWholeStringsOnly) {
  EXPECT_EQ(parse_int("-12"), -12);
  EXPECT_FALSE(parse_int("12x"));
  EXPECT_FALSE(parse_int(""));
  EXPECT_FALSE(parse_int("99999999999999999999"));
  EXPECT_DOUBLE_EQ(parse_double("1e-5").value(), 1e-5);
}

TEST(Text, PrintableHidesControlAndBrokenBytes) {
  EXPECT_EQ(printable("a\nb\xff"
                      "c\xc3\xa9"),
            "a\\x0ab\\xffc\xc3\xa9");
  EXPECT_EQ(printable("abcdef", 3), "abc...");
}

TEST(Text, ListsTheFirstOnLinesOfTheirOwn) {
  EXPECT_EQ(list_lines("two", {"a", "b"}), "two:\n  a\n  b");
  EXPECT_EQ(list_lines("five", {"a", "b", "c", "d", "e"}), "five:\n  a\n  b\n  c\n  d\n  e");
  const std::string six = list_lines("six", {"a", "b", "c", "d", "e", "f"});
  EXPECT_EQ(six, "six:\n  a\n  b\n  c\n  d\n  and 2 more");
  EXPECT_EQ(one_line(six), "six: a; b; c; d; and 2 more");
}

TEST(Utf8, EveryCodePointRoundTrips) {
  for (uint32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    append_utf8(&text, c);
    const Utf8Char back = decode_utf8(text);
    ASSERT_TRUE(back.valid && back.code_point == c && back.bytes == text.size()) << c;
  }
}

TEST(Utf8, BrokenSequencesBecomeOneReplacementEach) {
  EXPECT_EQ(replace_invalid_utf8("\xed\xa0\x80"), "\uFFFD\uFFFD\uFFFD");  // surrogate
  EXPECT_EQ(replace_invalid_utf8("\xf0\x9f\x98"), "\uFFFD");              // cut emoji
  EXPECT_EQ(replace_invalid_utf8("\xc0\xaf x"), "\uFFFD\uFFFD x");        // overlong
  EXPECT_EQ(replace_invalid_utf8("\xf4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_FALSE(is_valid_utf8("\x80"));
  EXPECT_TRUE(is_valid_utf8("na\xc3\xafve"));
}

}  // namespace
}  // namespace lowbit
