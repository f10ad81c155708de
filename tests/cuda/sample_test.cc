// The GPU draws the reference's tokens.
#include <cmath>

#include "cuda/on_gpu.h"
#include "cuda/ops.h"
#include "kernels/linear_setup.h"
#include "ref/backend.h"

namespace lowbit {
namespace {

using test::gaussian;
using test::kPoison;
using Tokens = std::vector<int32_t>;

struct Drawn {
  Tokens gpu, ref;
};

Drawn draw(const std::vector<float>& logits, int32_t vocab, const std::vector<SampleParams>& params,
           const std::vector<uint32_t>& mask = {}) {
  const auto rows = static_cast<int32_t>(params.size());
  Tokens pos(params.size()), out(params.size(), -7);
  for (size_t i = 0; i < pos.size(); ++i) pos[i] = static_cast<int32_t>(10 + i);
  const OnGpu logits_gpu(logits), mask_gpu(mask), params_gpu(params), pos_gpu(pos), out_gpu(out);
  cuda::sample(
      {rows, vocab, logits_gpu.as<float>(), mask.empty() ? nullptr : mask_gpu.as<uint32_t>(),
       params_gpu.as<SampleParams>(), pos_gpu.as<int32_t>(), out_gpu.as<int32_t>()},
      nullptr);
  ref_backend().op.sample({rows, vocab, logits.data(), mask.empty() ? nullptr : mask.data(),
                           params.data(), pos.data(), out.data()},
                          nullptr);
  return {out_gpu.read<int32_t>(), out};
}

std::vector<SampleParams> all_params(uint64_t seeds) {
  std::vector<SampleParams> params;
  for (const float temperature : {0.0f, 0.3f, 1.0f, 8.0f}) {
    for (const int32_t top_k : {0, 1, 5, 100000}) {
      for (const float top_p : {1.0f, 0.9f, 0.2f, 0.0f}) {
        for (uint64_t seed = 0; seed < seeds; ++seed) {
          params.push_back({temperature, top_k, top_p, seed});
        }
      }
    }
  }
  return params;
}

class CudaSample : public GpuTest {};

TEST_F(CudaSample, DrawsTheReferenceTokens) {
  for (const int32_t vocab : {1, 3, 257, 5000}) {
    const std::vector<SampleParams> params = all_params(4);
    std::vector<float> logits =
        gaussian(static_cast<int64_t>(params.size()) * vocab, 3, static_cast<uint64_t>(vocab));
    for (float& logit : logits) logit = std::round(logit * 20) / 4;  // many ties
    const Drawn all = draw(logits, vocab, params);
    EXPECT_EQ(all.gpu, all.ref) << "vocab " << vocab;

    std::vector<uint32_t> mask(params.size() * static_cast<size_t>((vocab + 31) / 32));
    const Rng rng(5);
    for (size_t i = 0; i < mask.size(); ++i) mask[i] = static_cast<uint32_t>(rng.bits(i));
    const Drawn masked = draw(logits, vocab, params, mask);
    EXPECT_EQ(masked.gpu, masked.ref) << "vocab " << vocab;
  }
}

TEST_F(CudaSample, DrawsTheReferenceTokensOfALargeVocabulary) {
  constexpr int32_t kVocab = 128256;
  const std::vector<SampleParams> params = all_params(1);
  std::vector<float> logits = gaussian(static_cast<int64_t>(params.size()) * kVocab, 4, 1);
  for (float& logit : logits) logit *= 3;
  const Drawn drawn = draw(logits, kVocab, params);
  EXPECT_EQ(drawn.gpu, drawn.ref);
}

// Every token alike, or all in two heaps: no bin is small enough to be sorted.
TEST_F(CudaSample, DrawsAmongManyEquals) {
  constexpr int32_t kVocab = 50000;
  const std::vector<SampleParams> params = all_params(1);
  for (const int period : {1, 2, 7}) {
    std::vector<float> logits(params.size() * kVocab);
    for (size_t i = 0; i < logits.size(); ++i) logits[i] = i % period == 0 ? 1.5f : 1.0f;
    const Drawn drawn = draw(logits, kVocab, params);
    EXPECT_EQ(drawn.gpu, drawn.ref) << "period " << period;
  }
}

// Logits so close that a bin holds thousands that are not equal.
TEST_F(CudaSample, DrawsAmongManyNeighbours) {
  constexpr int32_t kVocab = 30000;
  const std::vector<SampleParams> params = all_params(1);
  std::vector<float> logits = gaussian(static_cast<int64_t>(params.size()) * kVocab, 6, 1);
  for (size_t i = 0; i < logits.size(); ++i) {
    logits[i] = i % kVocab == 77 ? 30.0f : 20.0f + logits[i] * 1e-3f;
  }
  const Drawn drawn = draw(logits, kVocab, params);
  EXPECT_EQ(drawn.gpu, drawn.ref);
}

TEST_F(CudaSample, FrequenciesFollowTheSoftmax) {
  const std::vector<float> row = {0.0f, 1.0f, 2.0f};
  constexpr int kDraws = 20000;
  std::vector<float> logits;
  std::vector<SampleParams> params;
  for (uint64_t i = 0; i < kDraws; ++i) {
    logits.insert(logits.end(), row.begin(), row.end());
    params.push_back({1.0f, 0, 1.0f, i});
  }
  int count[3] = {};
  for (const int32_t id : draw(logits, 3, params).gpu) ++count[id];
  const double total = 1 + std::exp(1) + std::exp(2);
  for (int id = 0; id < 3; ++id) {
    EXPECT_NEAR(count[id] / double{kDraws}, std::exp(id) / total, 0.015) << "id " << id;
  }
}

TEST_F(CudaSample, NanCountsAsMinusInfinity) {
  const float nan = kPoison, inf = INFINITY;
  const std::vector<SampleParams> greedy = {{0, 0, 1, 0}}, hot = {{1, 0, 1, 0}};
  for (const auto& params : {greedy, hot}) {
    for (const std::vector<float>& logits : {std::vector<float>{nan, -inf, 3, nan},
                                             {nan, nan, nan},
                                             {nan, 1, inf, inf},
                                             {nan, nan},
                                             {-inf, -inf, -inf},
                                             {0.0f, -0.0f},
                                             {-0.0f, 0.0f}}) {
      const Drawn drawn = draw(logits, static_cast<int32_t>(logits.size()), params);
      EXPECT_EQ(drawn.gpu, drawn.ref);
    }
  }
}

TEST_F(CudaSample, MaskThatAllowsNothingGivesMinusOne) {
  for (const float temperature : {0.0f, 1.0f}) {
    EXPECT_EQ(draw({1, 2}, 2, {{temperature, 0, 1, 0}}, {0}).gpu[0], -1);
  }
}

TEST_F(CudaSample, RepeatsInAnyCompany) {
  constexpr int32_t kVocab = 32000;
  const std::vector<SampleParams> params(16, {0.8f, 50, 0.95f, 7});
  const std::vector<float> row = gaussian(kVocab, 8, 1);
  std::vector<float> logits;
  for (size_t i = 0; i < params.size(); ++i) logits.insert(logits.end(), row.begin(), row.end());
  const Drawn all = draw(logits, kVocab, params);
  EXPECT_EQ(all.gpu, all.ref);
  EXPECT_EQ(draw(logits, kVocab, params).gpu, all.gpu);
}

}  // namespace
}  // namespace lowbit
