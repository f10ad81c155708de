#include <gtest/gtest.h>

#include "base/check.h"
#include "quantize/matrix.h"
#include "quantize/samples.h"

namespace lowbit {
namespace {

using namespace samples;

TEST(Matrix, FactorsMultiplyBack) {
  for (const int64_t k : {1, 5, 64, 150, 257}) {
    const InputStats stats = stats_of(correlated_inputs(2 * k, k, 31), 2 * k, k);
    std::vector<float> u = stats.hessian;
    for (int64_t i = 0; i < k; ++i) u[i * k + i] *= 1.01f;
    ASSERT_TRUE(factor_udu(u.data(), k)) << k;
    for (int64_t i = 0; i < k; ++i) {
      for (int64_t j = i; j < k; ++j) {
        double sum = 0;  // of U sqrt(D), rows i and j
        for (int64_t m = j; m < k; ++m) {
          const double root = u[m * k + m];
          sum += (m == i ? root : u[i * k + m] * root) * (m == j ? root : u[j * k + m] * root);
        }
        const double expected = stats.hessian[i * k + j] * (i == j ? 1.01 : 1);
        const double size = std::sqrt(stats.mean_square[i] * stats.mean_square[j]);
        ASSERT_NEAR(sum, expected, 1e-4 * size) << k << ": " << i << ", " << j;
      }
    }
  }
  std::vector<float> negative = {1, 0, 0, -1};
  EXPECT_FALSE(factor_udu(negative.data(), 2));
}

TEST(Matrix, SecondMomentsAreSums) {
  const int64_t rows = 37, k = 83;
  const std::vector<float> x = gaussian(rows * k, 1, 32);
  const InputStats expected = stats_of(x, rows, k);
  std::vector<float> h(static_cast<size_t>(k * k));
  add_second_moments(x.data(), rows, k, h.data());
  mirror_upper(h.data(), k);
  for (size_t i = 0; i < h.size(); ++i) {
    ASSERT_NEAR(h[i] / static_cast<float>(rows), expected.hessian[i], 1e-5);
  }
}

const std::vector<const char*> kMany = {
    "int8",    "int4", "int4-g128-asym", "int4-row", "int4-g256-sym", "int3", "int2",
    "ternary", "fp4",  "fp8-b128x128",   "mxfp4",    "nvfp4",         "q4_0", "int4-sym-24"};

TEST(Gptq, UncorrelatedInputsGiveRoundToNearest) {
  const int64_t n = 40, k = 300;
  const QTensor source = tensor_of(gaussian(n * k, 0.02f, 33), n, k);
  const InputStats stats = identity_stats(k);
  for (const char* text : kMany) {
    const Format f = parse_format(text);
    if (!cannot_take(f, n, k).empty()) continue;
    EXPECT_TRUE(
        same_planes(quantize_gptq(source, f, {"w", &stats}), quantize_rtn(source, f, {"w"})))
        << text;
  }
}

TEST(Gptq, LowersTheErrorOfTheOutputs) {
  const int64_t n = 32, rows = 700;
  for (const int64_t k : {512, 456}) {  // 456: a last group that is short
    const std::vector<float> w = gaussian(n * k, 0.02f, 34);
    const InputStats stats = stats_of(correlated_inputs(rows, k, 35), rows, k);
    const QTensor source = tensor_of(w, n, k);
    for (const char* text : kMany) {
      const Format f = parse_format(text);
      if (!cannot_take(f, n, k).empty()) continue;
      const auto error = [&](auto* quantize) {
        return output_error(w, decode_rows(quantize(source, f, {"w", &stats})), stats);
      };
      const double rtn = error(quantize_rtn), gptq = error(quantize_gptq);
      EXPECT_LT(gptq, 0.85 * rtn) << text;
      EXPECT_LT(error(quantize_gptq_search), 1.02 * gptq) << text;
      EXPECT_LT(error(quantize_gptq_order), 0.85 * rtn) << text;
    }
  }
}

TEST(Gptq, InputsThatAreAlwaysZeroDoNoHarm) {
  const int64_t n = 8, k = 128;
  const std::vector<float> w = gaussian(n * k, 0.02f, 36);
  const InputStats nothing{.rows = 3,
                           .mean_square = std::vector<float>(k),
                           .mean_abs = std::vector<float>(k),
                           .hessian = std::vector<float>(k * k)};
  const Format f = parse_format("int4");
  const QTensor source = tensor_of(w, n, k);
  EXPECT_TRUE(
      same_planes(quantize_gptq(source, f, {"w", &nothing}), quantize_rtn(source, f, {"w"})));
  InputStats some = stats_of(correlated_inputs(300, k, 37), 300, k);
  for (int64_t i = 0; i < k; ++i) some.hessian[5 * k + i] = some.hessian[i * k + 5] = 0;
  EXPECT_GT(sqnr_db(w, decode_rows(quantize_gptq(source, f, {"w", &some}))), 10);
}

TEST(Gptq, StatisticsThatCannotBeAreErrors) {
  const QTensor source = tensor_of(gaussian(4 * 64, 1, 38), 4, 64);
  const Format f = parse_format("int4");
  const auto message = [&](const InputStats* stats) {
    try {
      quantize_gptq(source, f, {"a.weight", stats});
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(message(nullptr).find("a.weight"), std::string::npos);
  InputStats stats = identity_stats(64);
  stats.hessian.clear();
  EXPECT_NE(message(&stats).find("second moments"), std::string::npos);
  stats = identity_stats(64);
  stats.hessian[0] = NAN;
  EXPECT_NE(message(&stats).find("not finite"), std::string::npos);
  stats = identity_stats(64);
  stats.hessian[1] = stats.hessian[64] = 1e6f;
  EXPECT_NE(message(&stats).find("not positive"), std::string::npos);
}

}  // namespace
}  // namespace lowbit
