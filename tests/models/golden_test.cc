// Llama against Hugging Face transformers, and against itself in other batches and step sizes.
#include <gtest/gtest.h>

#include <cmath>

#include "backends.h"
#include "engine/generate.h"
#include "models/golden_cases.h"

namespace lowbit {
namespace {

using golden::Case;

// Logits of the goldens have a standard deviation of about 2 and hidden values of a few units, so
// this is 2^-14 of the scale: some roundings of f32, far from any mistake.
constexpr double kTolerance = 1e-4;

struct Param {
  std::string name;
  const Backend* backend;
};

std::vector<Param> params() {
  std::vector<Param> all;
  for (const std::string& name : golden::case_names()) {
    for (const Backend* backend : backends()) all.push_back({name, backend});
  }
  return all;
}

double worst(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size()) return INFINITY;
  double difference = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(double{a[i]} - b[i]);
    if (!(d <= difference)) difference = d;  // keeps NaN
  }
  return difference;
}

std::vector<float> copied(std::span<const float> values) { return {values.begin(), values.end()}; }

// The residual stream: after the embedding and after each layer's last Linear.
class HiddenTap final : public Trace {
 public:
  explicit HiddenTap(const Backend& backend) : backend_(backend) {}
  void begin(const OpTag&) override {}
  void end(const OpTag& tag, std::string_view, const OpCost& cost) override {
    const std::string_view name = tag.name;
    if (name != "embed" && name != "down") return;
    const OutBuffer& out = cost.outputs.at(0);
    std::vector<float> rows(static_cast<size_t>(out.rows * out.cols));
    for (int64_t r = 0; r < out.rows; ++r) {
      backend_.copy_out(&rows[r * out.cols],
                        static_cast<const float*>(out.values.data) + r * out.values.ld,
                        static_cast<size_t>(out.cols) * sizeof(float), nullptr);
    }
    hidden.push_back(std::move(rows));
  }
  std::vector<std::vector<float>> hidden;

 private:
  const Backend& backend_;
};

class Golden : public testing::TestWithParam<Param> {
 protected:
  Golden()
      : golden_(golden::read_case(GetParam().name)),
        loaded_(golden::load_case(golden_, *GetParam().backend)) {}

  Stepper stepper(StepperOptions options = {}) const {
    return {*loaded_.model, *loaded_.backend, options};
  }
  // Logits after the prompt, fed in steps of at most `step` tokens.
  std::vector<float> last_logits(int32_t step) const {
    Stepper s = stepper({.max_step_tokens = step});
    s.prefill(0, golden_.prompt);
    return copied(s.logits());
  }

  Case golden_;
  LoadedModel loaded_;
};

TEST_P(Golden, LogitsOfThePrompt) {
  Stepper s = stepper();
  const Chunk chunk{0, golden_.prompt, static_cast<int32_t>(golden_.prompt.size())};
  s.step(std::span(&chunk, 1));
  EXPECT_LE(worst(s.logits(), golden_.logits), kTolerance);
}

TEST_P(Golden, HiddenStatesAfterEveryLayer) {
  Stepper s = stepper();
  HiddenTap tap(*loaded_.backend);
  s.set_trace(&tap);
  s.prefill(0, golden_.prompt);
  ASSERT_EQ(tap.hidden.size(), golden_.hidden.size());
  for (size_t i = 0; i < tap.hidden.size(); ++i) {
    EXPECT_LE(worst(tap.hidden[i], golden_.hidden[i]), kTolerance) << "hidden." << i;
  }
}

TEST_P(Golden, GreedyIdsAndTheirLastLogits) {
  Stepper s = stepper();
  const GenerateOptions options{.max_new_tokens = static_cast<int32_t>(golden_.greedy.size())};
  EXPECT_EQ(generate(s, golden_.prompt, options, nullptr, nullptr).ids, golden_.greedy);
  EXPECT_LE(worst(s.logits(), golden_.last_logits), kTolerance);
}

TEST_P(Golden, StepSizeDoesNotMatter) {
  const std::vector<float> whole = last_logits(512);
  for (const int32_t step : {1, 5, 16}) {
    EXPECT_LE(worst(last_logits(step), whole), kTolerance) << "steps of " << step;
  }
}

// Three sequences of different lengths in every step, one of them joining late.
TEST_P(Golden, ABatchGivesWhatEachSequenceGivesAlone) {
  const std::span<const int32_t> prompt = golden_.prompt;
  const std::vector<std::vector<int32_t>> texts = {{prompt.begin(), prompt.begin() + 9},
                                                   {prompt.begin() + 3, prompt.end()},
                                                   {prompt.begin() + 7, prompt.begin() + 8}};
  std::vector<std::vector<float>> alone;
  for (const auto& text : texts) {
    Stepper s = stepper();
    s.prefill(0, text);
    s.step(std::array{Chunk{0, std::span(golden_.greedy).first(1), 1}});
    alone.push_back(copied(s.logits()));
  }
  Stepper s = stepper({.max_sequences = 3});
  s.step(std::array{Chunk{0, texts[0], 1}, Chunk{1, std::span(texts[1]).first(4), 0}});
  s.step(std::array{Chunk{2, texts[2], 0}, Chunk{1, std::span(texts[1]).subspan(4), 1}});
  const std::span<const int32_t> next = std::span(golden_.greedy).first(1);
  s.step(std::array{Chunk{2, next, 1}, Chunk{0, next, 1}, Chunk{1, next, 1}});
  const std::span<const float> logits = s.logits();
  const auto vocab = static_cast<size_t>(loaded_.model->vocab_size());
  EXPECT_LE(worst(logits.subspan(0, vocab), alone[2]), kTolerance);
  EXPECT_LE(worst(logits.subspan(vocab, vocab), alone[0]), kTolerance);
  EXPECT_LE(worst(logits.subspan(2 * vocab, vocab), alone[1]), kTolerance);
}

TEST_P(Golden, TruncatedAndContinuedIsFresh) {
  const std::span<const int32_t> prompt = golden_.prompt;
  Stepper fresh = stepper(), reused = stepper();
  fresh.prefill(0, prompt);
  reused.prefill(0, prompt.first(10));
  reused.prefill(0, prompt.first(13));  // another continuation, to be forgotten
  reused.truncate(0, 10);
  reused.prefill(0, prompt.subspan(10));
  EXPECT_LE(worst(reused.logits(), fresh.logits()), kTolerance);
  reused.truncate(0, 0);
  reused.prefill(0, prompt);
  EXPECT_EQ(copied(reused.logits()), copied(fresh.logits()));
}

TEST_P(Golden, AMaskForcesATokenOfTheRealModel) {
  Stepper s = stepper();
  s.prefill(0, golden_.prompt);
  const int32_t best = s.sample(0, {});
  EXPECT_EQ(best, golden_.greedy[0]);
  const int32_t forced = (best + 1) % loaded_.model->vocab_size();
  std::vector<uint32_t> mask((static_cast<size_t>(loaded_.model->vocab_size()) + 31) / 32, 0);
  mask[static_cast<size_t>(forced) / 32] = 1u << (forced % 32);
  EXPECT_EQ(s.sample(0, {}, mask.data()), forced);
}

// A 16-bit cache rounds keys and values: close, but not equal, or it was not used.
TEST_P(Golden, SixteenBitCachesStayClose) {
  for (const std::string format : {"f16", "bf16"}) {
    const LoadedModel loaded = golden::load_case(golden_, *GetParam().backend, format);
    Stepper s(*loaded.model, *loaded.backend, {});
    const Chunk chunk{0, golden_.prompt, static_cast<int32_t>(golden_.prompt.size())};
    s.step(std::span(&chunk, 1));
    const double error = worst(s.logits(), golden_.logits);
    EXPECT_LE(error, format == "f16" ? 0.05 : 0.4);
    EXPECT_GT(error, 1e-6);
  }
}

INSTANTIATE_TEST_SUITE_P(Llama, Golden, testing::ValuesIn(params()), [](const auto& each) {
  std::string name = each.param.name + "_" + std::string(each.param.backend->name);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace lowbit
