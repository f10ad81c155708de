#include "bench/wikitext.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/file.h"
#include "base/rng.h"
#include "cpu/backend.h"
#include "engine/loaded_model.h"
#include "engine/perplexity.h"

namespace lowbit {
namespace {

TEST(Wikitext, PagesBeginAtHeadingsOfTheFirstLevel) {
  const std::string text =
      " \n = One = \n \n Text of one . \n = = Part = = \n more \n = Two = \n \n Text of two . \n";
  const std::vector<std::string> pages = wikitext_pages(text);
  ASSERT_EQ(pages.size(), 2u);
  EXPECT_EQ(pages[0], " = One = \n \n Text of one . \n = = Part = = \n more ");
  EXPECT_EQ(pages[1], " = Two = \n \n Text of two . \n");
  EXPECT_EQ(wikitext_pages("no headings\nat all").size(), 1u);
  EXPECT_TRUE(wikitext_pages(" \n \n").empty());
}

TEST(Wikitext, BlanksAroundMarksGo) {
  EXPECT_EQ(
      wikitext_plain(" = = Early life = = \n He ( born 1 @,@ 990 ) said : \" yes \" , twice . "),
      " == Early life ==\nHe (born 1,990) said: \"yes\", twice. ");
  EXPECT_EQ(wikitext_plain("a well @-@ known dog 's 3 @.@ 5 \u00b0 C [ sic ] ; N dogs ' tails"),
            "a well-known dog's 3.5\u00b0C [sic]; 1 dogs' tails");
  EXPECT_EQ(wikitext_plain("an open ( bracket"), "an open ( bracket");
}

TEST(Wikitext, WordsAreCountedBetweenRunsOfWhiteSpace) {
  EXPECT_EQ(wikitext_words("one two  three"), 3);
  EXPECT_EQ(wikitext_words(" one\n two \n"), 4);  // an empty piece at each end
  EXPECT_EQ(wikitext_words(""), 1);
}

// Every token of a page is scored once, with as much before it as its window holds.
TEST(Wikitext, RollingWindowsScoreEveryTokenOnce) {
  const LoadedModel loaded = load(LB_SOURCE_DIR "/models/prose-7m", cpu_backend(), {});
  const Rng rng(1);
  constexpr int32_t kStart = 1, kLength = 8;
  std::vector<int32_t> tokens;
  for (uint64_t i = 0; i < 21; ++i) {
    tokens.push_back(
        static_cast<int32_t>(rng.bits(i) % static_cast<uint64_t>(loaded.model->vocab_size())));
  }
  Stepper stepper(*loaded.model, *loaded.backend, {.max_context = 32});
  // -ln p of tokens[begin, end) after everything from `from` on, one forward pass.
  const auto direct = [&](int32_t from, int32_t begin, int32_t end) {
    std::vector<int32_t> window;
    for (int32_t i = from; i < end; ++i) window.push_back(i == 0 ? kStart : tokens[i - 1]);
    window.push_back(tokens[static_cast<size_t>(end) - 1]);
    const Scores scores =
        score(stepper, nullptr, window, {.ctx = static_cast<int32_t>(window.size())});
    return std::accumulate(scores.nll.begin() + (begin - from), scores.nll.end(), 0.0);
  };
  const RollingScore rolling = score_rolling(stepper, tokens, kStart, kLength);
  EXPECT_EQ(rolling.tokens, 21);
  EXPECT_NEAR(rolling.nll, direct(0, 0, 8) + direct(8, 8, 16) + direct(13, 16, 21), 1e-3);
  const RollingScore whole = score_rolling(stepper, tokens, kStart, 31);
  EXPECT_NEAR(whole.nll, direct(0, 0, 21), 1e-3);
  EXPECT_EQ(score_rolling(stepper, {}, kStart, 8).nll, 0);
}

}  // namespace
}  // namespace lowbit
