#include <gtest/gtest.h>

#include "base/check.h"
#include "quantize/grid.h"
#include "quantize/samples.h"

namespace lowbit {
namespace {

using namespace samples;

const std::vector<const char*> kFormatsOfEveryKind = {
    "int8",      "int8-g64-asym", "int6-asym",  "int4",        "int4-g32-sym", "int4-g128-rzero",
    "int4-row",  "int4-asym",     "int3",       "int3-sym",    "int2",         "int2-sym",
    "int2-asym", "int1",          "int1-rzero", "ternary",     "ternary-g64",  "ternary5-row",
    "fp8",       "fp8-b128x128",  "fp6",        "fp5-g64",     "fp4-g32",      "fp3-g32",
    "mxfp8",     "mxfp6",         "mxfp4",      "mxfp4-rceil", "nvfp4",        "q8_0",
    "q5_1",      "q4_0",          "q4_1",       "int4-sym-24", "tq2_0"};

TEST(Mse, IsNeverWorseThanRoundToNearestInAnyBlock) {
  const int64_t n = 128, k = 256;
  const std::vector<float> w = student_t5(n * k, 0.02f, 11);
  for (const char* text : kFormatsOfEveryKind) {
    const Format f = parse_format(text);
    const std::vector<float> rtn = decode_rows(quantize_rtn(tensor_of(w, n, k), f, {"w"}));
    const std::vector<float> mse = decode_rows(quantize_mse(tensor_of(w, n, k), f, {"w"}));
    const int64_t wide = f.block.k == 0 ? k : f.block.k, high = f.block.n == 0 ? n : f.block.n;
    for (int64_t top = 0; top < n; top += high) {
      for (int64_t left = 0; left < k; left += wide) {
        double before = 0, after = 0;
        for (int64_t r = top; r < top + high; ++r) {
          for (int64_t i = r * k + left; i < r * k + left + wide; ++i) {
            before += std::pow(double{w[i]} - rtn[i], 2);
            after += std::pow(double{w[i]} - mse[i], 2);
          }
        }
        ASSERT_LE(after, before * (1 + 1e-6)) << text << " " << top << " " << left;
      }
    }
  }
}

TEST(Mse, GainsWhatClippingIsKnownToGain) {
  const int64_t n = 64, k = 2048;
  const std::vector<float> w = gaussian(n * k, 0.02f, 12);
  const auto gain = [&](const char* text) {
    const Format f = parse_format(text);
    return sqnr_db(w, decode_rows(quantize_mse(tensor_of(w, n, k), f, {"w"}))) -
           sqnr_db(w, decode_rows(quantize_rtn(tensor_of(w, n, k), f, {"w"})));
  };
  EXPECT_GT(gain("int4-g128"), 0.3);
  EXPECT_GT(gain("int4-row"), 1);
  EXPECT_GT(gain("int2"), 1.5);
  EXPECT_GT(gain("ternary"), 1);
  EXPECT_GT(gain("nvfp4"), 0.2);
}

// The best uniform quantizers of a gaussian (J. Max, 1960): 9.25 dB with 4 levels, 14.27 with 8.
TEST(Mse, ComesNearTheBestUniformQuantizerOfAGaussian) {
  const int64_t n = 8, k = 65536;
  const std::vector<float> w = gaussian(n * k, 0.02f, 13);
  const auto db = [&](const char* text) {
    return sqnr_db(w, decode_rows(quantize_mse(tensor_of(w, n, k), parse_format(text), {"w"})));
  };
  EXPECT_NEAR(db("int2-row"), 9.25, 0.1);
  EXPECT_NEAR(db("int3-row"), 14.27, 0.1);
  EXPECT_NEAR(db("int4-row"), 19.38, 0.15);
}

TEST(Mse, FastErrorEqualsTheExactOne) {
  const std::vector<float> w = gaussian(256, 0.02f, 14), counts(256, 0.5f);
  for (const char* text : kFormatsOfEveryKind) {
    const Format f = parse_format(text);
    for (const std::vector<float>& importance : {std::vector<float>(), counts}) {
      const BlockNumbers block{w, importance, f.outer == Outer::kNone ? 1.0f : 1e-4f};
      const BlockParams stored =
          stored_params(f, choose_grid(f, block.w, block.outer), block.outer);
      const double exact = squared_error(f, block, stored);
      EXPECT_NEAR(fast_squared_error(f, block, stored), exact, 1e-3 * exact) << text;
    }
  }
}

TEST(Importance, LowersTheErrorOfWhatIsRead) {
  const int64_t n = 32, k = 512, rows = 256;
  const std::vector<float> w = gaussian(n * k, 0.02f, 15);
  const InputStats stats = stats_of(correlated_inputs(rows, k, 16), rows, k);
  const auto weighted = [&](const QTensor& q) {
    const std::vector<float> back = decode_rows(q);
    double total = 0;
    for (int64_t i = 0; i < n * k; ++i) {
      total += stats.mean_square[i % k] * std::pow(double{w[i]} - back[i], 2);
    }
    return total;
  };
  for (const char* text : {"int4", "int3", "int2-sym", "mxfp4", "nvfp4", "int4-sym-24"}) {
    const Format f = parse_format(text);
    const QTensor source = tensor_of(w, n, k);
    EXPECT_LT(weighted(quantize_importance(source, f, {"w", &stats})),
              0.98 * weighted(quantize_mse(source, f, {"w"})))
        << text;
  }
}

TEST(Importance, AsksForCalibrationByName) {
  try {
    quantize_importance(tensor_of(gaussian(64, 1, 1), 1, 64), parse_format("int4"), {"a.weight"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("a.weight"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("calibrate"), std::string::npos);
  }
}

}  // namespace
}  // namespace lowbit
