#include "quantize/grid.h"

#include <algorithm>
#include <bit>
#include <cstdint>

namespace lowbit {
namespace {

double middle(const Format& format) { return (code_range(format).max + 1) / 2; }

// Adding and taking away 1.5 * 2^23 rounds to an integer, ties to even, without a call.
constexpr float kRound = 0x1.8p23f;

struct RoundInteger {  // integers of a range; also ternary codes
  float lo, hi;
  float operator()(float x) const { return (std::clamp(x, lo, hi) + kRound) - kRound; }
};

struct RoundSign {
  float operator()(float x) const { return x >= 0 ? 1.0f : -1.0f; }
};

struct RoundMiniFloat {
  float max;
  int32_t mantissa_bits, lowest;  // biased f32 exponent of the subnormals' binade
  float operator()(float x) const {
    const float y = std::clamp(x, -max, max);
    const int32_t exponent =
        std::max((std::bit_cast<int32_t>(y) >> 23) & 0xff, lowest) - mantissa_bits;
    // The same trick at the step of the number's binade.
    const float round = std::bit_cast<float>(((exponent + 23) << 23) | 0x400000);
    return (y + round) - round;
  }
};

struct Affine {
  float inverse, scale, shift, offset;
  explicit Affine(const BlockParams& p)
      : inverse(p.scale == 0 ? 0 : static_cast<float>(1 / p.scale)),
        scale(static_cast<float>(p.scale)),
        shift(static_cast<float>(p.shift)),
        offset(static_cast<float>(p.offset)) {}
};

template <bool kWeighted, class Round>
double sum_squares(const BlockNumbers& block, const BlockParams& p, Round round) {
  constexpr size_t kLanes = 16;
  const Affine a(p);
  const auto error = [&](size_t i) {
    const float value = block.w[i] - a.offset;
    const float e = value - (round(value * a.inverse + a.shift) - a.shift) * a.scale;
    return kWeighted ? block.importance[i] * e * e : e * e;
  };
  double total = 0;
  size_t i = 0;
  constexpr size_t kChunk = 64 * kLanes;  // f32 sums of so many, then double
  while (i + kLanes <= block.w.size()) {
    float lanes[kLanes] = {};
    const size_t end = std::min(i + kChunk, block.w.size());
    for (; i + kLanes <= end; i += kLanes) {
      for (size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += error(i + lane);
    }
    for (const float lane : lanes) total += lane;
  }
  for (; i < block.w.size(); ++i) total += error(i);
  return total;
}

template <class Round>
double sum_squares(const BlockNumbers& block, const BlockParams& p, Round round) {
  return block.importance.empty() ? sum_squares<false>(block, p, round)
                                  : sum_squares<true>(block, p, round);
}

}  // namespace

AffineGrid to_affine(const Format& format, const Grid& grid) {
  const double scale = grid.scale, zero = grid.zero;
  switch (format.zero) {
    case Zero::kNone:
      return {scale, 0};
    case Zero::kInt:
    case Zero::kReal:
      return {scale, zero};
    case Zero::kFloat:
      return {scale, middle(format) - zero / scale};
    case Zero::kOffset:
      return {scale, -zero / scale};
  }
  __builtin_unreachable();
}

Grid to_grid(const Format& format, const AffineGrid& affine) {
  const auto scale = static_cast<float>(affine.scale);
  const double shift = affine.shift;
  switch (format.zero) {
    case Zero::kNone:
      return {scale, 0};
    case Zero::kInt:
      return {scale,
              static_cast<float>(std::clamp(std::nearbyint(shift), 0.0, code_range(format).max))};
    case Zero::kReal:
      return {scale, static_cast<float>(shift)};
    case Zero::kFloat:
      return {scale, static_cast<float>((middle(format) - shift) * affine.scale)};
    case Zero::kOffset:
      return {scale, static_cast<float>(-shift * affine.scale)};
  }
  __builtin_unreachable();
}

double squared_error(const Format& format, const BlockNumbers& block, const BlockParams& stored) {
  const std::span<const double> table = code_table(format);
  double total = 0;
  for (size_t i = 0; i < block.w.size(); ++i) {
    const double value =
        (table[nearest_code(format, stored, block.w[i])] - stored.shift) * stored.scale +
        stored.offset;
    const double e = block.w[i] - value;
    total += block.importance.empty() ? e * e : block.importance[i] * e * e;
  }
  return total;
}

double fast_squared_error(const Format& format, const BlockNumbers& block,
                          const BlockParams& stored) {
  const CodeRange range = code_range(format);
  if (format.code == Code::kSign) return sum_squares(block, stored, RoundSign{});
  if (is_mini_float(format.code)) {
    const MiniFloat f = mini_float(format.code);
    return sum_squares(
        block, stored,
        RoundMiniFloat{static_cast<float>(range.max), f.mantissa_bits, 127 + 1 - f.bias()});
  }
  return sum_squares(block, stored,
                     RoundInteger{static_cast<float>(range.min), static_cast<float>(range.max)});
}

}  // namespace lowbit
