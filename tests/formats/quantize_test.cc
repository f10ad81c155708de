#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/rng.h"
#include "formats/codec.h"
#include "quantize/quantizer.h"

namespace lowbit {
namespace {

QTensor tensor_of(const std::vector<float>& values, int64_t n, int64_t k) {
  QTensorBuilder b = build_qtensor(format_of(FormatId::kF32), n, k);
  encode_plain(FormatId::kF32, values.data(), n * k, b.codes);
  return b.tensor;
}

std::vector<float> gaussian(int64_t count, float scale, uint64_t seed) {
  std::vector<float> values(static_cast<size_t>(count));
  Rng rng(seed);  // Box-Muller: Rng::gaussian has shorter tails, which flatter every format
  for (float& value : values) {
    const double radius = std::sqrt(-2 * std::log(1 - double{rng.next_uniform()}));
    value = static_cast<float>(scale * radius * std::cos(2 * M_PI * rng.next_uniform()));
  }
  return values;
}

const std::vector<const char*> kQuantized = {
    "int8",           "int8-g64", "int8-tensor", "int4", "int4-g32",
    "int4-g128-asym", "int4-sym", "int4-row",    "q8_0", "q4_0"};

double sqnr_db(const std::vector<float>& w, const std::vector<float>& q) {
  double signal = 0, noise = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    signal += double{w[i]} * w[i];
    noise += (double{w[i]} - q[i]) * (double{w[i]} - q[i]);
  }
  return 10 * std::log10(signal / noise);
}

TEST(Rtn, ErrorStaysWithinHalfAStep) {
  const int64_t n = 7, k = 200;  // k is a multiple of no group
  const std::vector<float> w = gaussian(n * k, 0.02f, 1);
  for (const char* text : kQuantized) {
    const Format f = parse_format(text);
    const QTensor q = quantize_rtn(tensor_of(w, n, k), f, {"w"});
    const std::vector<float> back = decode_rows(q);
    for (int64_t row = 0; row < n; ++row) {
      for (int64_t i = 0; i < k; ++i) {
        const BlockParams p = load_block(q, row, f.block.k == 0 ? 0 : i / f.block.k);
        const double lo = (code_range(f).min - p.shift) * p.scale + p.offset;
        const double hi = (code_range(f).max - p.shift) * p.scale + p.offset;
        const double clamped =
            std::clamp(double{w[row * k + i]}, std::min(lo, hi), std::max(lo, hi));
        ASSERT_NEAR(back[row * k + i], clamped, 0.5001 * std::abs(p.scale)) << text;
      }
    }
  }
}

TEST(Rtn, QuantizingAgainChangesNothing) {
  const std::vector<float> w = gaussian(4 * 256, 0.02f, 3);
  for (const char* text : {"int8", "q8_0"}) {
    const Format f = parse_format(text);
    const QTensor once = quantize_rtn(tensor_of(w, 4, 256), f, {"w"});
    const std::vector<float> back = decode_rows(once);
    const std::vector<float> twice = decode_rows(quantize_rtn(tensor_of(back, 4, 256), f, {"w"}));
    EXPECT_GT(sqnr_db(back, twice), 60) << text;
  }
}

TEST(Rtn, HardBlocksStayFinite) {
  const float huge = 3e38f, tiny = std::numeric_limits<float>::denorm_min();
  const std::vector<std::vector<float>> blocks = {
      std::vector<float>(64, 0.0f), std::vector<float>(64, 1.5f), std::vector<float>(64, tiny),
      std::vector<float>(64, -huge)};
  for (const char* text : {"int8", "int8-g64", "int4", "int4-sym", "int4-g32-asym"}) {
    for (const std::vector<float>& block : blocks) {
      for (const float value :
           decode_rows(quantize_rtn(tensor_of(block, 1, 64), parse_format(text), {"w"}))) {
        ASSERT_TRUE(std::isfinite(value)) << text;
        // int4-sym clamps a positive maximum to 7/8 of itself
        ASSERT_NEAR(value, block[0], std::abs(block[0]) * 0.13f + 1e-40f) << text;
      }
    }
  }
}

TEST(Rtn, OppositeExtremesStayFinite) {
  std::vector<float> w(64, 1.0f);
  w[3] = 3.0e38f;
  w[9] = -3.0e38f;
  for (const char* text : {"int8", "int4", "int4-sym", "int4-g32-asym"}) {
    const std::vector<float> back =
        decode_rows(quantize_rtn(tensor_of(w, 1, 64), parse_format(text), {"w"}));
    for (const float value : back) ASSERT_TRUE(std::isfinite(value)) << text;
  }
}

TEST(Rtn, ANumberBeyondAPlainFormatIsAnError) {
  const std::pair<const char*, float> kBeyond[] = {
      {"f16", 65520.0f}, {"f16", -7e4f}, {"bf16", 3.4e38f}};
  for (const auto& [format, number] : kBeyond) {
    std::vector<float> w(3 * 64, 1.0f);
    w[64 + 5] = number;
    try {
      quantize_rtn(tensor_of(w, 3, 64), parse_format(format), {"lm_head.weight"});
      ADD_FAILURE() << format << " " << number;
    } catch (const Error& error) {
      EXPECT_TRUE(std::string(error.what())
                      .starts_with(fmt::format("tensor lm_head.weight: row 1 holds a number beyond "
                                               "the largest of {}, ",
                                               format)))
          << error.what();
    }
  }
  const std::vector<float> largest = {65519.0f, -65504.0f};  // round to what f16 has
  EXPECT_EQ(decode_rows(quantize_rtn(tensor_of(largest, 1, 2), parse_format("f16"), {"w"})),
            (std::vector<float>{65504.0f, -65504.0f}));
}

// As torchao has it: one group is no group, and nothing is rounded between the two scales.
TEST(Rtn, QqqOfOneGroupIsThatOfRows) {
  const int64_t n = 7, k = 128;
  const QTensor w = tensor_of(gaussian(n * k, 0.02f, 5), n, k);
  const QTensor group = quantize_rtn(w, parse_format("qqq"), {"w"});
  EXPECT_EQ(decode_rows(group), decode_rows(quantize_rtn(w, parse_format("qqq-row"), {"w"})));
  const QTensor twice = quantize_rtn(tensor_of(decode_rows(group), n, k), group.format, {"w"});
  EXPECT_GT(sqnr_db(decode_rows(group), decode_rows(twice)), 60);
}

TEST(Rtn, NanAndInfinityAreReportedByTensorAndRow) {
  std::vector<float> w(3 * 64, 1.0f);
  w[64 + 5] = std::numeric_limits<float>::quiet_NaN();
  try {
    quantize_rtn(tensor_of(w, 3, 64), parse_format("int4"), {"model.layers.0.mlp.up_proj.weight"});
    FAIL();
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("model.layers.0.mlp.up_proj.weight"), std::string::npos);
    EXPECT_NE(message.find("row 1"), std::string::npos);
  }
}

}  // namespace
}  // namespace lowbit
