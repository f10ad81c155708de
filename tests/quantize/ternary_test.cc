#include <gtest/gtest.h>

#include "quantize/samples.h"

namespace lowbit {
namespace {

using namespace samples;

// Row r: -1, 0, 1 times scale[r].
std::vector<float> ternary_rows(const std::vector<float>& scale, int64_t k) {
  std::vector<float> w;
  Rng rng(21);
  for (const float s : scale) {
    for (int64_t i = 0; i < k; ++i) {
      w.push_back(s * static_cast<float>(static_cast<int64_t>(rng.next() % 3) - 1));
    }
  }
  return w;
}

TEST(Ternary, WeightsThatAreTernaryStayBitForBit) {
  const std::vector<float> one = ternary_rows({0.731f, 0.731f, 0.731f}, 256);
  const std::vector<float> rows = ternary_rows({0.5f, 0.731f, 3e-4f}, 256);
  for (const Quantizer* each : our_quantizers()) {
    const Quantizer& quantizer = *each;
    if (quantizer.refuses && !quantizer.refuses(parse_format("ternary")).empty()) continue;
    const InputStats stats = identity_stats(256);
    for (const char* text : {"ternary", "ternary5", "ternary-row", "ternary5-g64"}) {
      const Format f = parse_format(text);
      EXPECT_EQ(decode_rows(quantizer.run(tensor_of(one, 3, 256), f, {"w", &stats})), one)
          << text << " by " << quantizer.name;
      if (f.block.n == 0) continue;
      EXPECT_EQ(decode_rows(quantizer.run(tensor_of(rows, 3, 256), f, {"w", &stats})), rows)
          << text << " by " << quantizer.name;
    }
  }
}

TEST(Ternary, IsSeenInTensorsAndInRows) {
  float scale = 0;
  const QTensor one = tensor_of(ternary_rows({0.731f, 0.731f}, 64), 2, 64);
  EXPECT_TRUE(is_ternary(one, &scale));
  EXPECT_EQ(scale, 0.731f);
  EXPECT_TRUE(is_ternary_by_row(one));
  const QTensor rows = tensor_of(ternary_rows({0.731f, 0.5f}, 64), 2, 64);
  EXPECT_FALSE(is_ternary(rows, nullptr));
  EXPECT_TRUE(is_ternary_by_row(rows));
  EXPECT_TRUE(is_ternary(tensor_of(std::vector<float>(64), 1, 64), &scale));
  EXPECT_EQ(scale, 0);
  EXPECT_FALSE(is_ternary_by_row(tensor_of(gaussian(64, 1, 1), 1, 64)));
  EXPECT_FALSE(is_ternary_by_row(tensor_of(std::vector<float>(64, NAN), 1, 64)));
}

TEST(Ternary, SignsKeepTheMeanRule) {  // a sign has no zero: the least error is at the mean
  const QTensor q =
      quantize_rtn(tensor_of(ternary_rows({1.0f}, 64), 1, 64), parse_format("int1"), {"w"});
  EXPECT_LT(load_block(q, 0, 0).scale, 0.9);
}

}  // namespace
}  // namespace lowbit
