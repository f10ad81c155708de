// One model in several containers. A Hugging Face folder and the GGUF file made from it (F16, rows
// of q and k permuted as llama.cpp's converter does) give the same logits, bit for bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "backends.h"
#include "engine/loaded_model.h"
#include "engine/stepper.h"

namespace lowbit {
namespace {

const std::string kGolden = LB_SOURCE_DIR "/tests/golden/";

std::vector<float> logits_of(const std::string& model, const Backend& backend,
                             const LoadOptions& options = {}) {
  const LoadedModel loaded = load(kGolden + model, backend, options);
  Stepper stepper(*loaded.model, backend, {.max_context = 16});
  const std::vector<int32_t> tokens{1, 2, 3, 40, 5, 60, 7, 8};
  const Chunk chunk{0, tokens, static_cast<int32_t>(tokens.size())};
  stepper.step(std::span(&chunk, 1));
  const std::span<const float> logits = stepper.logits();
  return {logits.begin(), logits.end()};
}

TEST(Containers, FolderAndGgufGiveTheSameLogits) {
  for (const Backend* backend : backends()) {
    const std::vector<float> folder = logits_of("gguf/source", *backend);
    EXPECT_EQ(folder, logits_of("gguf/f16.gguf", *backend)) << backend->name;
    // The f32 file also carries rope factors, so equal logits there would mean that nobody read
    // them.
    EXPECT_NE(folder, logits_of("gguf/f32.gguf", *backend)) << backend->name;
  }
}

// What a plan without weights promises, and what the model computes with the codes as stored, holds
// of the numbers that they stand for.
TEST(Containers, WeightsOfOtherToolsRunAsTheNumbersThatTheyHold) {
  std::vector<std::string> models = {"gguf/blocks.gguf"};
  for (const auto& entry : std::filesystem::directory_iterator(kGolden + "quantized")) {
    models.push_back("quantized/" + entry.path().filename().string());
  }
  EXPECT_GE(models.size(), 30u);
  LoadOptions decoded, plan;
  decoded.set_format(parse_format_pair("f32"));
  plan.plan_only = true;
  for (const Backend* backend : backends()) {
    for (const std::string& model : models) {
      SCOPED_TRACE(model + " on " + std::string(backend->name));
      EXPECT_EQ(load(kGolden + model, *backend, plan).model->memory().total(),
                load(kGolden + model, *backend, {}).model->memory().total());
      const std::vector<float> stored = logits_of(model, *backend);
      const std::vector<float> numbers = logits_of(model, *backend, decoded);
      ASSERT_EQ(stored.size(), numbers.size());
      float largest = 0, error = 0;
      for (size_t i = 0; i < stored.size(); ++i) {
        largest = std::max(largest, std::abs(numbers[i]));
        error = std::max(error, std::abs(stored[i] - numbers[i]));
      }
      // Where no kernel reads a format, its numbers are rounded to bf16.
      EXPECT_LE(error, largest * (backend->name == "ref" ? 1e-5f : 3e-2f));
    }
  }
}

// llama.cpp's mixtures keep v in more bits than q and k: none of them is decoded for it.
TEST(Containers, PartsOfOneLinearKeepFormatsOfTheirOwn) {
  const LoadedModel loaded = load(kGolden + "gguf/blocks.gguf", *backends()[0], {});
  std::vector<std::string> formats;
  for (const Linear* linear : loaded.model->linears()) {
    formats.push_back(fmt::format("{} {} {}", linear->name, linear->n, name(linear->format)));
  }
  EXPECT_EQ(formats,
            (std::vector<std::string>{"layers.0.qkv 64 q4_k", "layers.0.qkv 32 q5_k",
                                      "layers.0.qkv 32 q6_k", "layers.0.o 256 nvfp4",
                                      "layers.0.gate_up 256 q2_k", "layers.0.gate_up 256 q3_k",
                                      "layers.0.down 256 tq1_0", "head 288 tq2_0"}));
}

}  // namespace
}  // namespace lowbit
