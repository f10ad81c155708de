// The cpu sampler draws the reference's tokens.
#include <gtest/gtest.h>

#include <cmath>

#include "cpu/backend.h"
#include "kernels/linear_setup.h"
#include "ref/backend.h"

namespace lowbit {
namespace {

using namespace test;

std::vector<int32_t> draw(const Backend& backend, const std::vector<float>& logits, int32_t vocab,
                          const std::vector<SampleParams>& params, const uint32_t* mask = nullptr) {
  const auto rows = static_cast<int32_t>(params.size());
  std::vector<int32_t> pos(params.size()), out(params.size(), -7);
  for (size_t i = 0; i < pos.size(); ++i) pos[i] = static_cast<int32_t>(10 + i);
  backend.op.sample({.rows = rows,
                     .vocab = vocab,
                     .logits = logits.data(),
                     .mask = mask,
                     .params = params.data(),
                     .pos = pos.data(),
                     .out = out.data()},
                    nullptr);
  return out;
}

std::vector<SampleParams> all_params() {
  std::vector<SampleParams> params;
  for (const float temperature : {0.0f, 0.3f, 1.0f, 8.0f}) {
    for (const int32_t top_k : {0, 1, 5, 100000}) {
      for (const float top_p : {1.0f, 0.9f, 0.2f, 0.0f}) {
        for (uint64_t seed = 0; seed < 4; ++seed) {
          params.push_back({temperature, top_k, top_p, seed});
        }
      }
    }
  }
  return params;
}

TEST(Sample, DrawsTheReferenceTokens) {
  for (const int32_t vocab : {1, 3, 257, 5000}) {
    const std::vector<SampleParams> params = all_params();
    std::vector<float> logits =
        gaussian(static_cast<int64_t>(params.size()) * vocab, 3, static_cast<uint64_t>(vocab));
    for (float& logit : logits) logit = std::round(logit * 20) / 4;  // many ties
    EXPECT_EQ(draw(cpu_backend(), logits, vocab, params),
              draw(ref_backend(), logits, vocab, params));

    std::vector<uint32_t> mask(params.size() * static_cast<size_t>((vocab + 31) / 32));
    const Rng rng(5);
    for (size_t i = 0; i < mask.size(); ++i) mask[i] = static_cast<uint32_t>(rng.bits(i));
    const auto masked = draw(cpu_backend(), logits, vocab, params, mask.data());
    EXPECT_EQ(masked, draw(ref_backend(), logits, vocab, params, mask.data()));
    for (size_t r = 0; r < masked.size(); ++r) {
      if (masked[r] < 0) continue;
      const size_t words = static_cast<size_t>((vocab + 31) / 32);
      const auto id = static_cast<size_t>(masked[r]);
      EXPECT_TRUE(mask[r * words + id / 32] >> (id % 32) & 1u);
    }
  }
}

TEST(Sample, FrequenciesFollowTheSoftmax) {
  const std::vector<float> row = {0.0f, 1.0f, 2.0f};
  constexpr int kDraws = 20000;
  std::vector<float> logits;
  std::vector<SampleParams> params;
  for (uint64_t i = 0; i < kDraws; ++i) {
    logits.insert(logits.end(), row.begin(), row.end());
    params.push_back({1.0f, 0, 1.0f, i});
  }
  int count[3] = {};
  for (const int32_t id : draw(cpu_backend(), logits, 3, params)) ++count[id];
  const double total = 1 + std::exp(1) + std::exp(2);
  for (int id = 0; id < 3; ++id) {
    EXPECT_NEAR(count[id] / double{kDraws}, std::exp(id) / total, 0.015) << "id " << id;
  }
}

class SampleBackend : public testing::TestWithParam<const Backend*> {};

TEST_P(SampleBackend, NanCountsAsMinusInfinity) {
  const float nan = kPoison, inf = INFINITY;
  const std::vector<SampleParams> greedy = {{0, 0, 1, 0}}, hot = {{1, 0, 1, 0}};
  for (const auto& params : {greedy, hot}) {
    EXPECT_EQ(draw(*GetParam(), {nan, -inf, 3, nan}, 4, params)[0], 2);
    const int32_t id = draw(*GetParam(), {nan, nan, nan}, 3, params)[0];
    EXPECT_TRUE(0 <= id && id < 3) << id;
  }
  EXPECT_EQ(draw(*GetParam(), {nan, 1, inf, inf}, 4, greedy)[0], 2);
  EXPECT_EQ(draw(*GetParam(), {nan, nan}, 2, greedy)[0], 0);
}

TEST_P(SampleBackend, MaskThatAllowsNothingGivesMinusOne) {
  const uint32_t mask = 0;
  for (const float temperature : {0.0f, 1.0f}) {
    EXPECT_EQ(draw(*GetParam(), {1, 2}, 2, {{temperature, 0, 1, 0}}, &mask)[0], -1);
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, SampleBackend, testing::Values(&ref_backend(), &cpu_backend()),
                         [](const auto& p) { return std::string(p.param->name); });

}  // namespace
}  // namespace lowbit
