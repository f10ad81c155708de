#include "base/fp.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace lowbit {
namespace {

static_assert(bf16_to_f32(0x3f80) == 1.0f);
static_assert(f16_to_f32(0x3c00) == 1.0f);

// The nearest representable value by search over all finite codes: an oracle that shares no code.
template <class ToF32>
uint16_t nearest(float x, ToF32 to_f32, uint16_t inf_code) {
  const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  uint16_t best = 0;
  double best_error = std::numeric_limits<double>::infinity();
  for (uint32_t code = 0; code <= inf_code; ++code) {
    // Infinity takes the value the next step would have, as IEEE rounding does.
    const double step = static_cast<double>(to_f32(static_cast<uint16_t>(inf_code - 1))) -
                        static_cast<double>(to_f32(static_cast<uint16_t>(inf_code - 2)));
    const double value =
        code == inf_code ? static_cast<double>(to_f32(static_cast<uint16_t>(inf_code - 1))) + step
                         : static_cast<double>(to_f32(static_cast<uint16_t>(code)));
    const double error = std::abs(std::abs(static_cast<double>(x)) - value);
    if (error < best_error || (error == best_error && (code & 1) == 0)) {
      best_error = error;
      best = static_cast<uint16_t>(code);
    }
  }
  return static_cast<uint16_t>(best | sign);
}

TEST(Fp, EveryHalfRoundTrips) {
  for (uint32_t code = 0; code < 0x10000; ++code) {
    const auto half = static_cast<uint16_t>(code);
    if (!std::isnan(f16_to_f32(half))) {
      EXPECT_EQ(f32_to_f16(f16_to_f32(half)), half);
    }
    if (!std::isnan(bf16_to_f32(half))) {
      EXPECT_EQ(f32_to_bf16(bf16_to_f32(half)), half);
    }
  }
}

TEST(Fp, RoundsToNearestEven) {
  const float samples[] = {1.0f,     1.00048828125f, 1.00146484375f, 65504.0f,     65519.9f,
                           65520.0f, 1e6f,           6.1e-5f,        6.0e-8f,      3.0e-8f,
                           2.9e-8f,  -0.0f,          -1.2345f,       3.14159265f,  0x1p-24f,
                           0x1p-25f, 0x1.8p-24f,     0x1.4p-23f,     0x1.ffcp-15f, 0x1.ffep-15f};
  for (const float x : samples) {
    EXPECT_EQ(f32_to_f16(x), nearest(x, f16_to_f32, 0x7c00)) << x;
  }
  EXPECT_EQ(f32_to_bf16(1.00390625f), 0x3f80);  // tie, even below
  EXPECT_EQ(f32_to_bf16(1.01171875f), 0x3f82);  // tie, even above
  EXPECT_EQ(f32_to_bf16(3.4e38f), 0x7f80);
}

TEST(Fp, NanStaysNan) {
  const float nan = std::bit_cast<float>(0x7f800001u);
  EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(nan))));
  EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(nan))));
}

}  // namespace
}  // namespace lowbit
