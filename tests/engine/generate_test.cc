#include "engine/generate.h"

#include <gtest/gtest.h>

#include "engine/fakes.h"
#include "ref/backend.h"

namespace lowbit {
namespace {

using fakes::ByteTokenizer;

const ByteTokenizer kTokenizer({"one ST", "OP two", "STO", "P"});
constexpr int32_t kOneSt = 256, kOpTwo = 257, kSto = 258, kP = 259, kEos = 299, kVocab = 300;
const std::vector<int32_t> kPrompt = {1, 2, 3};

struct Run : GenerateListener {
  GenerateResult result;
  std::vector<std::string> pieces;
  std::string text;
  int32_t calls = 0;
  std::atomic<bool> interrupted{false};
  int32_t interrupt_after = 1 << 30;

  void on_token(int32_t, const std::string& piece) override {
    pieces.push_back(piece);
    text += piece;
    if (++calls >= interrupt_after) interrupted = true;
  }
  void go(const std::vector<int32_t>& script, const GenerateOptions& options,
          int32_t context = 100) {
    const fakes::FakeModel model =
        fakes::scripted(script, static_cast<int32_t>(kPrompt.size()), kVocab, context);
    Stepper stepper(model, ref_backend(), {});
    result = generate(stepper, kPrompt, options, &kTokenizer, this, &interrupted);
  }
};

std::vector<int32_t> bytes(std::string_view text) { return kTokenizer.encode(text, {false}); }

TEST(Generate, ReadsOutTheMostLikelyTokens) {
  Run run;
  run.go(bytes("abcdef"), {.max_new_tokens = 4});
  EXPECT_EQ(run.text, "abcd");
  EXPECT_EQ(run.result.ids, bytes("abcd"));
  EXPECT_EQ(run.result.stopped, StopReason::kMaxNewTokens);
  EXPECT_EQ(run.result.decode_steps, 3);  // the first token comes from the prefill
}

TEST(Generate, StopIdEndsAndIsNotPrinted) {
  Run run;
  run.go({'a', kEos, 'b'}, {.stop_ids = {kEos}});
  EXPECT_EQ(run.text, "a");
  EXPECT_EQ(run.result.ids, std::vector<int32_t>{'a'});
  EXPECT_EQ(run.result.stopped, StopReason::kStopId);
  EXPECT_EQ(run.result.decode_steps, 1);
}

TEST(Generate, StopTextAcrossTokensIsCutOut) {
  Run run;
  run.go({kOneSt, kOpTwo, 'x'}, {.stop = {"STOP"}});
  EXPECT_EQ(run.text, "one ");
  EXPECT_EQ(run.result.stopped, StopReason::kStopText);
  EXPECT_EQ(run.pieces[0], "one ");  // "ST" was held back
}

TEST(Generate, StopTextSpreadOverManyTokens) {
  Run run;
  run.go(bytes("say STOP now"), {.stop = {"never", "STOP"}});
  EXPECT_EQ(run.text, "say ");
}

TEST(Generate, HeldBackTextComesWhenItTurnsOutHarmless) {
  Run run;
  run.go({kSto, 'x', 'y'}, {.max_new_tokens = 3, .stop = {"STOP"}});
  EXPECT_EQ(run.text, "STOxy");
  EXPECT_EQ(run.pieces[0], "");
}

TEST(Generate, HeldBackTextComesAtTheEnd) {
  Run run;
  run.go({'a', kSto}, {.max_new_tokens = 2, .stop = {"STOP"}});
  EXPECT_EQ(run.text, "aSTO");
  EXPECT_EQ(run.result.stopped, StopReason::kMaxNewTokens);
}

TEST(Generate, TheEarliestStopTextWins) {
  Run run;
  run.go({'x', kSto, kP}, {.stop = {"OP", "STOP"}});
  EXPECT_EQ(run.text, "x");
}

TEST(Generate, CharactersComeWhole) {
  Run run;
  run.go(bytes("\xf0\x9f\x98\x80!"), {.max_new_tokens = 5});
  EXPECT_EQ(run.pieces, (std::vector<std::string>{"", "", "", "\xf0\x9f\x98\x80", "!"}));
}

TEST(Generate, ABrokenCharacterAtTheEndIsReplaced) {
  Run run;
  run.go(bytes("a\xf0\x9f"), {.max_new_tokens = 3});
  EXPECT_EQ(run.text, "a\uFFFD");
}

TEST(Generate, StopsWhenTheContextIsFull) {
  Run run;
  run.go({'a'}, {.max_new_tokens = 50}, 8);
  EXPECT_EQ(run.result.stopped, StopReason::kContextFull);
  EXPECT_EQ(run.result.ids.size(), 8 - kPrompt.size() + 1);  // the last one need not be stored
}

TEST(Generate, AnInterruptKeepsWhatIsThere) {
  Run run;
  run.interrupt_after = 2;
  run.go(bytes("abcdef"), {});
  EXPECT_EQ(run.text, "ab");
  EXPECT_EQ(run.result.stopped, StopReason::kInterrupted);
}

TEST(Generate, BadPromptsAreRefused) {
  const fakes::FakeModel model = fakes::scripted({'a'}, 1, kVocab, 4);
  Stepper stepper(model, ref_backend(), {});
  const auto run = [&](const std::vector<int32_t>& prompt, const GenerateOptions& options,
                       const Tokenizer* tokenizer) {
    generate(stepper, prompt, options, tokenizer, nullptr);
  };
  EXPECT_THROW(run({}, {}, nullptr), Error);
  EXPECT_THROW(run({1, 2, 3, 4, 5}, {}, nullptr), Error);
  EXPECT_THROW(run({kVocab}, {}, nullptr), Error);
  EXPECT_THROW(run({-1}, {}, nullptr), Error);
  EXPECT_THROW(run({1}, {.stop = {"x"}}, nullptr), Error);
}

TEST(Generate, ASeedGivesTheSameTextAgainAndAnotherSeedAnother) {
  const fakes::FakeModel flat(kVocab, 100, [](int32_t, int32_t, float*) {});
  const auto draw = [&](uint64_t seed) {
    Stepper stepper(flat, ref_backend(), {});
    const GenerateOptions options{.sampling = {1, 0, 1, seed}, .max_new_tokens = 30};
    return generate(stepper, kPrompt, options, nullptr, nullptr).ids;
  };
  EXPECT_EQ(draw(1), draw(1));
  EXPECT_NE(draw(1), draw(2));
}

}  // namespace
}  // namespace lowbit
