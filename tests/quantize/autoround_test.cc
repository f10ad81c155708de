#include <gtest/gtest.h>

#include "base/check.h"
#include "base/thread_pool.h"
#include "quantize/samples.h"

namespace lowbit {
namespace {

using namespace samples;

const std::vector<const char*> kWhole = {"int8",     "int4",     "int4-g128-asym",
                                         "int4-row", "int4-sym", "int3-g32-fzero",
                                         "int2",     "q4_1",     "int4-rzero"};

TEST(Autoround, LowersTheErrorOfTheOutputsOfEveryRow) {
  const int64_t n = 20, rows = 700, k = 200;  // a last group and a last tile that are short
  const std::vector<float> w = gaussian(n * k, 0.02f, 41);
  const InputStats stats = stats_of(correlated_inputs(rows, k, 42), rows, k);
  const QTensor source = tensor_of(w, n, k);
  for (const char* text : kWhole) {
    const Format f = parse_format(text);
    if (!cannot_take(f, n, k).empty()) continue;
    const QuantizeContext context = {"w", &stats, 60};
    const std::vector<float> rtn = decode_rows(quantize_rtn(source, f, context)),
                             learned = decode_rows(quantize_autoround(source, f, context));
    EXPECT_LT(output_error(w, learned, stats), 0.75 * output_error(w, rtn, stats)) << text;
    for (int64_t r = 0; r < n; ++r) {
      const auto row = [&](const std::vector<float>& m) {
        return std::vector<float>(m.begin() + r * k, m.begin() + (r + 1) * k);
      };
      EXPECT_LE(output_error(row(w), row(learned), stats),
                1.02 * output_error(row(w), row(rtn), stats))
          << text << " row " << r;
    }
  }
}

TEST(Autoround, IsTheSameOnAnyNumberOfThreadsAndTwice) {
  const int64_t n = 40, k = 128;
  const QTensor source = tensor_of(gaussian(n * k, 0.02f, 43), n, k);
  const InputStats stats = stats_of(correlated_inputs(300, k, 44), 300, k);
  const Format f = parse_format("int4");
  const QTensor first = quantize_autoround(source, f, {"w", &stats, 10});
  const QTensor top = quantize_autoround(slice_rows(source, 0, 8), f, {"w", &stats, 10});
  EXPECT_TRUE(same_planes(first, quantize_autoround(source, f, {"w", &stats, 10})));
  EXPECT_TRUE(same_planes(slice_rows(first, 0, 8), top));
  EXPECT_FALSE(same_planes(first, quantize_autoround(source, f, {"w", &stats, 40})));
}

TEST(Autoround, InputsThatTellNothingGiveRoundToNearest) {
  const int64_t n = 8, k = 128;
  const QTensor source = tensor_of(gaussian(n * k, 0.02f, 45), n, k);
  const InputStats nothing{.rows = 3,
                           .mean_square = std::vector<float>(k),
                           .mean_abs = std::vector<float>(k),
                           .hessian = std::vector<float>(k * k)};
  const Format f = parse_format("int4");
  EXPECT_TRUE(same_planes(quantize_autoround(source, f, {"w", &nothing, 5}),
                          quantize_rtn(source, f, {"w"})));
}

TEST(Autoround, SaysWhatItCannotDo) {
  const QTensor source = tensor_of(gaussian(4 * 64, 1, 46), 4, 64);
  InputStats stats = identity_stats(64);
  const auto message = [&](const char* format, const InputStats* inputs) {
    try {
      quantize_autoround(source, parse_format(format), {"a.weight", inputs, 1});
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(message("int4", nullptr).find("a.weight: autoround needs"), std::string::npos);
  EXPECT_NE(message("mxfp4", &stats).find("whole numbers"), std::string::npos);
  EXPECT_NE(message("int4-24", &stats).find("whole numbers"), std::string::npos);
  stats.hessian[3] = NAN;
  EXPECT_NE(message("int4", &stats).find("not finite"), std::string::npos);
}

}  // namespace
}  // namespace lowbit
