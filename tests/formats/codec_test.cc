#include "formats/codec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/rng.h"
#include "bench/linear_cases.h"
#include "formats/grid.h"

namespace lowbit {
namespace {

std::vector<Format> all_formats() { return every_weight_format(); }

TEST(Codec, EveryCodeDecodesAndEncodesBack) {
  for (const Format& f : all_formats()) {
    const uint64_t codes = uint64_t{1} << std::min<int>(f.bits, 16);
    for (uint64_t i = 0; i < codes; ++i) {
      const auto code = static_cast<uint32_t>(f.bits == 32 ? i << 16 : i);
      const double value = decode_code(f, code);
      if (!std::isfinite(value)) continue;
      ASSERT_EQ(encode_code(f, value), code) << name(f);
      if (f.quantized()) {
        ASSERT_GE(value, code_range(f).min);
        ASSERT_LE(value, code_range(f).max);
      }
    }
  }
}

// Every number half-way between two neighbours and beside it, for codes that are small floats.
TEST(Codec, SmallFloatsRoundToNearestEven) {
  for (const Format& f : all_formats()) {
    if (!is_mini_float(f.code)) continue;
    const MiniFloat mini = mini_float(f.code);
    for (uint32_t code = 0; code < mini.max_code; ++code) {
      const double lo = decode_code(f, code), hi = decode_code(f, code + 1);
      const double middle = (lo + hi) / 2, step = (hi - lo) / 1024;
      ASSERT_LT(lo, hi) << name(f) << " " << code;
      EXPECT_EQ(encode_code(f, middle - step), code) << name(f);
      EXPECT_EQ(encode_code(f, middle + step), code + 1) << name(f);
      EXPECT_EQ(encode_code(f, middle), code % 2 == 0 ? code : code + 1) << name(f);
      EXPECT_EQ(encode_code(f, -middle - step), (code + 1) | 1u << (f.bits - 1)) << name(f);
    }
    EXPECT_EQ(encode_code(f, 1e30), mini.max_code) << name(f);
    EXPECT_EQ(encode_code(f, INFINITY), mini.max_code) << name(f);
  }
}

// The numbers that the standards print.
TEST(Codec, SmallFloatsHaveTheLimitsOfTheirStandards) {
  const auto limits = [](const char* text) {
    const Format f = parse_format(text);
    double smallest = 1e9;
    for (uint32_t code = 1; code < (1u << (f.bits - 1)); ++code) {
      smallest = std::min(smallest, decode_code(f, code));
    }
    return std::pair(code_range(f).max, smallest);
  };
  EXPECT_EQ(limits("fp8"), std::pair(448.0, 0x1p-9));
  EXPECT_EQ(limits("fp8-e5m2"), std::pair(57344.0, 0x1p-16));
  EXPECT_EQ(limits("fp6"), std::pair(28.0, 0.0625));
  EXPECT_EQ(limits("fp6-e2m3"), std::pair(7.5, 0.125));
  EXPECT_EQ(limits("fp4"), std::pair(6.0, 0.5));
  EXPECT_EQ(limits("fp3"), std::pair(4.0, 1.0));
  EXPECT_TRUE(std::isnan(decode_code(parse_format("fp8"), 0x7f)));
  EXPECT_TRUE(std::isinf(decode_code(parse_format("fp8-e5m2"), 0x7c)));
}

TEST(Codec, FiveTritsShareAByte) {
  const Format f = parse_format("ternary5");
  for (const int64_t k : {1, 4, 5, 6, 64, 243}) {
    std::vector<uint32_t> codes(static_cast<size_t>(k)), back(codes.size());
    for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint32_t>((i * i + i / 5) % 3);
    std::vector<std::byte> row(static_cast<size_t>(row_bytes(f, k)));
    EXPECT_EQ(row.size(), static_cast<size_t>((k + 4) / 5));
    pack_codes(f, codes, row.data());
    unpack_codes(f, row.data(), back);
    EXPECT_EQ(back, codes);
  }
  const uint32_t digits[] = {1, 2, 0, 1, 2};
  std::byte byte{};
  pack_codes(f, digits, &byte);
  EXPECT_EQ(std::to_integer<int>(byte), 1 + 2 * 3 + 0 * 9 + 1 * 27 + 2 * 81);
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

// ScaleRule::kEven by its words, from the numbers that codes are: in the binade of the largest they
// are a step apart, and amax goes to the nearest of them before its exponent counts.
TEST(Codec, EvenRoundsTheLargestNumberToCodesOfAnyKind) {
  std::vector<Format> formats;
  for (const char* small : {"mxfp8", "mxfp8-e5m2", "mxfp6", "mxfp6-e3m2", "mxfp4"}) {
    formats.push_back(parse_format(small));
  }
  for (uint8_t bits = 2; bits <= 8; ++bits) {
    formats.push_back({FormatId::kInt8, Code::kInt, bits, Scale::kE8M0, {1, 32}});
  }
  formats.push_back({FormatId::kTernary, Code::kTernary, 2, Scale::kE8M0, {1, 32}});
  for (Format f : formats) {
    f.rule = ScaleRule::kEven;
    const double binade = std::exp2(std::floor(std::log2(code_range(f).max)));
    double step = binade;
    for (uint32_t code = 0; code < 1u << f.bits; ++code) {
      const double number = decode_code(f, code);
      if (number > binade && number < 2 * binade) step = std::min(step, number - binade);
    }
    Rng rng(7);
    for (int i = 0; i < 20000; ++i) {
      const int exponent = i % 61 - 30;
      const auto amax = std::ldexp(1 + rng.next_uniform(), exponent);
      const double nearest = std::floor(std::ldexp(amax, -exponent) * binade / step + 0.5) * step;
      const double scale = std::ldexp(nearest < 2 * binade ? 1 : 2, exponent) / binade;
      ASSERT_EQ(choose_grid(f, {.lo = -amax, .hi = 0}, 1).scale, scale)
          << name(f) << " of " << int{f.bits} << " bits, " << amax;
    }
  }
}

TEST(Codec, IntegersBetweenTwoScalesAreRoundedToEven) {
  const QTensorBuilder b = build_qtensor(parse_format("qqq"), 2, 256);
  for (int64_t row = 0; row < 2; ++row) {
    for (int64_t i = 0; i < 256; ++i) {
      store_code(b.codes + row * 128, 4, i, static_cast<uint32_t>(i));
    }
    for (int64_t i = 0; i < 2; ++i) {
      store_scale(Scale::kF16, b.scales + row * 4, i, i == 0 ? 0.5 : 16.0);
    }
    store_scale(Scale::kF32, b.outer, row, row == 0 ? 0.25 : 3.0);
  }
  const std::vector<float> w = decode_rows(b.tensor);
  constexpr float kHalves[] = {0, 0, 1, 2, 2, 2, 3, 4, -4, -4, -3, -2, -2, -2, -1, 0};
  for (size_t i = 0; i < 128; ++i) {
    ASSERT_EQ(w[i], kHalves[i % 16] * 0.25f) << i;
    ASSERT_EQ(w[256 + i], kHalves[i % 16] * 3) << i;
    const auto signed_code = static_cast<float>(i % 16 ^ 8) - 8;
    ASSERT_EQ(w[128 + i], signed_code * 4) << i;
  }
}

// A row or tensor scale is not in the nominal figure; 3840 is a multiple of 256 and of 5.
TEST(QTensor, PlaneSizesAreWhatFormatsPromise) {
  constexpr int64_t n = 256, k = 3840;
  for (const Format& f : all_formats()) {
    const QTensor t = build_qtensor(f, n, k).tensor;
    double bits = f.bits_per_weight() * n * k;
    if (f.quantized() && f.block.k == 0) {
      bits += static_cast<double>((f.block.n == 0 ? 1 : n) * (f.scale_bits() + f.zero_bits()));
    }
    if (f.outer == Outer::kTensor) bits += 32;
    if (f.outer == Outer::kInt8) bits += 32 * n;
    EXPECT_DOUBLE_EQ(static_cast<double>(t.bytes()) * 8, bits) << name(f);
    EXPECT_EQ(t.bytes(), tensor_bytes(f, n, k));
  }
}

QTensor quantized_ramp(const Format& f, int64_t n, int64_t k) {
  QTensorBuilder b = build_qtensor(f, n, k);
  Rng rng(3);
  for (const Plane plane : {Plane::kCodes, Plane::kMeta}) {
    for (size_t i = 0; i < b.tensor.plane(plane).data.size(); ++i) {
      b.plane(plane)[i] = static_cast<std::byte>(rng.next() & 0x11);  // valid in every format
    }
  }
  if (f.sparse24) {  // positions 0 and 1 of each four
    for (size_t i = 0; i < b.tensor.meta.data.size(); ++i) b.meta[i] = std::byte{0x44};
  }
  for (int64_t row = 0; row < plane_shape(f, Plane::kScales, n, k).rows; ++row) {
    for (const Plane plane : {Plane::kScales, Plane::kZeros}) {
      const PlaneShape shape = plane_shape(f, plane, n, k);
      for (int64_t i = 0; shape.rows > 0 && i < blocks_along_k(f, k); ++i) {
        const bool integer = plane == Plane::kZeros && f.zero == Zero::kInt;
        std::byte* at = b.plane(plane) + row * shape.row_bytes;
        if (integer) at[i] = static_cast<std::byte>(rng.next() % 3);
        if (!integer) store_scale(f.scale, at, i, static_cast<double>(1 + (row + i) % 4));
      }
    }
  }
  for (int64_t i = 0; i < plane_shape(f, Plane::kOuter, n, k).rows; ++i) {
    const bool super = f.outer == Outer::kSuper;
    store_scale(super ? Scale::kF16 : Scale::kF32, b.outer, i, 1 + static_cast<double>(i));
  }
  return b.tensor;
}

TEST(QTensor, SliceStackAndPermuteMoveWholeRowsOfEveryFormat) {
  constexpr int64_t k = 512, cut = 128, n = 131;
  for (const Format& f : all_formats()) {
    const QTensor whole = quantized_ramp(f, n, k);
    const std::vector<float> all = decode_rows(whole);
    const std::vector<float> head(all.begin(), all.begin() + cut * k);
    EXPECT_EQ(decode_rows(slice_rows(whole, 0, cut)), head) << name(f);

    std::vector<int64_t> order;
    for (int64_t i = 0; i < n; ++i) order.push_back((i * 7 + 3) % n);
    const std::vector<float> permuted = decode_rows(permute_rows(whole, order));
    for (int64_t i = 0; i < n; ++i) {
      ASSERT_TRUE(std::equal(permuted.begin() + i * k, permuted.begin() + (i + 1) * k,
                             all.begin() + order[static_cast<size_t>(i)] * k))
          << name(f) << " row " << i;
    }

    // Parts that end inside a block of rows, and parts with different scales per tensor.
    const QTensor parts[] = {quantized_ramp(f, 5, k), whole, quantized_ramp(f, 7, k)};
    std::vector<float> expected;
    for (const QTensor& part : parts) {
      const std::vector<float> numbers = decode_rows(part);
      expected.insert(expected.end(), numbers.begin(), numbers.end());
    }
    EXPECT_EQ(decode_rows(stack_rows(parts)), expected) << name(f);
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
