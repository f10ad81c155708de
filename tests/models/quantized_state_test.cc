// Whole models with quantized activations and caches: tokens keep to themselves, what is not a
// number stays visible, and caches are close to the one that rounds nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "backends.h"
#include "engine/stepper.h"
#include "models/golden_cases.h"

namespace lowbit {
namespace {

struct Param {
  const char* backend;
  const char* format;
  const char* cache;
};

constexpr Param kParams[] = {
    {"ref", "int8+int8", "int8"},    {"cpu", "int8+int8", "int8"},
    {"ref", "int8+fp8", "fp8"},      {"cpu", "int8+fp8", "fp8"},
    {"ref", "mxfp4+mxfp4", "mxfp4"}, {"cpu", "mxfp4+mxfp4", "mxfp4"},
    {"ref", "nvfp4+nvfp4", "int4"},  {"cpu", "nvfp4+nvfp4", "int4"},
};

class QuantizedState : public testing::TestWithParam<Param> {
 protected:
  QuantizedState() : golden_(golden::read_case("gqa4")) {}

  LoadedModel loaded(const Backend& backend) const {
    return golden::load_case(golden_, backend, GetParam().cache, GetParam().format);
  }
  const Backend& backend() const { return find_backend(GetParam().backend); }

  golden::Case golden_;
};

INSTANTIATE_TEST_SUITE_P(Llama, QuantizedState, testing::ValuesIn(kParams), [](const auto& p) {
  std::string name = std::string(p.param.backend) + "_" + p.param.format + "_" + p.param.cache;
  std::replace(name.begin(), name.end(), '+', '_');
  return name;
});

TEST_P(QuantizedState, LogitsDoNotDependOnWhoSharesTheStep) {
  const LoadedModel model = loaded(backend());
  const std::span<const int32_t> prompt = golden_.prompt;
  const Chunk chunks[] = {{0, prompt.first(5), 1}, {1, prompt.subspan(3, 5), 1}};
  // On cpu one row of the registry multiplies up to four tokens and another one more: bits are
  // compared within a row.
  const size_t at_once = backend().name == "ref" ? 1 : 5;
  Stepper together(*model.model, backend(), {.max_sequences = 2});
  together.step(chunks);
  const std::span<const float> all = together.logits();
  for (const int i : {0, 1}) {
    Stepper alone(*model.model, backend(), {.max_sequences = 2});
    for (size_t t = 0; t < chunks[i].tokens.size(); t += at_once) {
      const Chunk chunk{chunks[i].sequence, chunks[i].tokens.subspan(t, at_once), 1};
      alone.step(std::span(&chunk, 1));
    }
    const auto mine = all.subspan(i * alone.logits().size(), alone.logits().size());
    EXPECT_TRUE(std::ranges::equal(alone.logits(), mine)) << "sequence " << i;
  }
}

TEST_P(QuantizedState, ANanInOneSequenceIsNanInItsLogitsOnly) {
  static const Backend* original;
  original = &backend();
  Backend spoiling = backend();
  spoiling.op.embed = [](const EmbedArgs& a, Stream s) {
    original->op.embed(a, s);
    a.out[1] = NAN;  // of the first token
  };
  const LoadedModel model = loaded(spoiling);
  const std::span<const int32_t> prompt = golden_.prompt;
  const Chunk chunks[] = {{0, prompt.first(5), 1}, {1, prompt.first(4), 1}};
  Stepper stepper(*model.model, spoiling, {.max_sequences = 2});
  stepper.step(chunks);
  const auto vocab = static_cast<size_t>(model.model->vocab_size());
  const auto nan = [](float v) { return std::isnan(v); };
  EXPECT_TRUE(std::ranges::all_of(stepper.logits().first(vocab), nan));
  EXPECT_TRUE(std::ranges::none_of(stepper.logits().last(vocab), nan));
}

// Errors in units of the logits' spread, which is about 2.
TEST(QuantizedCache, IsCloseToTheOneThatRoundsNothing) {
  const struct {
    const char* cache;
    double most;
  } kRows[] = {{"int8", 0.2}, {"fp8", 0.8}, {"int4", 2.5}, {"int8-g32", 0.2}, {"mxfp8", 0.8}};
  const golden::Case golden = golden::read_case("gqa4");
  const auto logits = [&](const char* cache) {
    const LoadedModel loaded = golden::load_case(golden, find_backend("cpu"), cache);
    Stepper s(*loaded.model, *loaded.backend, {});
    const Chunk chunk{0, golden.prompt, static_cast<int32_t>(golden.prompt.size())};
    s.step(std::span(&chunk, 1));
    return std::vector<float>(s.logits().begin(), s.logits().end());
  };
  const std::vector<float> exact = logits("f32");
  for (const auto& row : kRows) {
    const std::vector<float> got = logits(row.cache);
    double worst = 0;
    for (size_t i = 0; i < got.size(); ++i) {
      worst = std::max(worst, std::abs(double{got[i]} - exact[i]));
    }
    EXPECT_LE(worst, row.most) << row.cache;
    EXPECT_GT(worst, 1e-4) << row.cache;
  }
}

}  // namespace
}  // namespace lowbit
