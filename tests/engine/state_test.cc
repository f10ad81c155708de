#include "engine/state.h"

#include <gtest/gtest.h>

#include <set>

#include "base/check.h"
#include "ref/backend.h"

namespace lowbit {
namespace {

constexpr int32_t kPage = StateStore::kPageTokens;

StateStore store(int32_t sequences, int32_t max_context) {
  return {
      ref_backend(), {{"kv", format_of(FormatId::kF16), 3, 2, 8, true}}, sequences, max_context};
}

// The pages that a sequence of `length` tokens uses.
std::vector<int32_t> pages(const StateStore& s, int32_t sequence) {
  const KvView& kv = s.view().kv[0];
  const int32_t* row = kv.page_table + int64_t{sequence} * kv.max_pages;
  return {row, row + (s.length(sequence) + kPage - 1) / kPage};
}

TEST(StateStore, SequencesNeverShareAPage) {
  StateStore s = store(3, 4 * kPage);
  s.reserve(0, kPage + 1);
  s.reserve(1, 4 * kPage);
  s.reserve(0, 4 * kPage);
  s.reserve(2, 1);
  std::set<int32_t> seen;
  for (const int32_t sequence : {0, 1, 2}) {
    for (const int32_t page : pages(s, sequence)) {
      EXPECT_TRUE(seen.insert(page).second) << page;
      EXPECT_LT(page, 3 * 4);
    }
  }
  EXPECT_EQ(seen.size(), 9u);
}

TEST(StateStore, TruncatedPagesServeOthersAndTheRestStays) {
  StateStore s = store(2, 2 * kPage);
  s.reserve(0, 2 * kPage);
  const std::vector<int32_t> before = pages(s, 0);
  s.truncate(0, kPage);
  EXPECT_EQ(s.length(0), kPage);
  EXPECT_EQ(pages(s, 0), std::vector<int32_t>{before[0]});
  s.reserve(1, 1);
  EXPECT_EQ(pages(s, 1), std::vector<int32_t>{before[1]});  // the one that was given back
  s.reserve(0, 2 * kPage);
  EXPECT_NE(pages(s, 0)[1], pages(s, 1)[0]);
}

TEST(StateStore, TruncatingInsideAPageKeepsIt) {
  StateStore s = store(1, 2 * kPage);
  s.reserve(0, kPage + 5);
  const std::vector<int32_t> before = pages(s, 0);
  s.truncate(0, kPage + 1);
  EXPECT_EQ(pages(s, 0), before);
  s.truncate(0, 0);
  EXPECT_TRUE(pages(s, 0).empty());
}

TEST(StateStore, ASequenceCannotOutgrowTheContext) {
  StateStore s = store(1, 10);
  s.reserve(0, 10);
  EXPECT_THROW(s.reserve(0, 11), Error);
  EXPECT_EQ(s.length(0), 10);
}

TEST(StateStore, BytesCountKeysAndValuesOfAllLayers) {
  const StateStore s = store(2, 2 * kPage);
  EXPECT_EQ(s.bytes_per_token(), 2u * 3 * 2 * 8 * 2);
  EXPECT_EQ(s.bytes(), s.bytes_per_token() * 2 * 2 * kPage);
}

// Codes, scales and zeros, of each head of each token.
TEST(StateStore, BytesCountScalesAndZeros) {
  const struct {
    const char* format;
    size_t head_bytes;  // of 80 numbers
  } kRows[] = {{"f32", 320},          {"bf16", 160},     {"int8", 80 + 2},
               {"fp8", 80 + 2},       {"fp8-sf32", 84},  {"int8-g32", 80 + 3 * 2},
               {"int4", 40 + 2 * 4},  {"mxfp8", 80 + 3}, {"mxfp4", 40 + 3},
               {"mxfp6-e3m2", 60 + 3}};
  for (const auto& row : kRows) {
    const StateSpec spec{"kv", parse_cache_format(row.format), 3, 2, 80, true};
    const StateStore s(ref_backend(), {spec}, 2, 2 * kPage);
    EXPECT_EQ(s.bytes_per_token(), 2u * 3 * 2 * row.head_bytes) << row.format;
    EXPECT_EQ(s.bytes(), s.bytes_per_token() * 2 * 2 * kPage) << row.format;
  }
}

}  // namespace
}  // namespace lowbit
