#include "formats/codec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/rng.h"

namespace lowbit {
namespace {

std::vector<Format> all_formats() {
  std::vector<Format> formats;
  for (const FormatRow& row : kFormats) formats.push_back(row.defaults);
  for (const char* name : {"int8-g64", "int8-tensor", "int4-sym", "int4-g32-asym", "int4-row"}) {
    formats.push_back(parse_format(name));
  }
  return formats;
}

TEST(Codec, EveryCodeDecodesAndEncodesBack) {
  for (const Format& f : all_formats()) {
    const uint64_t codes = uint64_t{1} << std::min<int>(f.bits, 16);
    for (uint64_t i = 0; i < codes; ++i) {
      const auto code = static_cast<uint32_t>(f.bits == 32 ? i << 16 : i);
      const double value = decode_code(f, code);
      if (std::isnan(value)) continue;
      ASSERT_EQ(encode_code(f, value), code) << name(f);
      if (f.quantized()) {
        ASSERT_GE(value, code_range(f).min);
        ASSERT_LE(value, code_range(f).max);
      }
    }
  }
}

TEST(Codec, EncodeTakesTheNearestCodeAndClamps) {
  const Format int4 = parse_format("int4-sym");
  EXPECT_EQ(decode_code(int4, encode_code(int4, 2.5)), 2);  // ties to even
  EXPECT_EQ(decode_code(int4, encode_code(int4, 3.5)), 4);
  EXPECT_EQ(decode_code(int4, encode_code(int4, 99)), 7);
  EXPECT_EQ(decode_code(int4, encode_code(int4, -99)), -8);
  const Format uint4 = parse_format("int4");
  EXPECT_EQ(encode_code(uint4, -1), 0u);
  EXPECT_EQ(encode_code(uint4, 15.4), 15u);
}

TEST(Codec, PackedCodesOfEveryWidthRoundTrip) {
  Rng rng(1);
  for (int bits = 1; bits <= 16; ++bits) {
    for (const int64_t k : {1, 7, 8, 63, 64, 65}) {
      std::vector<uint32_t> codes(static_cast<size_t>(k));
      for (uint32_t& code : codes) code = static_cast<uint32_t>(rng.next() & ((1u << bits) - 1));
      const size_t bytes = static_cast<size_t>((k * bits + 7) / 8);
      std::vector<std::byte> row(bytes + 1, std::byte{0xAB}), one_by_one(bytes, std::byte{0xFF});
      store_codes(row.data(), bits, codes);
      EXPECT_EQ(row[bytes], std::byte{0xAB}) << "wrote past the row";
      for (int64_t i = 0; i < k; ++i) {
        store_code(one_by_one.data(), bits, i, codes[i]);
        ASSERT_EQ(load_code(row.data(), bits, i), codes[i]) << bits << " bits, k " << k;
        ASSERT_EQ(load_code(one_by_one.data(), bits, i), codes[i]);
      }
    }
  }
}

TEST(Codec, Int4BlockDecodesByItsFormula) {
  QTensorBuilder b = build_qtensor(parse_format("int4-g8"), 1, 10);  // a full and a short block
  for (int64_t i = 0; i < 10; ++i) store_code(b.codes, 4, i, static_cast<uint32_t>(i));
  store_scale(Scale::kBF16, b.scales, 0, 0.5);
  store_scale(Scale::kBF16, b.scales, 1, 2.0);
  store_scale(Scale::kBF16, b.zeros, 0, 1.0);
  store_scale(Scale::kBF16, b.zeros, 1, -3.0);
  const std::vector<float> w = decode_rows(b.tensor);
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ(w[i], (static_cast<float>(i) - 8) * 0.5f + 1.0f);
  for (size_t i = 8; i < 10; ++i) EXPECT_EQ(w[i], (static_cast<float>(i) - 8) * 2.0f - 3.0f);
}

TEST(QTensor, PlaneSizesAreWhatFormatsPromise) {
  for (const Format& f : all_formats()) {
    const int64_t n = 48, k = 4096;
    const QTensor t = build_qtensor(f, n, k).tensor;
    const double extra = f.block.k == 0 && f.quantized()
                             ? static_cast<double>(f.scale_bits()) / (f.block.n == 0 ? n * k : k)
                             : 0;
    const double zero = f.block.k == 0 ? static_cast<double>(f.zero_bits()) / k : 0;
    EXPECT_NEAR(t.bits_per_weight(), f.bits_per_weight() + extra + zero, 1e-12) << name(f);
  }
}

TEST(QTensor, SliceStackAndPermuteMoveWholeRows) {
  for (const char* text : {"bf16", "int8", "int4-g32", "q4_0", "int4-sym"}) {
    const Format f = parse_format(text);
    QTensorBuilder b = build_qtensor(f, 6, 40);
    Rng rng(3);
    for (size_t i = 0; i < b.tensor.codes.data.size(); ++i) {
      b.codes[i] = static_cast<std::byte>(rng.next() & 0x3f);
    }
    if (f.quantized()) {
      for (int64_t i = 0; i < 6 * blocks_along_k(f, 40); ++i) {
        store_scale(f.scale, b.scales, i, 0.25 + rng.next_uniform());
        if (f.zero == Zero::kFloat) store_scale(f.scale, b.zeros, i, rng.next_uniform());
      }
    }
    const std::vector<float> all = decode_rows(b.tensor);
    const auto row = [&](int64_t n) {
      return std::vector<float>(all.begin() + n * 40, all.begin() + (n + 1) * 40);
    };
    const QTensor parts[] = {slice_rows(b.tensor, 4, 6), slice_rows(b.tensor, 0, 4)};
    const std::vector<float> stacked = decode_rows(stack_rows(parts));
    const int64_t order[] = {4, 5, 0, 1, 2, 3};
    EXPECT_EQ(stacked, decode_rows(permute_rows(b.tensor, order))) << text;
    for (int64_t i = 0; i < 6; ++i) {
      const std::vector<float> got(stacked.begin() + i * 40, stacked.begin() + (i + 1) * 40);
      EXPECT_EQ(got, row(order[i])) << text;
    }
  }
}

TEST(QTensor, StackingTensorScalesKeepsTheNumbers) {
  QTensorBuilder a = build_qtensor(parse_format("int8-tensor"), 2, 3);
  QTensorBuilder b = build_qtensor(parse_format("int8-tensor"), 1, 3);
  for (int i = 0; i < 6; ++i) a.codes[i] = static_cast<std::byte>(i - 2);
  for (int i = 0; i < 3; ++i) b.codes[i] = static_cast<std::byte>(i + 5);
  store_scale(Scale::kF32, a.scales, 0, 0.5);
  store_scale(Scale::kF32, b.scales, 0, 3);
  const QTensor parts[] = {a.tensor, b.tensor};
  std::vector<float> expected = decode_rows(a.tensor);
  const std::vector<float> tail = decode_rows(b.tensor);
  expected.insert(expected.end(), tail.begin(), tail.end());
  EXPECT_EQ(decode_rows(stack_rows(parts)), expected);
}

}  // namespace
}  // namespace lowbit
