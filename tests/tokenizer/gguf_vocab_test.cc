// The same tokenizer through GGUF's fields gives the same ids as its own file.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/file.h"
#include "tokenizer/spec.h"
#include "tokenizer/strings.h"

namespace lowbit {
namespace {

GgufVocab from_json(const std::string& path, const std::string& pre) {
  const auto json = nlohmann::json::parse(map_file(path).text());
  GgufVocab vocab;
  vocab.source = "model.gguf";
  vocab.model = "gpt2";
  vocab.pre = pre;
  const auto& tokens = json["model"]["vocab"];
  vocab.tokens.resize(tokens.size() + json["added_tokens"].size());
  vocab.types.assign(vocab.tokens.size(), 1);
  for (const auto& [token, id] : tokens.items()) vocab.tokens[id] = token;
  for (const auto& added : json["added_tokens"]) {
    vocab.tokens[added["id"]] = added["content"];
    vocab.types[added["id"]] = added["special"] ? 3 : 4;
  }
  for (const auto& merge : json["model"]["merges"]) {
    vocab.merges.push_back(merge.is_array()
                               ? merge[0].get<std::string>() + " " + merge[1].get<std::string>()
                               : merge.get<std::string>());
  }
  return vocab;
}

GgufVocab from_sentencepiece(const SpmSpec& spec) {
  GgufVocab vocab;
  vocab.source = "model.gguf";
  vocab.model = "llama";
  for (const SpmPiece& piece : spec.pieces) {
    vocab.tokens.push_back(piece.text);
    vocab.scores.push_back(piece.score);
    vocab.types.push_back(static_cast<int32_t>(piece.type));
  }
  vocab.bos = 1;
  vocab.eos = 2;
  return vocab;
}

void expect_same_ids(const Tokenizer& a, const Tokenizer& b) {
  for (size_t i = 0; i < test_strings().size(); i += 3) {
    const std::string& text = test_strings()[i];
    const auto ids = a.encode(text, {.add_bos = false});
    ASSERT_EQ(ids, b.encode(text, {.add_bos = false})) << i;
    ASSERT_EQ(a.decode(ids), b.decode(ids)) << i;
  }
}

TEST(GgufVocab, Gpt2ModelEqualsItsTokenizerJson) {
  const std::string path = golden_path("tiny-llama3/tokenizer.json");
  BpeSpec spec = parse_tokenizer_json(path, map_file(path).text());
  // GGUF has no flags for added tokens.
  for (AddedToken& token : spec.added) {
    token.lstrip = token.rstrip = token.single_word = token.normalized = false;
  }
  const auto from_file = make_bpe_tokenizer(spec);
  GgufVocab vocab = from_json(path, "llama-bpe");
  vocab.bos = *from_file->special_id("<s>");
  vocab.eos = *from_file->special_id("</s>");
  const auto from_gguf = make_gguf_tokenizer(vocab);
  expect_same_ids(*from_file, *from_gguf);
  EXPECT_EQ(from_gguf->encode("a").at(0), vocab.bos);
  EXPECT_EQ(from_gguf->eos(), std::vector<int32_t>{static_cast<int32_t>(*vocab.eos)});
}

TEST(GgufVocab, LlamaModelEqualsItsSentencepieceModel) {
  const std::string path = golden_path("tiny-spm/tokenizer.model");
  const SpmSpec spec = parse_sentencepiece(path, map_file(path).text());
  expect_same_ids(*make_spm_tokenizer(spec), *make_gguf_tokenizer(from_sentencepiece(spec)));
}

std::string message_of(const GgufVocab& vocab) {
  try {
    make_gguf_tokenizer(vocab);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(GgufVocab, WrongFieldsAreNamed) {
  const GgufVocab bpe = from_json(golden_path("tiny-llama3/tokenizer.json"), "llama-bpe");
  const std::string path = golden_path("tiny-spm/tokenizer.model");
  const GgufVocab spm = from_sentencepiece(parse_sentencepiece(path, map_file(path).text()));
  const auto expect = [](GgufVocab vocab, const auto& change, const std::string& message) {
    change(vocab);
    const std::string error = message_of(vocab);
    EXPECT_NE(error.find(message), std::string::npos) << error;
    EXPECT_TRUE(error.starts_with("model.gguf: ")) << error;
  };
  expect(
      bpe, [](auto& v) { v.pre = "command-r"; },
      "tokenizer.ggml.pre \"command-r\" is not supported; known are llama-bpe, ");
  expect(
      bpe, [](auto& v) { v.model = "bert"; }, "tokenizer.ggml.model is \"bert\"");
  expect(
      bpe, [](auto& v) { v.merges[0] = "ab"; }, "tokenizer.ggml.merges: entry 0 is not");
  expect(
      bpe, [](auto& v) { v.merges[0] = "zzz yyy"; }, "\"zzz\" is not in the vocabulary");
  expect(
      bpe, [](auto& v) { v.bos = -1; }, "tokenizer.ggml.bos_token_id: id -1 is outside");
  expect(
      bpe, [](auto& v) { v.eos = int64_t{1} << 40; }, "eos_token_id: id 1099511627776");
  expect(
      bpe, [](auto& v) { v.types.pop_back(); }, "token_type has");
  expect(
      bpe, [](auto& v) { v.types[3] = 77; }, "token 3 has type 77");
  expect(
      bpe, [](auto& v) { v.tokens.clear(); }, "tokenizer.ggml.tokens is empty");
  expect(
      bpe,
      [](auto& v) {
        v.tokens[300] = "\xFF\xFE";
        v.types[300] = 4;
        v.merges.clear();
      },
      "is not UTF-8");
  expect(
      spm, [](auto& v) { v.scores.pop_back(); }, "tokenizer.ggml.scores has");
  expect(
      spm, [](auto& v) { v.tokens[500] = "\xFF"; }, "piece 500 is not UTF-8");
  expect(
      spm, [](auto& v) { v.tokens[500] = v.tokens[501]; }, "are the same");
}

}  // namespace
}  // namespace lowbit
