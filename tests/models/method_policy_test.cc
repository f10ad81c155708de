// What a method does to the layers of a model.
#include "models/method_policy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "backends.h"
#include "engine/loaded_model.h"
#include "engine/stepper.h"

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

// "fp8-e5m2", or "-" for the engine's own.
std::string activations(const std::string& method, const std::string& layer) {
  const LayerChoice c = policy_of(parse_method(method)).choose(layer);
  return c.activations ? name(*c.activations) : "-";
}

TEST(MethodPolicy, ActivationsAreOfTheLayersThatTheMethodIsFor) {
  EXPECT_EQ(activations("int8dq", "layers.0.qkv"), "int8");
  EXPECT_EQ(activations("int8dq", "head"), "int8");
  EXPECT_EQ(activations("int8wo", "layers.0.qkv"), "-");
  EXPECT_EQ(activations("int8_int8", "head"), "-");  // bf16 there
  EXPECT_EQ(activations("int8dq+semi", "layers.0.down"), "int8");
  EXPECT_EQ(activations("int8dq+semi", "layers.0.o"), "int8");
  EXPECT_EQ(activations("float8dq+semi", "layers.0.gate_up"), "fp8-e5m2");
  EXPECT_EQ(activations("float8dq+semi", "layers.0.qkv"), "-");
  EXPECT_EQ(choice("float8dq+semi", "layers.0.qkv"), "stored");
}

const std::string kModel = std::string(LB_SOURCE_DIR) + "/tests/golden/llama/gqa4";

// All logits of one step that adds these tokens to one sequence each.
std::vector<float> logits_of(const std::string& method, const Backend& backend,
                             const std::vector<std::vector<int32_t>>& sequences,
                             int32_t logits_each) {
  LoadOptions options;
  if (!method.empty()) options.policy = policy_of(parse_method(method));
  const LoadedModel loaded = load(kModel, backend, options);
  Stepper stepper(*loaded.model, backend,
                  {.max_sequences = 3, .max_context = 16, .max_step_tokens = 8});
  std::vector<Chunk> chunks;
  for (const std::vector<int32_t>& tokens : sequences) {
    chunks.push_back({static_cast<int32_t>(chunks.size()), tokens, logits_each});
  }
  stepper.step(chunks);
  const std::span<const float> all = stepper.logits();
  return {all.begin(), all.end()};
}

TEST(MethodPolicy, PrefillOnlyRoundsNothingInStepsOfOneTokenASequence) {
  for (const char* device : {"ref", "cpu"}) {
    const auto run = [&](const char* method, const std::vector<std::vector<int32_t>>& sequences,
                         int32_t logits_each) {
      return logits_of(method, find_backend(device), sequences, logits_each);
    };
    const char* mixed = "int8dq_prefill_wo_decode";
    for (const int32_t rows : {1, 4}) {  // the head's one row is of a prompt, too
      EXPECT_EQ(run(mixed, {{1, 5, 9, 2}}, rows), run("int8dq", {{1, 5, 9, 2}}, rows)) << device;
      EXPECT_NE(run(mixed, {{1, 5, 9, 2}}, rows), run("int8wo", {{1, 5, 9, 2}}, rows)) << device;
    }
    for (const auto& sequences : {std::vector<std::vector<int32_t>>{{7}}, {{1}, {5}, {9}}}) {
      EXPECT_EQ(run(mixed, sequences, 1), run("int8wo", sequences, 1)) << device;
      EXPECT_NE(run(mixed, sequences, 1), run("int8dq", sequences, 1)) << device;
    }
  }
}

TEST(MethodPolicy, APromptAndATokenInOneStepReadWhatEachWouldAlone) {
  const std::vector<int32_t> prompt = {1, 5, 9, 2};
  for (const char* device : {"ref", "cpu"}) {
    const auto run = [&](const char* method, const std::vector<std::vector<int32_t>>& sequences) {
      return logits_of(method, find_backend(device), sequences, 1);
    };
    const char* mixed = "int8dq_prefill_wo_decode";
    const std::vector<float> of_prompt = run("int8dq", {prompt}), of_token = run("int8wo", {{7}});
    std::vector<float> both = of_prompt;
    both.insert(both.end(), of_token.begin(), of_token.end());
    EXPECT_EQ(run(mixed, {prompt, {7}}), both) << device;
    std::vector<float> three = of_token;  // in the order of the chunks
    three.insert(three.end(), both.begin(), both.end());
    EXPECT_EQ(run(mixed, {{7}, prompt, {7}}), three) << device;
  }
}

TEST(MethodPolicy, LayersMayReadDifferentActivations) {
  const std::vector<std::vector<int32_t>> tokens = {{1, 5, 9, 2}};
  for (const char* device : {"ref", "cpu"}) {
    const Backend& backend = find_backend(device);
    LoadOptions options;
    options.policy = policy_of(parse_method("float8dq+semi-structured"));
    const LoadedModel loaded = load(kModel, backend, options);
    for (const Linear* linear : loaded.model->linears()) {
      const bool feed_forward = linear->name.ends_with("gate_up") || linear->name.ends_with("down");
      EXPECT_EQ(name(linear->input.prefill),
                feed_forward ? "fp8-e5m2" : name(format_of(backend.activation)))
          << linear->name;
    }
    const std::vector<float> some = logits_of("float8dq+semi-structured", backend, tokens, 4);
    EXPECT_TRUE(std::all_of(some.begin(), some.end(), [](float v) { return std::isfinite(v); }));
    EXPECT_NE(some, logits_of("fp8-24+fp8-e5m2", backend, tokens, 4)) << device;
    EXPECT_NE(some, logits_of("", backend, tokens, 4)) << device;
  }
}

}  // namespace
}  // namespace lowbit
