// What a method does to the layers of a model.
#include "models/method_policy.h"

#include <gtest/gtest.h>

#include "base/check.h"

namespace lowbit {
namespace {

// "int8-sbf16 by torchao-0.9.0" or "stored".
std::string choice(const std::string& method, const std::string& layer) {
  const LayerChoice c = policy_of(parse_method(method)).choose(layer);
  return c.format ? fmt::format("{} by {}", name(*c.format), c.quantizer->name) : "stored";
}

TEST(MethodPolicy, TheHeadIsAsTheToolHasIt) {
  EXPECT_EQ(choice("bf16_int8", "layers.0.qkv"), "int8-sbf16 by torchao-0.9.0");
  EXPECT_EQ(choice("bf16_int8", "head"), "bf16 by rtn");
  EXPECT_EQ(choice("int8wo", "head"), "int8-sbf16 by torchao-0.9.0");
  EXPECT_EQ(choice("int4", "head"), "int4 by rtn");
  EXPECT_EQ(choice("int8wo", "embedding"), "stored");
}

TEST(MethodPolicy, AMethodMayBeForSomeLayersOnly) {
  const std::string sparse = "int8-sbf16-24 by torchao-0.9.0";
  EXPECT_EQ(choice("int8dq+semi", "layers.7.gate_up"), sparse);
  EXPECT_EQ(choice("int8dq+semi", "layers.7.down"), sparse);
  for (const char* layer : {"layers.7.qkv", "layers.7.o", "head"}) {
    EXPECT_EQ(choice("int8dq+semi", layer), "int8-sbf16 by torchao-0.9.0");
  }
  EXPECT_EQ(choice("marlin+semi", "layers.0.qkv"), "int4-g128-sym-sf16-24 by torchao-0.9.0");
  EXPECT_EQ(choice("marlin+semi", "head"), "stored");
  EXPECT_EQ(choice("embed-int8wo", "embedding"), "int8-g64-sbf16 by torchao-0.9.0");
  EXPECT_EQ(choice("embed-int8wo", "head"), "stored");
}

TEST(MethodPolicy, WhatTheLoaderCannotDoIsAnError) {
  for (const auto& [method, part] :
       {std::pair{"int8dq_prefill_wo_decode", "int8dq quantizes them in every step"},
        std::pair{"float8dq+semi-structured", "fp8-24+fp8-e5m2 does it for all layers"}}) {
    LoadOptions options;
    try {
      set_method(parse_method(method), &options);
      ADD_FAILURE() << method;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  }
}

TEST(MethodPolicy, ActivationsAreThoseOfThePair) {
  LoadOptions options;
  set_method(parse_method("int8dq"), &options);
  ASSERT_TRUE(options.activations.has_value());
  EXPECT_EQ(name(*options.activations), "int8");
  set_method(parse_method("int8wo"), &options);
  EXPECT_FALSE(options.activations.has_value());
}

}  // namespace
}  // namespace lowbit
