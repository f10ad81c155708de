#include "engine/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/fakes.h"
#include "ref/backend.h"

namespace lowbit {
namespace {

constexpr int32_t kVocab = 4;

// After token t, token j has probability p(t, j).
const double kP[kVocab][kVocab] = {
    {0.5, 0.25, 0.125, 0.125}, {0.1, 0.2, 0.3, 0.4}, {0.7, 0.1, 0.1, 0.1}, {0.25, 0.25, 0.3, 0.2}};
const double kQ[kVocab][kVocab] = {
    {0.4, 0.3, 0.2, 0.1}, {0.4, 0.3, 0.2, 0.1}, {0.6, 0.2, 0.1, 0.1}, {0.1, 0.1, 0.7, 0.1}};

// Logits are log p plus a constant, which softmax must not see.
fakes::FakeModel model(const double (&p)[kVocab][kVocab], int32_t context = 16) {
  return {kVocab, context, [&p](int32_t token, int32_t pos, float* logits) {
            for (int32_t j = 0; j < kVocab; ++j) {
              logits[j] = static_cast<float>(std::log(p[token][j]) + 3.0 * pos);
            }
          }};
}

const std::vector<int32_t> kText = {0, 1, 3, 2, 0, 0, 1, 2, 3, 3, 1};

std::vector<double> expected_nll(const std::vector<std::vector<int32_t>>& windows, size_t first) {
  std::vector<double> nll;
  for (const auto& w : windows) {
    for (size_t i = first; i < w.size(); ++i) nll.push_back(-std::log(kP[w[i - 1]][w[i]]));
  }
  return nll;
}

void expect_near(const std::vector<float>& actual, const std::vector<double>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i], expected[i], 2e-6) << i;
}

Scores run(const WindowOptions& options, int32_t max_step_tokens = 512) {
  const fakes::FakeModel p = model(kP);
  Stepper stepper(p, ref_backend(), {.max_step_tokens = max_step_tokens});
  return score(stepper, nullptr, kText, options);
}

TEST(Score, EveryTokenButTheFirstOfAWindow) {
  expect_near(run({.ctx = 4}).nll, expected_nll({{0, 1, 3, 2}, {0, 0, 1, 2}, {3, 3, 1}}, 1));
}

TEST(Score, SlicingAStepChangesNothing) {
  EXPECT_EQ(run({.ctx = 8}).nll, run({.ctx = 8}, 3).nll);
  EXPECT_EQ(run({.ctx = 8, .second_half = true}).nll, run({.ctx = 8, .second_half = true}, 3).nll);
}

TEST(Score, BosTakesTheFirstPlaceOfEveryWindow) {
  expect_near(run({.ctx = 4, .bos = 2}).nll,
              expected_nll({{2, 0, 1, 3}, {2, 2, 0, 0}, {2, 1, 2, 3}, {2, 3, 1}}, 1));
}

// llama-perplexity scores the n_ctx - 1 - n_ctx / 2 last tokens of a window.
TEST(Score, SecondHalfIsLlamaPerplexitys) {
  const Scores scores = run({.ctx = 8, .second_half = true});
  expect_near(scores.nll, expected_nll({{0, 1, 3, 2, 0, 0, 1, 2}}, 5));
}

TEST(Score, NothingToScoreIsAnError) {
  const fakes::FakeModel p = model(kP);
  Stepper stepper(p, ref_backend(), {});
  const auto scored = [&](std::vector<int32_t> tokens, const WindowOptions& options) {
    score(stepper, nullptr, tokens, options);
  };
  EXPECT_THROW(scored({}, {.ctx = 4}), Error);
  EXPECT_THROW(scored({1}, {.ctx = 4}), Error);
  EXPECT_THROW(scored({1, 2}, {.ctx = 8, .second_half = true}), Error);
  EXPECT_THROW(scored({1, 2}, {.ctx = 1}), Error);
  EXPECT_THROW(check_window(1, 1), Error);
  EXPECT_THROW(scored({1, 2}, {.ctx = 17}), Error);
  EXPECT_THROW(scored({1, kVocab}, {.ctx = 4}), Error);
}

TEST(Score, KlAndTopAgreementAgainstAReference) {
  const fakes::FakeModel p = model(kP), q = model(kQ);
  Stepper tested(q, ref_backend(), {}), reference(p, ref_backend(), {});
  const std::vector<int32_t> tokens = {0, 1, 2, 3, 0};
  const Scores scores = score(tested, &reference, tokens, {.ctx = 16});
  ASSERT_EQ(scores.kl.size(), 4u);
  for (int32_t t = 0; t < kVocab; ++t) {
    double kl = 0;
    for (int32_t j = 0; j < kVocab; ++j) kl += kP[t][j] * std::log(kP[t][j] / kQ[t][j]);
    EXPECT_NEAR(scores.kl[t], kl, 2e-6) << t;
    EXPECT_NEAR(scores.nll[t], -std::log(kQ[t][tokens[t + 1]]), 2e-6);
  }
  EXPECT_EQ(scores.same_top, (std::vector<uint8_t>{1, 0, 1, 1}));
}

TEST(Score, AModelAgainstItselfHasNoDivergence) {
  const fakes::FakeModel p = model(kP);
  Stepper a(p, ref_backend(), {}), b(p, ref_backend(), {});
  const Divergence d = divergence(score(a, &b, kText, {.ctx = 8}));
  EXPECT_EQ(d.max, 0);
  EXPECT_EQ(d.top1_agreement, 1);
}

TEST(Perplexity, MeanAndItsError) {
  const std::vector<float> nll = {1, 2, 3, 4};
  const Perplexity p = perplexity(nll);
  EXPECT_EQ(p.tokens, 4);
  EXPECT_DOUBLE_EQ(p.mean_nll, 2.5);
  EXPECT_DOUBLE_EQ(p.perplexity, std::exp(2.5));
  // The sample deviation of 1..4 is sqrt(5/3).
  EXPECT_NEAR(p.standard_error, std::exp(2.5) * std::sqrt(5.0 / 3 / 4), 1e-12);
}

TEST(Divergence, QuantilesInterpolate) {
  Scores scores;
  for (int i = 100; i >= 0; --i) scores.kl.push_back(static_cast<float>(i));
  scores.same_top.assign(101, 1);
  scores.same_top[0] = 0;
  const Divergence d = divergence(scores);
  EXPECT_DOUBLE_EQ(d.mean, 50);
  EXPECT_DOUBLE_EQ(d.median, 50);
  EXPECT_NEAR(d.p90, 90, 1e-9);
  EXPECT_NEAR(d.p95, 95, 1e-9);
  EXPECT_NEAR(d.p99, 99, 1e-9);
  EXPECT_NEAR(d.p999, 99.9, 1e-9);
  EXPECT_DOUBLE_EQ(d.max, 100);
  EXPECT_DOUBLE_EQ(d.top1_agreement, 100.0 / 101);
}

}  // namespace
}  // namespace lowbit
