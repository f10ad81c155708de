// Which tensors llama.cpp's mixtures give more bits, against its rules written out for two shapes.
#include "models/mixture.h"

#include <gtest/gtest.h>

#include <set>

#include "models/method_policy.h"

namespace lowbit {
namespace {

struct Shape {
  int32_t layers;
  int64_t hidden, inner, q, kv;
  bool tied;
};
constexpr Shape kEight = {32, 4096, 14336, 4096, 1024, false};    // Llama 3 8B
constexpr Shape kSeventy = {80, 8192, 28672, 8192, 1024, false};  // Llama 3 70B
constexpr Shape kSmall = {16, 288, 768, 288, 288, true};          // 256 divides no row of 288

std::vector<TensorUse> tensors_of(const Shape& s) {
  std::vector<TensorUse> uses;
  const auto add = [&](const std::string& layer, const std::string& tensor, int64_t n, int64_t k,
                       TensorRole role = TensorRole::kLinear) {
    uses.push_back({tensor, n, k, role, layer, format_of(FormatId::kBF16), {}, ""});
  };
  add("embedding", "model.embed_tokens.weight", 1000, s.hidden, TensorRole::kTable);
  for (int32_t i = 0; i < s.layers; ++i) {
    const std::string at = fmt::format("layers.{}.", i), prefix = "model." + at;
    add(at + "qkv", prefix + "self_attn.q_proj.weight", s.q, s.hidden);
    add(at + "qkv", prefix + "self_attn.k_proj.weight", s.kv, s.hidden);
    add(at + "qkv", prefix + "self_attn.v_proj.weight", s.kv, s.hidden);
    add(at + "o", prefix + "self_attn.o_proj.weight", s.hidden, s.q);
    add(at + "gate_up", prefix + "mlp.gate_proj.weight", s.inner, s.hidden);
    add(at + "gate_up", prefix + "mlp.up_proj.weight", s.inner, s.hidden);
    add(at + "down", prefix + "mlp.down_proj.weight", s.hidden, s.inner);
  }
  add("head", s.tied ? "model.embed_tokens.weight" : "lm_head.weight", 1000, s.hidden);
  return uses;
}

LayerPolicy resolved(const char* mixture, const Shape& shape) {
  LayerPolicy policy = policy_of(parse_method(mixture));
  resolve_mixture(tensors_of(shape), &policy);
  return policy;
}

// "q6_k" of a tensor.
std::string format_of_tensor(const LayerPolicy& policy, const std::string& layer,
                             const std::string& tensor) {
  return name(*policy.choose(layer, tensor).format);
}

// Layers whose v (or down) is in `format`.
std::set<int> layers_with(const LayerPolicy& policy, int32_t layers, const char* part,
                          const std::string& format) {
  std::set<int> found;
  const bool v = std::string_view(part) == "v";
  for (int32_t i = 0; i < layers; ++i) {
    const std::string layer = fmt::format("layers.{}.{}", i, v ? "qkv" : part);
    const std::string tensor =
        fmt::format("model.layers.{}.{}_proj.weight", i, v ? "self_attn.v" : "mlp.down");
    if (format_of_tensor(policy, layer, tensor) == format) found.insert(i);
  }
  return found;
}

const std::set<int> kMore = {0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31};

TEST(Mixtures, GiveMoreBitsWhereLlamaCppDoes) {
  const LayerPolicy q4m = resolved("Q4_K_M", kEight);
  EXPECT_EQ(layers_with(q4m, 32, "v", "q6_k"), kMore);
  EXPECT_EQ(layers_with(q4m, 32, "down", "q6_k"), kMore);
  EXPECT_EQ(layers_with(q4m, 32, "v", "q4_k").size(), 32 - kMore.size());
  EXPECT_EQ(format_of_tensor(q4m, "head", "lm_head.weight"), "q6_k");
  EXPECT_EQ(format_of_tensor(q4m, "embedding", "model.embed_tokens.weight"), "q4_k");
  EXPECT_EQ(format_of_tensor(q4m, "layers.0.qkv", "model.layers.0.self_attn.q_proj.weight"),
            "q4_k");
  EXPECT_EQ(format_of_tensor(q4m, "layers.0.o", "model.layers.0.self_attn.o_proj.weight"), "q4_k");

  const LayerPolicy q4s = resolved("Q4_K_S", kEight);
  EXPECT_EQ(layers_with(q4s, 32, "v", "q5_k"), (std::set<int>{0, 1, 2, 3}));
  EXPECT_EQ(layers_with(q4s, 32, "down", "q5_k"), (std::set<int>{0, 1, 2, 3}));
  const LayerPolicy q3m = resolved("Q3_K_M", kEight);
  EXPECT_EQ(layers_with(q3m, 32, "v", "q5_k"), (std::set<int>{0, 1}));
  EXPECT_EQ(layers_with(q3m, 32, "v", "q4_k").size(), 30u);
  EXPECT_EQ(layers_with(q3m, 32, "down", "q5_k"), (std::set<int>{0, 1}));
  EXPECT_EQ(format_of_tensor(q3m, "layers.9.o", "model.layers.9.self_attn.o_proj.weight"), "q4_k");
  EXPECT_EQ(format_of_tensor(q3m, "layers.9.gate_up", "model.layers.9.mlp.up_proj.weight"), "q3_k");
  EXPECT_EQ(layers_with(resolved("Q3_K_L", kEight), 32, "down", "q5_k").size(), 32u);
  EXPECT_EQ(layers_with(resolved("Q3_K_S", kEight), 32, "down", "q3_k").size(), 32u);
  EXPECT_EQ(layers_with(resolved("Q2_K_S", kEight), 32, "v", "q4_k").size(), 32u);
  EXPECT_EQ(layers_with(resolved("Q2_K_S", kEight), 32, "down", "q4_k"),
            (std::set<int>{0, 1, 2, 3}));
  EXPECT_EQ(layers_with(resolved("Q5_K_M", kEight), 32, "down", "q6_k"), kMore);
  EXPECT_EQ(layers_with(resolved("Q5_K_S", kEight), 32, "v", "q5_k").size(), 32u);
}

TEST(Mixtures, OfSeventyBillionHaveNarrowValuesInFiveBits) {
  const LayerPolicy policy = resolved("Q4_K_S", kSeventy);
  EXPECT_EQ(layers_with(policy, 80, "v", "q5_k").size(), 80u);
  EXPECT_EQ(layers_with(policy, 80, "down", "q5_k").size(), 10u);
}

TEST(Mixtures, RowsThatSuperBlocksDoNotDivideGetTheNextFormat) {
  const LayerPolicy policy = resolved("Q4_K_M", kSmall);
  const LayerChoice q = policy.choose("layers.3.qkv", "model.layers.3.self_attn.q_proj.weight");
  EXPECT_EQ(name(*q.format), "q5_0");
  EXPECT_EQ(q.quantizer->name, "gguf-0.19.0");
  EXPECT_EQ(layers_with(policy, 16, "v", "q8_0"), (std::set<int>{0, 1, 4, 7, 10, 13, 14, 15}));
  EXPECT_EQ(layers_with(policy, 16, "down", "q6_k"), (std::set<int>{0, 1, 4, 7, 10, 13, 14, 15}));
  // A tied table is the head.
  EXPECT_EQ(format_of_tensor(policy, "embedding", "model.embed_tokens.weight"), "q8_0");
  EXPECT_EQ(format_of_tensor(policy, "head", "model.embed_tokens.weight"), "q8_0");
}

TEST(Mixtures, WhatTheUserSaysOfHeadTableAndLayersStays) {
  LayerPolicy policy = policy_of(parse_method("Q4_K_M"));
  policy.head = parse_tensor_policy("int8");
  policy.embedding = parse_tensor_policy("stored");
  policy.rules.push_back({"layers.0.*", {format_of(FormatId::kFp8)}});
  resolve_mixture(tensors_of(kEight), &policy);
  EXPECT_EQ(format_of_tensor(policy, "head", "lm_head.weight"), "int8");
  EXPECT_FALSE(policy.choose("embedding", "model.embed_tokens.weight").format);
  EXPECT_EQ(format_of_tensor(policy, "layers.0.qkv", "model.layers.0.self_attn.v_proj.weight"),
            "fp8");
}

TEST(Mixtures, ALineForEachFormatSaysWhichLayersHaveIt) {
  std::vector<TensorUse> uses = tensors_of(kEight);
  const LayerPolicy policy = resolved("Q4_K_S", kEight);
  for (TensorUse& use : uses) use.choice = policy.choose(use.layer, use.tensor);
  EXPECT_EQ(formats_by_layer(uses),
            (std::vector<std::string>{
                "q4_k: down of layers 4-31; embedding; gate of layers 0-31; k of layers 0-31; o of "
                "layers 0-31; q of layers 0-31; up of layers 0-31; v of layers 4-31",
                "q5_k: down of layers 0-3; v of layers 0-3", "q6_k: head"}));
  for (TensorUse& use : uses) use.choice = {};
  EXPECT_TRUE(formats_by_layer(uses).empty());
}

}  // namespace
}  // namespace lowbit
