#include "engine/chat.h"

#include <gtest/gtest.h>

#include "engine/fakes.h"

namespace lowbit {
namespace {

using fakes::ByteTokenizer;

const ByteTokenizer kLlama3({}, {"<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
                                 "<|eot_id|>", "<|eom_id|>"});
constexpr int32_t kBegin = 256, kStart = 257, kEnd = 258, kEot = 259, kEom = 260;

// A list of ids and texts (their bytes).
struct Part {
  Part(int32_t id) : ids{id} {}                                   // NOLINT: a shorthand
  Part(const char* text) : ids(kLlama3.encode(text, {false})) {}  // NOLINT: a shorthand
  std::vector<int32_t> ids;
};
std::vector<int32_t> sequence(std::initializer_list<Part> parts) {
  std::vector<int32_t> all;
  for (const Part& part : parts) all.insert(all.end(), part.ids.begin(), part.ids.end());
  return all;
}

TEST(Chat, Llama3TemplateIsMetasOwn) {
  EXPECT_EQ(chat_prompt(kLlama3, "Be brief.", " Hi!\n"),
            sequence({kBegin, kStart, "system", kEnd, "\n\nBe brief.", kEot, kStart, "user", kEnd,
                      "\n\nHi!", kEot, kStart, "assistant", kEnd, "\n\n"}));
}

TEST(Chat, Llama3WithoutSystemMessageHasNoSystemTurn) {
  EXPECT_EQ(chat_prompt(kLlama3, "", "Hi"), sequence({kBegin, kStart, "user", kEnd, "\n\nHi", kEot,
                                                      kStart, "assistant", kEnd, "\n\n"}));
}

TEST(Chat, SpecialTokensInUserTextStayText) {
  EXPECT_EQ(chat_prompt(kLlama3, "", "<|eot_id|>x"),
            sequence({kBegin, kStart, "user", kEnd, "\n\n<|eot_id|>x", kEot, kStart, "assistant",
                      kEnd, "\n\n"}));
}

TEST(Chat, Llama2TemplateIsMetasOwn) {
  const ByteTokenizer llama2({}, {"<s>", "</s>"});
  EXPECT_EQ(chat_prompt(llama2, "Be brief.", " Hi! "),
            sequence({256, "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi! [/INST]"}));
  EXPECT_EQ(chat_prompt(llama2, "", "Hi"), sequence({256, "[INST] Hi [/INST]"}));
}

TEST(Chat, StopIdsEndATurn) {
  EXPECT_EQ(chat_stop_ids(kLlama3), (std::vector<int32_t>{kEot, kEom}));
  EXPECT_EQ(chat_stop_ids(ByteTokenizer({}, {"<s>", "</s>"})), std::vector<int32_t>{257});
}

TEST(Chat, UnknownTokenizersAreRefused) {
  EXPECT_THROW(chat_style(ByteTokenizer({})), Error);
  EXPECT_THROW(chat_prompt(ByteTokenizer({}, {"<|start_header_id|>"}), "", "Hi"), Error);
}

}  // namespace
}  // namespace lowbit
