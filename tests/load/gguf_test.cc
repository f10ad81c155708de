// Against files written by the `gguf` package: scripts/golden/gguf_model.py.
#include "load/gguf.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "formats/codec.h"
#include "load/checkpoint.h"
#include "load/containers.h"
#include "load/files.h"
#include "load/gguf_blocks.h"
#include "load/hash.h"
#include "load/json.h"
#include "load/safetensors.h"

namespace lowbit {
namespace {

const std::string kGolden = LB_SOURCE_DIR "/tests/golden/gguf/";

struct Shape {
  int64_t n, k;
};
Shape shape_of(const std::string& name) {
  const auto is = [&](std::string_view part) { return name.find(part) != std::string::npos; };
  if (is("norm")) return {1, 32};
  if (is("embed") || is("lm_head")) return {288, 32};
  if (is("k_proj") || is("v_proj")) return {32, 32};
  if (is("down_proj") || is("o_proj")) return {32, 64};
  return {64, 32};
}

// The shapes of blocks.gguf.
Shape wide_shape_of(const std::string& name) {
  const auto is = [&](std::string_view part) { return name.find(part) != std::string::npos; };
  if (is("norm")) return {1, 256};
  if (is("embed")) return {288, 256};
  if (is("q_proj")) return {64, 256};
  if (is("k_proj") || is("v_proj")) return {32, 256};
  if (is("o_proj")) return {256, 64};
  return {256, 256};
}

class GoldenGguf : public testing::TestWithParam<const char*> {};

TEST_P(GoldenGguf, TensorsEqualThoseOfTheGgufPackageInHuggingFaceOrder) {
  const std::string file = GetParam();
  const auto expected =
      parse_json("expected.json", map_file(kGolden + "expected.json").text())[file];
  ASSERT_GE(expected.size(), 20u);
  const auto checkpoint = open_checkpoint(kGolden + file);
  for (const auto& [name, golden] : expected.items()) {
    const auto [n, k] = shape_of(name);
    EXPECT_EQ(hash_of_numbers(checkpoint->tensor(name, n, k)), golden.get<std::string>()) << name;
    EXPECT_TRUE(checkpoint->has(name));
  }
}

TEST_P(GoldenGguf, HyperparametersEqualThoseOfTheHuggingFaceFolder) {
  const std::string file = GetParam();
  const auto source = open_checkpoint(kGolden + "source");
  const auto checkpoint = open_checkpoint(kGolden + file);
  const Hyperparams &a = source->config(), &b = checkpoint->config();
  for (const char* key :
       {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
        "num_attention_heads", "num_key_value_heads", "head_dim", "max_position_embeddings"}) {
    EXPECT_EQ(a.integer(key, 1, 1 << 20), b.integer(key, 1, 1 << 20)) << key;
  }
  for (const char* key : {"rms_norm_eps", "rope_theta"}) {
    EXPECT_EQ(a.number(key, 0, 1e9), b.number(key, 0, 1e9)) << key;
  }
  EXPECT_EQ(b.text("model_type"), "llama");
  EXPECT_EQ(b.texts_or("architectures"), a.texts_or("architectures"));
  EXPECT_EQ(b.boolean_or("tie_word_embeddings", false), !checkpoint->has("lm_head.weight"));
}

INSTANTIATE_TEST_SUITE_P(Files, GoldenGguf,
                         testing::Values("source", "f32.gguf", "f16.gguf", "bf16.gguf", "q8_0.gguf",
                                         "q4_0.gguf", "q4_0-untied-spm.gguf"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace_if(
                               name.begin(), name.end(), [](char c) { return !std::isalnum(c); },
                               '_');
                           return name;
                         });

TEST(Gguf, FormatsAreThoseOfTheFile) {
  const auto format_in = [](const std::string& file) {
    return name(open_checkpoint(kGolden + file)
                    ->tensor("model.layers.1.self_attn.q_proj.weight", 64, 32)
                    .format);
  };
  EXPECT_EQ(format_in("f32.gguf"), "f32");
  EXPECT_EQ(format_in("f16.gguf"), "f16");
  EXPECT_EQ(format_in("bf16.gguf"), "bf16");
  EXPECT_EQ(format_in("q8_0.gguf"), "q8_0");
  EXPECT_EQ(format_in("q4_0.gguf"), "q4_0");
  EXPECT_EQ(format_in("source"), "f16");
}

// Raw blocks of every type against what the gguf package decodes them to.
TEST(Gguf, BlocksOfEveryTypeKeepTheirNumbersAndTheirSize) {
  const std::string path = LB_SOURCE_DIR "/tests/golden/formats/gguf.safetensors";
  const StoredTensors golden = parse_safetensors(path, map_file(path));
  const int64_t n = 4, k = 512;
  int types = 0;
  for (const GgufType& type : gguf_types()) {
    std::string stem(type.name);
    for (char& c : stem) c = static_cast<char>(std::tolower(c));
    const auto blocks = golden.find(stem + ".blocks");
    if (blocks == golden.end()) continue;
    SCOPED_TRACE(stem);
    ++types;
    StoredTensor stored = blocks->second;
    stored.type = type.name;
    stored.shape = {n, k};
    const QTensor tensor = gguf_tensor(stem, stored, n, k);
    EXPECT_EQ(name(tensor.format), stem);
    const QTensor decoded = plain_tensor(stem, golden.at(stem + ".decoded"), n, k, "F32");
    EXPECT_EQ(hash_of_numbers(tensor), hash_of_numbers(decoded));
    // Digits of TQ1_0 are packed more tightly here: five to a byte across blocks.
    const size_t bytes = stored.data.data.size();
    EXPECT_EQ(tensor.bytes(), type.name == "TQ1_0" ? bytes - 4 : bytes);
  }
  EXPECT_EQ(types, 13);
}

TEST(Gguf, EveryMatrixOfAModelMayHaveAnotherType) {
  const auto expected =
      parse_json("expected.json", map_file(kGolden + "expected.json").text())["blocks.gguf"];
  ASSERT_EQ(expected.size(), 11u);
  const auto checkpoint = open_checkpoint(kGolden + "blocks.gguf");
  EXPECT_EQ(checkpoint->tensor_names().size(), expected.size());  // scales are not weights
  for (const auto& [name, golden] : expected.items()) {
    const auto [n, k] = wide_shape_of(name);
    const QTensor tensor = checkpoint->tensor(name, n, k);
    EXPECT_EQ(hash_of_numbers(tensor), golden.get<std::string>()) << name;
    EXPECT_EQ(checkpoint->outline(name, n, k).format, tensor.format) << name;
  }
  const std::string layer = "model.layers.0.";
  EXPECT_EQ(checkpoint->outline(layer + "self_attn.q_proj.weight", 64, 256).format,
            format_of(FormatId::kQ4_K));
  EXPECT_EQ(checkpoint->outline(layer + "self_attn.o_proj.weight", 256, 64).format,
            format_of(FormatId::kNvFp4));
}

// Version 2 has the layout of version 3; no tool writes it any more.
TEST(Gguf, Version2ReadsLikeVersion3) {
  std::string bytes(map_file(kGolden + "q8_0.gguf").text());
  bytes[4] = 2;
  const Bytes view{std::as_bytes(std::span(bytes)), nullptr, false};
  const auto v2 = open_gguf_checkpoint("v2.gguf", view);
  const auto v3 = open_checkpoint(kGolden + "q8_0.gguf");
  EXPECT_EQ(v2->container(), "gguf v2");
  EXPECT_EQ(v3->container(), "gguf v3");
  for (const std::string& name : v3->tensor_names()) {
    const auto [n, k] = shape_of(name);
    EXPECT_EQ(hash_of_numbers(v2->tensor(name, n, k)), hash_of_numbers(v3->tensor(name, n, k)))
        << name;
  }
}

TEST(Gguf, RopeFactorsKeepTheirName) {
  const auto checkpoint = open_checkpoint(kGolden + "f32.gguf");
  ASSERT_TRUE(checkpoint->has("rope_freqs.weight"));
  const auto factors = decode_rows(checkpoint->tensor("rope_freqs.weight", 1, 8));
  for (size_t i = 0; i < factors.size(); ++i) EXPECT_EQ(factors[i], 1.0f + static_cast<float>(i));
  EXPECT_FALSE(open_checkpoint(kGolden + "f16.gguf")->has("rope_freqs.weight"));
}

TEST(Gguf, EndOfTextIdsComeFromTheMetadata) {
  EXPECT_EQ(open_checkpoint(kGolden + "f32.gguf")->eos_ids(), (std::vector<int32_t>{257, 258}));
  EXPECT_EQ(open_checkpoint(kGolden + "q4_0-untied-spm.gguf")->eos_ids(),
            (std::vector<int32_t>{2}));
}

TEST(Gguf, MetadataArraysAreRead) {
  const GgufFile file(kGolden + "q4_0-untied-spm.gguf", map_file(kGolden + "q4_0-untied-spm.gguf"));
  const auto tokens = file.texts("tokenizer.ggml.tokens");
  ASSERT_EQ(tokens.size(), 288u);
  EXPECT_EQ(tokens[0], "<unk>");
  EXPECT_EQ(tokens[258], "<0xFF>");
  EXPECT_EQ(file.floats("tokenizer.ggml.scores")[287], -28.0f);
  EXPECT_EQ(file.integers("tokenizer.ggml.token_type")[3], 6);
  EXPECT_TRUE(file.texts("absent").empty());
}

TEST(Gguf, TheTokenizerInsideEncodes) {
  const auto bpe = open_checkpoint(kGolden + "q8_0.gguf")->tokenizer();
  ASSERT_NE(bpe, nullptr);
  EXPECT_EQ(bpe->vocab_size(), 288);
  EXPECT_EQ(bpe->bos(), 256);
  EXPECT_EQ(bpe->eos(), (std::vector<int32_t>{257, 258}));
  // "Ġthe" is merge 2, so token 256 + 3 + 2; byte tokens are their bytes.
  EXPECT_EQ(bpe->encode("x the"), (std::vector<int32_t>{256, 'x', 261}));
  EXPECT_EQ(bpe->decode(bpe->encode("any bytes: \xc3\xa9")), "any bytes: \xc3\xa9");

  const auto spm = open_checkpoint(kGolden + "q4_0-untied-spm.gguf")->tokenizer();
  ASSERT_NE(spm, nullptr);
  EXPECT_EQ(spm->vocab_size(), 288);
  EXPECT_EQ(spm->encode("the"), (std::vector<int32_t>{1, 261}));  // <s>, "▁the"
  EXPECT_EQ(spm->decode(spm->encode("the zebra")), "the zebra");
}

TEST(Gguf, RopeScalingBecomesAnObject) {
  using namespace lowbit::fixtures;
  GgufBytes file;
  file.pairs = {gguf_string("general.architecture", "llama"),
                gguf_u32("llama.block_count", 1),
                gguf_u32("llama.embedding_length", 64),
                gguf_u32("llama.feed_forward_length", 64),
                gguf_u32("llama.attention.head_count", 2),
                gguf_f32("llama.attention.layer_norm_rms_epsilon", 1e-6f),
                gguf_string("llama.rope.scaling.type", "linear"),
                gguf_f32("llama.rope.scaling.factor", 4.0f)};
  const std::string bytes = file.bytes();
  const Bytes view{std::as_bytes(std::span(bytes)), nullptr, false};
  const auto checkpoint = open_gguf_checkpoint("x.gguf", view);
  const auto scaling = checkpoint->config().child("rope_scaling");
  ASSERT_TRUE(scaling);
  EXPECT_EQ(scaling->text("rope_type"), "linear");
  EXPECT_EQ(scaling->number("factor", 1, 100), 4.0);
  EXPECT_EQ(checkpoint->config().integer("head_dim", 1, 64), 32);
  EXPECT_EQ(checkpoint->config().integer("num_key_value_heads", 1, 64), 2);
  EXPECT_EQ(checkpoint->config().number("rms_norm_eps", 0, 1), 1e-6);  // not 9.99999997e-07
}

}  // namespace
}  // namespace lowbit
