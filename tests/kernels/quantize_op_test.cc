// The quantize op: the cpu backend chooses the codes and scales of the reference, bit for bit, and
// both choose what a dozen lines say.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "bench/op_cases.h"
#include "cpu/isa.h"
#include "cpu/ops.h"
#include "kernels/linear_setup.h"
#include "ref/backend.h"

namespace lowbit {
namespace {

using namespace test;

std::vector<OpTable> tables() {
  const uint32_t machine = cpu::machine_isa();
  std::vector<OpTable> tables = {ref_backend().op, cpu::op_table(0)};
  for (const uint32_t isa : {cpu::kIsaAvx2, cpu::kIsaAvx512}) {
    if (machine & isa) tables.push_back(cpu::op_table(isa));
  }
  return tables;
}

Format activations(const char* text) { return activation_format(parse_format(text)); }

// Planes that were full of something else before.
QTensorBuilder quantize(const OpTable& op, const Format& format, int32_t rows,
                        const std::vector<float>& x) {
  const int32_t k = static_cast<int32_t>(x.size()) / rows;
  const QTensorBuilder out = build_qtensor(format, rows, k);
  for (const Plane plane : kPlanes) {
    if (out.plane(plane)) std::memset(out.plane(plane), 0x5a, out.tensor.plane(plane).data.size());
  }
  op.quantize({rows, k, x.data(), act_over(out)}, nullptr);
  return out;
}

constexpr const char* kFormats[] = {
    "int8",        "int8-tensor", "int8-g32",    "int8-g8",    "int8-asym",
    "int8-sf16",   "fp8",         "fp8-tensor",  "fp8-e5m2",   "fp8-g64",
    "fp8-sbf16",   "mxfp8",       "mxfp8-floor", "mxfp8-e5m2", "mxfp6",
    "mxfp6-e3m2",  "mxfp6-even",  "mxfp4",       "mxfp4-ceil", "mxfp4-even",
    "mxfp4-rceil", "nvfp4",       "int4",        "int4-g16",   "int4-row-sym"};

// One row of each kind that rounding, scales or zeros could stumble over.
std::vector<float> hostile_rows(int32_t k, int32_t* rows) {
  std::vector<float> all;
  const auto add = [&](const auto& number) {
    for (int32_t i = 0; i < k; ++i) all.push_back(number(i));
    ++*rows;
  };
  const std::vector<float> noise = gaussian(k, 3, 1);
  const auto at = [&](int32_t i) { return noise[static_cast<size_t>(i)]; };
  const auto halves = [&](float size) {  // exact ties between codes, whatever the scale
    return [=](int32_t i) { return i == 0 ? size : static_cast<float>(i % 255 - 127) * 0.5f; };
  };
  *rows = 0;
  add(at);
  add([&](int32_t i) { return at(i) * at(i) * at(i) * 1e-3f; });
  add([](int32_t) { return 0.0f; });
  add([](int32_t i) { return i % 2 ? -0.0f : 0.0f; });
  add([](int32_t) { return 1.0f; });
  add([](int32_t i) { return static_cast<float>(i % 7) * 1e-44f; });
  add([&](int32_t i) { return at(i) * 1e-38f; });
  // Above 2^127 a scale rounded up to a power of two (mxfp4-ceil) can lead beyond f32.
  for (const float large : {1.5e38f, 3e38f}) {
    add([&](int32_t i) { return std::fmod(at(i), 1.0f) * large; });
    add([&](int32_t i) { return i == k / 2 ? large : at(i); });
  }
  add([&](int32_t i) { return i == k / 2 ? -1000.0f : at(i); });
  for (const float size : {127.0f, 128.0f, 448.0f, 6.0f, 7.5f, 28.0f}) add(halves(size));
  return all;
}

TEST(Quantize, CodesAndScalesAreThoseOfTheReference) {
  for (const char* text : kFormats) {
    for (const int32_t k : kOpWidths) {
      int32_t rows = 0;
      const std::vector<float> x = hostile_rows(k, &rows);
      const QTensorBuilder want = quantize(ref_backend().op, activations(text), rows, x);
      for (const OpTable& op : tables()) {
        EXPECT_TRUE(same_planes(quantize(op, activations(text), rows, x), want))
            << text << " " << k;
      }
    }
  }
}

TEST(Quantize, ARowBeyondItsScalesIsNanThroughout) {
  std::vector<float> x = gaussian(2 * 64, 3, 1);
  x[70] = 3e38f;  // under a scale of 2^126 the nearest code is 4, which is 2^128
  for (const OpTable& op : tables()) {
    const QTensorBuilder out = quantize(op, activations("mxfp4-ceil"), 2, x);
    const std::vector<float> back = decode_rows(out.tensor);
    for (size_t i = 0; i < 64; ++i) {
      EXPECT_TRUE(std::isfinite(back[i])) << i;
      EXPECT_TRUE(std::isnan(back[64 + i])) << i;
    }
  }
}

TEST(Quantize, ManyRandomNumbersRoundAsTheReferenceDoes) {
  constexpr int32_t kRows = 256, kWidth = 512;
  std::vector<float> x = gaussian(kRows * kWidth, 11, 1);
  for (size_t i = 0; i < x.size(); ++i) x[i] *= std::exp2(static_cast<float>(i / kWidth % 40) - 20);
  for (const char* text : {"int8", "fp8", "fp8-e5m2", "mxfp8", "mxfp6", "mxfp4", "nvfp4", "int4"}) {
    const QTensorBuilder want = quantize(ref_backend().op, activations(text), kRows, x);
    for (const OpTable& op : tables()) {
      EXPECT_TRUE(same_planes(quantize(op, activations(text), kRows, x), want)) << text;
    }
  }
}

TEST(Quantize, Int8IsTheNearestMultipleOfAmaxOver127) {
  const std::vector<float> x = gaussian(300, 5, 1);
  float amax = 0;
  for (const float v : x) amax = std::max(amax, std::abs(v));
  const float scale = amax / 127;
  for (const OpTable& op : tables()) {
    const QTensorBuilder out = quantize(op, activations("int8"), 1, x);
    float stored = 0;
    std::memcpy(&stored, out.scales, sizeof stored);
    EXPECT_EQ(stored, scale);
    for (size_t i = 0; i < x.size(); ++i) {
      const int code = static_cast<int8_t>(out.codes[i]);
      EXPECT_LE(std::abs(code), 127);
      EXPECT_LE(std::abs(double{x[i]} / scale - code), 0.5) << x[i];
    }
  }
}

// e4m3 has four bits from its leading one on, and steps of 2^-9 below 2^-6.
TEST(Quantize, Fp8IsTheNearestNumberOfFourBits) {
  const std::vector<float> x = gaussian(300, 6, 1);
  float amax = 0;
  for (const float v : x) amax = std::max(amax, std::abs(v));
  const double scale = amax / 448;
  for (const OpTable& op : tables()) {
    const QTensorBuilder out = quantize(op, activations("fp8"), 1, x);
    std::vector<double> decoded(x.size());
    load_row(act_over(out), 0, 300, decoded.data());
    for (size_t i = 0; i < x.size(); ++i) {
      const double v = x[i] / double{static_cast<float>(scale)};
      const double step = std::exp2(std::max(std::floor(std::log2(std::abs(v))), -6.0) - 3);
      const double nearest = std::nearbyint(v / step) * step;
      EXPECT_EQ(decoded[i], nearest * double{static_cast<float>(scale)}) << x[i];
    }
  }
}

TEST(Quantize, ARowWithoutFiniteNumbersIsNanAndLeavesTheOthersAlone) {
  constexpr int32_t kRows = 5, kWidth = 80;
  const std::vector<float> x = gaussian(kRows * kWidth, 7, 1);
  for (const char* text : kFormats) {
    const Format format = activations(text);
    for (const float bad : {kPoison, INFINITY, -INFINITY}) {
      std::vector<float> spoiled = x;
      spoiled[2 * kWidth + 77] = bad;
      const QTensorBuilder reference = quantize(ref_backend().op, format, kRows, spoiled);
      for (const OpTable& op : tables()) {
        const QTensorBuilder clean = quantize(op, format, kRows, x);
        const QTensorBuilder out = quantize(op, format, kRows, spoiled);
        EXPECT_TRUE(same_planes(out, reference)) << text;
        for (int32_t r = 0; r < kRows; ++r) {
          std::vector<double> got(kWidth), want(kWidth);
          load_row(act_over(out), r, kWidth, got.data());
          load_row(act_over(clean), r, kWidth, want.data());
          if (r == 2 || format.block.n == 0) {  // one scale for all: nobody knows it
            EXPECT_TRUE(std::ranges::all_of(got, [](double v) { return std::isnan(v); })) << text;
          } else {
            EXPECT_EQ(got, want) << text;
          }
        }
      }
    }
  }
}

// Codes of a token are the same alone and in any company, but for one scale over all.
TEST(Quantize, RowsDoNotDependOnEachOther) {
  constexpr int32_t kRows = 7, kWidth = 100;
  std::vector<float> x = gaussian(kRows * kWidth, 8, 1);
  for (int32_t i = 0; i < kWidth; ++i) x[static_cast<size_t>(i)] *= 100;
  for (const char* text : kFormats) {
    const Format format = activations(text);
    for (const OpTable& op : tables()) {
      const QTensorBuilder all = quantize(op, format, kRows, x);
      std::vector<float> together(kWidth), alone(kWidth);
      bool same = true;
      for (int32_t r = 0; r < kRows; ++r) {
        const auto row = std::span(x).subspan(static_cast<size_t>(r * kWidth), kWidth);
        load_row(act_over(all), r, kWidth, together.data());
        load_row(act_over(quantize(op, format, 1, {row.begin(), row.end()})), 0, kWidth,
                 alone.data());
        same &= together == alone;
      }
      EXPECT_EQ(same, format.block.n != 0) << text;
    }
  }
}

// One more rounding than the codes: the scale is bf16. Keys are not turned at angle 0.
TEST(Quantize, AnInt8CacheHoldsBf16ScalesPerHeadAndToken) {
  constexpr int32_t kHeads = 2, kHeadDim = 64, kWidth = 3 * kHeads * kHeadDim, kPage = 4;
  const Format format = parse_cache_format("int8");
  const std::vector<float> start = gaussian(kWidth, 9, 1);
  std::vector<float> cos_sin(kHeadDim, 0.0f);
  std::fill_n(cos_sin.begin(), kHeadDim / 2, 1.0f);
  const int32_t pos = 3, slot = 0, page = 0;
  for (const OpTable& op : tables()) {
    std::vector<float> qkv = start;
    const QTensorBuilder k = build_qtensor(format, kHeads * kPage, kHeadDim);
    const QTensorBuilder v = build_qtensor(format, kHeads * kPage, kHeadDim);
    op.rope_append({1,
                    kHeads,
                    kHeads,
                    kHeadDim,
                    qkv.data(),
                    cos_sin.data(),
                    &pos,
                    &slot,
                    {act_over(k), act_over(v), &page, 1, kPage}},
                   nullptr);
    for (int32_t h = 0; h < 2 * kHeads; ++h) {  // of k, then of v
      const float* head = start.data() + (kHeads + h) * kHeadDim;
      const QTensorBuilder& cache = h < kHeads ? k : v;
      const int64_t row = h % kHeads * kPage + pos;
      float amax = 0;
      for (int32_t i = 0; i < kHeadDim; ++i) amax = std::max(amax, std::abs(head[i]));
      uint16_t stored = 0;
      std::memcpy(&stored, cache.scales + row * 2, sizeof stored);
      const uint32_t wide = uint32_t{stored} << 16;
      float scale = 0;
      std::memcpy(&scale, &wide, sizeof scale);
      EXPECT_NEAR(scale, amax / 127, amax / 127 / 256);
      for (int32_t i = 0; i < kHeadDim; ++i) {
        const auto code = static_cast<int8_t>(cache.codes[row * kHeadDim + i]);
        const double nearest = std::clamp(std::nearbyint(head[i] / double{scale}), -128.0, 127.0);
        EXPECT_EQ(code, nearest) << "head " << h << " " << i;
      }
    }
  }
}

}  // namespace
}  // namespace lowbit
