// What must hold of every format that numbers are quantized to, whatever the numbers.
#include <gtest/gtest.h>

#include <cfloat>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/thread_pool.h"
#include "bench/linear_cases.h"
#include "quantize/samples.h"

namespace lowbit {
namespace {

using samples::gaussian;
using samples::same_planes;
using samples::tensor_of;

std::vector<Format> quantizable() {
  std::vector<Format> formats = every_weight_format();
  std::erase_if(formats,
                [](const Format& f) { return !f.quantized() || f.rule == ScaleRule::kLevels; });
  return formats;
}

struct Case {
  const Quantizer* quantizer;
  Format format;
  std::string what;
};

// Round to nearest in every format, and the searches that need no inputs in some.
std::vector<Case> cases() {
  std::vector<Case> all;
  const auto add = [&](const char* quantizer, const Format& f) {
    all.push_back({&find_quantizer(quantizer), f, name(f) + " by " + quantizer});
  };
  for (const Format& f : quantizable()) add("rtn", f);
  for (const char* text : {"q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "qqq", "qqq-row"}) {
    add("rtn", parse_format(text));
  }
  for (const char* text :
       {"int8", "int4-sym", "int4-g32-asym", "int2", "int1", "ternary-g64", "fp8-b128x128",
        "fp4-g32-sf16", "mxfp4", "nvfp4", "q4_0", "q4_1", "int4-g128-sym-sf16-24"}) {
    add("mse", parse_format(text));
  }
  for (const char* text : {"int8-rzero", "int4", "int4-g32-asym", "int2-rzero-sf32", "q4_1"}) {
    add("hqq", parse_format(text));
  }
  return all;
}

int64_t block_along_k(const Format& f, int64_t column) {
  return f.block.k == 0 ? 0 : column / f.block.k;
}

// Relative error of a number in the type that scales and zeros are stored in.
double storage_error(const Format& f) {
  switch (f.scale) {
    case Scale::kF16:
      return 0x1p-11;
    case Scale::kBF16:
      return 0x1p-8;
    default:
      return f.scale == Scale::kF32 ? 0x1p-24 : 0;
  }
}
constexpr double kRounding = 0x1p-22;  // of the f32 arithmetic around it

// Of each four numbers the two of largest magnitude, of equal ones the earlier.
std::vector<bool> kept_of(const Format& f, const std::vector<float>& w) {
  std::vector<bool> kept(w.size(), true);
  for (size_t i = 0; f.sparse24 && i < w.size(); ++i) {
    int above = 0;
    for (size_t j = i / 4 * 4; j < i / 4 * 4 + 4; ++j) {
      above += std::abs(w[j]) > std::abs(w[i]) || (std::abs(w[j]) == std::abs(w[i]) && j < i);
    }
    kept[i] = above < 2;
  }
  return kept;
}

struct Hard {
  const char* what;
  std::vector<float> w;
};
std::vector<Hard> hard_rows(size_t k) {
  const auto all = [k](float value) { return std::vector<float>(k, value); };
  const auto alternating = [k](float even, float odd) {
    std::vector<float> w(k, even);
    for (size_t i = 1; i < k; i += 2) w[i] = odd;
    return w;
  };
  const auto but_one = [&](float rest, float one) {
    std::vector<float> w = all(rest);
    w[k / 2 + 3] = one;
    return w;
  };
  const float tiny = std::numeric_limits<float>::denorm_min();
  std::vector<float> one_sided = gaussian(static_cast<int64_t>(k), 1e-7f, 3);
  for (float& w : one_sided) w += 1e5f;  // a range that is small beside the numbers
  return {{"zeros", all(0)},
          {"-0", alternating(0, -0.0f)},
          {"3e38", all(3e38f)},
          {"-3e38", all(-3e38f)},
          {"+-3e38", alternating(3e38f, -3e38f)},
          {"1 and -3e38", but_one(1, -3e38f)},
          {"FLT_MAX", all(FLT_MAX)},
          {"+-FLT_MAX", alternating(-FLT_MAX, FLT_MAX)},
          {"FLT_MAX and a little less", alternating(FLT_MAX, FLT_MAX * 0.99f)},
          {"1e-40", all(1e-40f)},
          {"smallest subnormal", all(-tiny)},
          {"two subnormals", alternating(3 * tiny, 2 * tiny)},
          {"+-FLT_MIN", alternating(FLT_MIN, -FLT_MIN)},
          {"1e30 among 1e-30", but_one(1e-30f, 1e30f)},
          {"a subnormal among zeros", but_one(0, tiny)},
          {"-1e4 among zeros", but_one(0, -1e4f)},
          {"near 1e5", one_sided}};
}

// Whether an Error is a right answer to numbers of up to `amax`, because what they would decode to
// is beyond f32, or their scale beyond f16 (65504).
bool may_refuse(const Format& f, double amax) {
  const double steps = std::exp2(f.bits) - 1;
  if (f.scale == Scale::kF16 || f.outer == Outer::kSuper) return amax >= 6e4;
  if (f.scale == Scale::kE8M0) {  // rounded up to 2^128
    return amax >= std::ldexp(1 - std::ldexp(0.25, -mini_float(f.code).mantissa_bits), 128);
  }
  // A step of one bit may be 2 amax; an integer zero moves the range by up to half a step.
  const bool wide = f.rule == ScaleRule::kMinMax && (f.bits == 1 || f.zero == Zero::kInt);
  // The largest code times a scale that was rounded up.
  return amax * (wide ? 1 + 1 / steps : 1) * (1 + storage_error(f)) * (1 + kRounding) > FLT_MAX;
}

TEST(EveryFormat, FiniteNumbersStayFiniteOrAreRefusedByTensorAndRow) {
  constexpr size_t kColumns = 256;
  const std::vector<Hard> rows = hard_rows(kColumns);
  for (const Case& c : cases()) {
    for (const Hard& hard : rows) {
      const std::string what = c.what + ", " + hard.what;
      float amax = 0;
      for (const float w : hard.w) amax = std::max(amax, std::abs(w));
      try {
        const QTensor q = c.quantizer->run(tensor_of(hard.w, 1, kColumns), c.format, {"up.weight"});
        for (const float value : decode_rows(q)) ASSERT_TRUE(std::isfinite(value)) << what;
      } catch (const Error& error) {
        const std::string message = error.what();
        EXPECT_TRUE(may_refuse(c.format, amax)) << what << ": " << message;
        EXPECT_NE(message.find("up.weight"), std::string::npos) << what << ": " << message;
        EXPECT_NE(message.find("row 0"), std::string::npos) << what << ": " << message;
      }
    }
  }
}

TEST(EveryFormat, ZerosDecodeToZeros) {
  const int64_t n = 130, k = 512, zero_columns = 256;
  std::vector<float> w = gaussian(n * k, 0.02f, 11);
  for (int64_t i = 0; i < n * k; ++i) {
    if (i < k || i % k < zero_columns) w[i] = 0;
  }
  const QTensor source = tensor_of(w, n, k), nothing = tensor_of(std::vector<float>(3 * k), 3, k);
  for (const Case& c : cases()) {
    for (const float value : decode_rows(c.quantizer->run(nothing, c.format, {"w"}))) {
      ASSERT_EQ(value, 0) << c.what;
    }
    if (c.format.block.n == 0) continue;  // one scale for zeros and others
    const std::vector<float> back = decode_rows(c.quantizer->run(source, c.format, {"w"}));
    for (int64_t i = 0; i < n * k; ++i) {
      const bool zero_block = c.format.block.k == 0 ? i < k : i % k < zero_columns;
      if (!zero_block) continue;
      ASSERT_EQ(back[i], 0) << c.what << " at " << i;
    }
  }
}

// The relative error that the rule leaves to a block of one number.
double constant_error(const Format& f, bool positive) {
  const double storage = storage_error(f) + kRounding;
  const MiniFloat mini = mini_float(f.code);
  const double half_ulp = std::ldexp(0.5, -mini.mantissa_bits);
  switch (f.rule) {
    case ScaleRule::kAmaxOverMin:  // the largest positive code is one less than the scale's
      return storage + (positive ? std::ldexp(1, 1 - f.bits) : 0);
    case ScaleRule::kFloor:
    case ScaleRule::kEven: {  // saturates above the largest number of the binade
      const double max = code_range(f).max;
      return std::max(half_ulp, 1 - max / std::exp2(std::floor(std::log2(max)) + 1));
    }
    case ScaleRule::kCeil:
    case ScaleRule::kRceil:
      return half_ulp;
    default:  // the number is on the grid, and so is the largest code
      return storage;
  }
}

TEST(EveryFormat, BlocksOfOneNumberKeepItToTheRulesError) {
  const int64_t n = 2, k = 520;  // the last group is short
  for (const Format& f : quantizable()) {
    for (const float value : {0.7f, -0.7f, 1.3e-3f, -1.3e-3f, 123.4f, -123.4f, 1.0f, -1.0f}) {
      const std::vector<float> w(static_cast<size_t>(n * k), value);
      const std::vector<float> back = decode_rows(quantize_rtn(tensor_of(w, n, k), f, {"w"}));
      const std::vector<bool> kept = kept_of(f, w);
      for (size_t i = 0; i < w.size(); ++i) {
        // f16 holds small scales less exactly: in steps of 2^-24.
        const double subnormal = f.scale == Scale::kF16 ? std::ldexp(code_range(f).max, -25) : 0;
        if (kept[i]) {
          ASSERT_NEAR(back[i], value, std::abs(value) * constant_error(f, value > 0) + subnormal)
              << name(f) << " at " << i;
        }
      }
    }
  }
}

TEST(EveryFormat, NanAndInfinityAreRefusedByTensorAndRow) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const int64_t n = 5, k = 256, row = 3;
  const std::vector<float> w = gaussian(n * k, 0.02f, 13);
  for (const Case& c : cases()) {
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), kInfinity, -kInfinity}) {
      for (const int64_t column : {int64_t{0}, int64_t{77}, k - 1}) {
        std::vector<float> broken = w;
        broken[row * k + column] = bad;
        try {
          c.quantizer->run(tensor_of(broken, n, k), c.format, {"down.weight"});
          ADD_FAILURE() << c.what << " took " << bad;
        } catch (const Error& error) {
          const std::string message = error.what();
          EXPECT_NE(message.find("down.weight"), std::string::npos) << c.what << ": " << message;
          EXPECT_NE(message.find("row 3"), std::string::npos) << c.what << ": " << message;
        }
      }
    }
  }
}

// How far a number that was quantized once may move when it is quantized again, `p` being the grid
// of the first time and `amax` the largest magnitude. Nothing but the rounding of f32 arithmetic
// where the rule finds the same grid again, or one that holds the same numbers. It does not
//   - by amax / 2^(bits-1): a positive extreme was clamped, so the scale shrinks;
//   - by min-max: scale and zero were rounded for storage (or the zero to a code), so the extremes
//     need not be on the first and the last code.
double moves_by(const Format& f, const BlockParams& p, double value, double amax) {
  const double step = std::abs(p.scale) * (1 + 4 * storage_error(f));
  if (f.rule == ScaleRule::kAmaxOverMin) {
    return step * (1 + std::ldexp(storage_error(f), f.bits - 1));
  }
  if (f.rule == ScaleRule::kMinMax) return step + 4 * (storage_error(f) + kRounding) * amax;
  return std::abs(value) * kRounding;
}

TEST(EveryFormat, QuantizingAgainChangesNothingOrLessThanAStep) {
  const int64_t n = 130, k = 200;
  const std::vector<float> w = gaussian(n * k, 0.02f, 17);
  float amax = 0;
  for (const float value : w) amax = std::max(amax, std::abs(value));
  for (const Format& f : quantizable()) {
    const QTensor q = quantize_rtn(tensor_of(w, n, k), f, {"w"});
    const std::vector<float> once = decode_rows(q);
    const std::vector<float> twice = decode_rows(quantize_rtn(tensor_of(once, n, k), f, {"w"}));
    for (int64_t i = 0; i < n * k; ++i) {
      const BlockParams p = load_block(q, i / k, block_along_k(f, i % k));
      ASSERT_NEAR(twice[i], once[i], moves_by(f, p, once[i], amax)) << name(f) << " at " << i;
    }
  }
}

// Half the distance of the codes' numbers beside x, which is in their range.
double half_step(const Format& f, double x) {
  const MiniFloat mini = mini_float(f.code);
  if (!is_mini_float(f.code)) return f.code == Code::kSign ? 1 : 0.5;
  const int exponent = std::max(x == 0 ? 1 - mini.bias() : std::ilogb(x), 1 - mini.bias());
  return std::ldexp(0.5, exponent - mini.mantissa_bits);
}

// Neither a multiple of any group nor of 128 rows: short blocks are blocks like the others.
TEST(EveryFormat, ErrorIsAtMostHalfAStepOfTheGridAlsoInShortBlocks) {
  const int64_t n = 130, k = 204;
  const std::vector<float> w = samples::student_t5(n * k, 0.02f, 19);
  for (const Format& f : quantizable()) {
    const QTensor q = quantize_rtn(tensor_of(w, n, k), f, {"w"});
    const std::vector<float> back = decode_rows(q);
    const std::vector<bool> kept = kept_of(f, w);
    for (int64_t i = 0; i < n * k; ++i) {
      if (!kept[i]) continue;
      const BlockParams p = load_block(q, i / k, block_along_k(f, i % k));
      ASSERT_NE(p.scale, 0) << name(f);
      const double x =
          std::clamp((w[i] - p.offset) / p.scale + p.shift, code_range(f).min, code_range(f).max);
      const double rounding = 0x1p-23 * (std::abs(p.offset) + std::abs(back[i]));
      ASSERT_NEAR(back[i], (x - p.shift) * p.scale + p.offset,
                  half_step(f, x) * std::abs(p.scale) * (1 + 1e-9) + rounding)
          << name(f) << " at " << i;
    }
  }
}

TEST(SparseFormats, KeepTheTwoLargestOfFourAndOfEqualOnesTheEarlier) {
  const int64_t n = 3, k = 200;
  std::vector<float> w = gaussian(n * k, 1, 23);
  const float ties[] = {1, -1, 1,  1, 0, 0, 0, 0, 0, 0, 0, 2, -3, 3, 3,     -3,
                        2, 3,  -2, 2, 1, 3, 3, 3, 3, 1, 2, 2, 0,  4, -0.0f, 0};
  std::copy(std::begin(ties), std::end(ties), w.begin());
  int formats = 0;
  for (const Format& f : quantizable()) {
    if (!f.sparse24) continue;
    ++formats;
    const QTensor q = quantize_rtn(tensor_of(w, n, k), f, {"w"});
    const std::vector<float> back = decode_rows(q);
    const std::vector<bool> kept = kept_of(f, w);
    std::vector<uint32_t> positions(static_cast<size_t>(k / 2));
    for (int64_t row = 0; row < n; ++row) {
      load_codes(q.meta.data.data() + row * plane_shape(f, Plane::kMeta, n, k).row_bytes, 2,
                 positions);
      auto next = positions.begin();
      for (int64_t i = 0; i < k; ++i) {
        if (kept[row * k + i]) {
          ASSERT_EQ(*next++, i % 4) << name(f) << " at " << row << ", " << i;
        } else {
          ASSERT_EQ(back[row * k + i], 0) << name(f) << " at " << row << ", " << i;
        }
      }
      ASSERT_EQ(next, positions.end());
    }
  }
  EXPECT_GE(formats, 10);
}

TEST(EveryFormat, PlanesDoNotDependOnTheNumberOfThreads) {
  const int64_t n = 259, k = 256;
  const QTensor source = tensor_of(gaussian(n * k, 0.02f, 29), n, k);
  const int before = thread_pool().workers();
  for (const Case& c : cases()) {
    set_threads(1);
    const QTensor one = c.quantizer->run(source, c.format, {"w"});
    for (const int threads : {2, 3}) {
      set_threads(threads);
      EXPECT_TRUE(same_planes(one, c.quantizer->run(source, c.format, {"w"}))) << c.what;
    }
  }
  set_threads(before);
}

}  // namespace
}  // namespace lowbit
