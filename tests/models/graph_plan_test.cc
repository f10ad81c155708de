// Captured steps against steps that run op by op, on the host; tests/cuda/engine_test.cc does the
// same on a GPU.
#include <gtest/gtest.h>

#include <cstring>

#include "engine/capturing.h"
#include "engine/generate.h"
#include "models/golden_cases.h"

namespace lowbit {
namespace {

using fakes::captures;
using fakes::capturing_backend;

LoadedModel load_golden(const std::string& name, const Backend& backend, StepPlan plan) {
  LoadOptions options;
  options.kv_format = format_of(FormatId::kF32);
  options.plan = plan;
  return load(golden::read_case(name).path(), backend, options);
}

std::vector<float> copied(std::span<const float> values) { return {values.begin(), values.end()}; }

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

class GraphPlan : public testing::TestWithParam<std::string> {
 protected:
  GraphPlan()
      : ref_(load_golden(GetParam(), ref_backend(), StepPlan::kEager)),
        graph_(load_golden(GetParam(), capturing_backend(), StepPlan::kGraph)) {}

  Stepper eager(StepperOptions options = {}) const { return {*ref_.model, *ref_.backend, options}; }
  Stepper graph(StepperOptions options = {}) const {
    options.plan = StepPlan::kGraph;
    return {*graph_.model, *graph_.backend, options};
  }
  LoadedModel ref_, graph_;
};

// Sequences of different lengths, until the longest has filled its context and two pages.
TEST_P(GraphPlan, DecodesWhatStepByStepRunsDraw) {
  Stepper a = eager({.max_sequences = 3}), b = graph({.max_sequences = 3});
  const std::vector<int32_t> prompts[] = {{1, 2, 3, 4, 5, 6, 7}, {9}, {20, 21, 22}};
  const Chunk chunks[] = {{0, prompts[0], 1}, {1, prompts[1], 1}, {2, prompts[2], 1}};
  const std::vector<int32_t> sequences = {0, 1, 2};
  const std::vector<SampleParams> params = {{0, 0, 1, 0}, {0.8f, 0, 0.9f, 5}, {1, 9, 1, 6}};
  a.step(chunks);
  b.step(chunks);
  ASSERT_TRUE(same_bits(copied(a.logits()), copied(b.logits())));
  const int32_t before = captures().launched;
  b.start_decode(sequences, params);
  std::vector<int32_t> tokens(3);
  const int32_t steps = a.max_context() - 7;
  b.decode();  // the graph side runs one draw ahead of what is read
  for (int32_t step = 0; step < steps; ++step) {
    for (int32_t i = 0; i < 3; ++i) tokens[i] = a.sample(i, params[i]);
    const std::span<const int32_t> drawn = b.drawn();
    ASSERT_EQ(std::vector<int32_t>(drawn.begin(), drawn.end()), tokens) << "step " << step;
    const Chunk next[] = {
        {0, {&tokens[0], 1}, 1}, {1, {&tokens[1], 1}, 1}, {2, {&tokens[2], 1}, 1}};
    a.step(next);
    ASSERT_TRUE(same_bits(copied(a.logits()), copied(b.logits()))) << "step " << step;
    if (step + 1 < steps) b.decode();
  }
  EXPECT_EQ(b.captured(), 2u);  // of the prompts, and of decoding
  EXPECT_EQ(captures().launched - before, steps - 1);
  EXPECT_THROW(b.decode(), Error);  // the context is full
  for (const int32_t s : sequences) b.truncate(s, a.length(s));
}

TEST_P(GraphPlan, PromptStepsAreReplayed) {
  Stepper a = eager({.max_step_tokens = 40}), b = graph({.max_step_tokens = 40});
  const int32_t before = captures().launched;
  for (int32_t run = 0; run < 3; ++run) {
    for (const int32_t length : {5, 1, 40, 5}) {
      std::vector<int32_t> prompt;
      for (int32_t i = 0; i < length; ++i) prompt.push_back((i * 7 + run) % a.vocab_size());
      for (Stepper* s : {&a, &b}) {
        s->truncate(0, 0);
        s->prefill(0, prompt);
      }
      ASSERT_TRUE(same_bits(copied(a.logits()), copied(b.logits()))) << length << " " << run;
    }
  }
  EXPECT_EQ(b.captured(), 2u);  // 40 tokens are too many
  EXPECT_EQ(captures().launched - before, 3 * 3 - 2);
}

TEST_P(GraphPlan, TheSameSequenceTwiceInAStepIsNotTwoSequences) {
  Stepper a = eager({.max_sequences = 2}), b = graph({.max_sequences = 2});
  const std::vector<int32_t> one = {3}, two = {4};
  for (const int32_t second : {1, 0, 1}) {
    for (Stepper* s : {&a, &b}) {
      s->truncate(0, 0);
      s->truncate(1, 0);
      const Chunk chunks[] = {{0, one, 1}, {second, two, 1}};
      s->step(chunks);
    }
    ASSERT_TRUE(same_bits(copied(a.logits()), copied(b.logits()))) << second;
  }
  EXPECT_EQ(b.captured(), 2u);
}

TEST_P(GraphPlan, GenerateWritesWhatTheEagerPlanWrites) {
  for (const SampleParams& sampling : {SampleParams{0, 0, 1, 0}, SampleParams{1, 0, 1, 3}}) {
    GenerateOptions options{.sampling = sampling, .max_new_tokens = 200};  // beyond the context
    const std::vector<int32_t> prompt = golden::read_case(GetParam()).prompt;
    Stepper a = eager(), b = graph();
    const GenerateResult want = generate(a, prompt, options, nullptr, nullptr);
    EXPECT_EQ(want.stopped, StopReason::kContextFull);
    const auto check = [&] {
      b.truncate(0, 0);
      const GenerateResult got = generate(b, prompt, options, nullptr, nullptr);
      const GenerateResult again = [&] {
        a.truncate(0, 0);
        return generate(a, prompt, options, nullptr, nullptr);
      }();
      EXPECT_EQ(got.ids, again.ids);
      EXPECT_EQ(got.stopped, again.stopped);
      EXPECT_EQ(got.decode_steps, again.decode_steps);
      EXPECT_EQ(b.length(0), a.length(0));
    };
    check();
    options.max_new_tokens = 9;
    check();
    options.max_new_tokens = 1;
    check();
    options.max_new_tokens = 50;
    options.stop_ids = {want.ids[20]};
    check();
    options.stop_ids = {want.ids[0]};
    check();
  }
}

TEST_P(GraphPlan, GraphsAreDestroyedWithTheirStepper) {
  const int32_t alive = captures().captured - captures().destroyed;
  {
    Stepper s = graph();
    s.prefill(0, std::vector<int32_t>{1, 2});
    EXPECT_EQ(captures().captured - captures().destroyed, alive + 1);
  }
  EXPECT_EQ(captures().captured - captures().destroyed, alive);
}

INSTANTIATE_TEST_SUITE_P(Models, GraphPlan, testing::ValuesIn(golden::case_names()),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(StepPlans, AreNamedAndRefusedByName) {
  EXPECT_EQ(parse_plan("auto", ref_backend()), StepPlan::kEager);
  EXPECT_EQ(parse_plan("auto", capturing_backend()), StepPlan::kGraph);
  EXPECT_EQ(parse_plan("eager", capturing_backend()), StepPlan::kEager);
  EXPECT_EQ(parse_plan("graph", capturing_backend()), StepPlan::kGraph);
  EXPECT_THROW(parse_plan("graph", ref_backend()), Error);
  EXPECT_THROW(parse_plan("grahp", ref_backend()), Error);
  EXPECT_EQ(name(StepPlan::kGraph), "graph");
}

// The position of a token is known when it is drawn, so a seed draws the same with and without
// decode().
TEST(Decode, AnUnreadDrawDoesNotHoldUpTheNext) {
  const LoadedModel model = load_golden("mha", ref_backend(), StepPlan::kEager);
  Stepper s(*model.model, ref_backend(), {});
  const int32_t sequence = 0;
  const SampleParams params{1, 0, 1, 11};
  const auto start = [&] {
    s.truncate(0, 0);
    s.prefill(0, std::vector<int32_t>{1, 2, 3});
    s.start_decode({&sequence, 1}, {&params, 1});
  };
  std::vector<int32_t> one_by_one, late;
  start();
  for (int32_t i = 0; i < 8; ++i) {
    one_by_one.push_back(s.drawn()[0]);
    s.decode();
  }
  start();
  for (int32_t i = 0; i + 1 < DrawnTokens::kKept; ++i) s.decode();
  for (int32_t i = 0; i < 8; ++i) {
    late.push_back(s.drawn()[0]);
    s.decode();
  }
  EXPECT_EQ(one_by_one, late);
}

}  // namespace
}  // namespace lowbit
