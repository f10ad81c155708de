#include <gtest/gtest.h>

#include "base/check.h"
#include "quantize/samples.h"

namespace lowbit {
namespace {

using namespace samples;

std::vector<float> table_of(const QTensor& t) {
  const auto* numbers = reinterpret_cast<const float*>(t.outer.data.data());
  return {numbers, numbers + 16};
}

TEST(Codebook, LearnsNumbersThatBeatEvenlySpacedOnes) {
  const int64_t n = 64, k = 500;  // a last group that is short
  const std::pair<const char*, std::vector<float>> kWeights[] = {
      {"gaussian", gaussian(n * k, 0.02f, 51)}, {"heavy tails", student_t5(n * k, 0.02f, 52)}};
  for (const auto& row : kWeights) {
    const std::vector<float>& w = row.second;
    const QTensor source = tensor_of(w, n, k);
    const auto db = [&](const char* format) {
      return sqnr_db(w, decode_rows(quantize_rtn(source, parse_format(format), {"w"})));
    };
    EXPECT_GT(db("codebook"), db("int4-g64-sym") + 0.8) << row.first;
    EXPECT_GT(db("codebook"), db("fp4-g64") + 0.3) << row.first;
    EXPECT_GT(db("codebook-g32"), db("codebook")) << row.first;
  }
}

TEST(Codebook, SixteenNumbersComeBackAsTheyWere) {
  std::vector<float> w;
  for (int i = 0; i < 4096; ++i) {  // -1 and every 16th of the way to 1 but one
    const int step = (i * 7) % 16;
    w.push_back(step == 15 ? 1.0f : -1.0f + static_cast<float>(step) / 8);
  }
  const QTensor q = quantize_rtn(tensor_of(w, 64, 64), parse_format("codebook"), {"w"});
  EXPECT_EQ(decode_rows(q), w);
  const std::vector<float> table = table_of(q);
  EXPECT_TRUE(std::is_sorted(table.begin(), table.end()));
  EXPECT_EQ(q.outer.data.size(), 64u);
}

TEST(Codebook, RowsThatAreCutOutMeanTheSame) {
  const int64_t n = 12, k = 128;
  const QTensor q =
      quantize_rtn(tensor_of(gaussian(n * k, 1, 53), n, k), parse_format("codebook"), {"w"});
  const std::vector<float> whole = decode_rows(q), part = decode_rows(slice_rows(q, 4, 9));
  EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + 4 * k));
}

TEST(Codebook, OddTensorsAreFine) {
  const Format f = parse_format("codebook");
  const std::vector<float> zeros(256);
  EXPECT_EQ(decode_rows(quantize_rtn(tensor_of(zeros, 2, 128), f, {"w"})), zeros);
  const std::vector<float> same(256, 0.5f);
  EXPECT_EQ(decode_rows(quantize_rtn(tensor_of(same, 2, 128), f, {"w"})), same);
  std::vector<float> bad(256, 1.0f);
  bad[130] = NAN;
  try {
    quantize_rtn(tensor_of(bad, 2, 128), f, {"a.weight"});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("a.weight: row 1"), std::string::npos) << error.what();
  }
  try {
    quantize_mse(tensor_of(same, 2, 128), f, {"a.weight"});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("numbers of codebook are chosen together"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace lowbit
