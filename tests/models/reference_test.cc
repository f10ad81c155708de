// The embedded model's perplexity against PyTorch's, on the text that it was validated on.
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "backends.h"
#include "base/file.h"
#include "engine/loaded_model.h"
#include "engine/perplexity.h"

namespace lowbit {
namespace {

std::string shared_folder() {
  if (const char* folder = std::getenv("LOWBIT_SHARED")) return folder;
  return std::string(LB_SOURCE_DIR) + "/../shared";
}

TEST(Prose7m, PerplexityAgreesWithPyTorch) {
  const std::string text_path = shared_folder() + "/data/text/valid.txt";
  const std::string model = std::string(LB_SOURCE_DIR) + "/models/prose-7m";
  if (!file_exists(text_path)) GTEST_SKIP() << text_path << " is not here (LOWBIT_SHARED)";
  const auto reference = nlohmann::json::parse(map_file(model + "/reference.json").text());
  LoadOptions options;
  options.kv_format = format_of(FormatId::kF32);
  const LoadedModel loaded = load(model, find_backend("cpu"), options);
  const Bytes file = map_file(text_path);
  ASSERT_EQ(file.data.size(), reference["n_bytes"]) << "another valid.txt";
  const std::vector<int32_t> tokens = loaded.tokenizer->encode(file.text(), {.add_bos = false});
  ASSERT_EQ(tokens.size(), reference["n_tokens"]);
  Stepper stepper(*loaded.model, *loaded.backend, {.max_context = reference["ctx"]});
  const int32_t bos = loaded.tokenizer->bos().value();
  for (const auto& [key, first] : {std::pair{"bos_windows", bos}, {"plain_windows", -1}}) {
    const WindowOptions windows{.ctx = reference["ctx"], .bos = first};
    const Perplexity p = perplexity(score(stepper, nullptr, tokens, windows).nll);
    const double expected = reference[key]["ppl"];
    EXPECT_EQ(p.tokens, reference[key]["n_scored"]) << key;
    EXPECT_NEAR(p.perplexity, expected, expected * 1e-3) << key;
  }
}

}  // namespace
}  // namespace lowbit
