// One model in two containers: a Hugging Face folder and the GGUF file made from it (F16, rows of q
// and k permuted as llama.cpp's converter does) give the same logits, bit for bit.
#include <gtest/gtest.h>

#include "backends.h"
#include "engine/loaded_model.h"
#include "engine/stepper.h"

namespace lowbit {
namespace {

std::vector<float> logits_of(const std::string& file, const Backend& backend) {
  const LoadedModel loaded =
      load(std::string(LB_SOURCE_DIR) + "/tests/golden/gguf/" + file, backend, {});
  Stepper stepper(*loaded.model, backend, {.max_context = 16});
  const std::vector<int32_t> tokens{1, 2, 3, 40, 5, 60, 7, 8};
  const Chunk chunk{0, tokens, static_cast<int32_t>(tokens.size())};
  stepper.step(std::span(&chunk, 1));
  const std::span<const float> logits = stepper.logits();
  return {logits.begin(), logits.end()};
}

TEST(Containers, FolderAndGgufGiveTheSameLogits) {
  for (const Backend* backend : backends()) {
    const std::vector<float> folder = logits_of("source", *backend);
    EXPECT_EQ(folder, logits_of("f16.gguf", *backend)) << backend->name;
    // The f32 file also carries rope factors, so equal logits there would mean that nobody read
    // them.
    EXPECT_NE(folder, logits_of("f32.gguf", *backend)) << backend->name;
  }
}

}  // namespace
}  // namespace lowbit
