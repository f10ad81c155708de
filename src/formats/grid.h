// The scale rules (formats/ids.h: ScaleRule): a block's scale and zero from what its rule asks of
// its numbers, in f32, and the nearest code on the stored grid. nvcc compiles this too: one
// arithmetic chooses the codes of weights, of activations and of caches, on every device.
#pragma once

#include "formats/planes.h"

namespace lowbit {

// A block's scale and zero (in the meaning of the format's Zero) before rounding to their types.
struct Grid {
  float scale = 0, zero = 0;
};

struct BlockStats {
  float lo, hi;    // the smallest and the largest number, no -0
  float mean = 0;  // magnitude, for ScaleRule::kMean
  float only = 0;  // kMean: the one magnitude of numbers that are all 0 or +-m, else 0

  LB_HOST_DEVICE float amax() const { return std::fmax(std::fabs(lo), std::fabs(hi)); }
};

namespace grid_detail {

LB_HOST_DEVICE inline float clamp(float x, float lo, float hi) {
  return x < lo ? lo : x > hi ? hi : x;
}

LB_HOST_DEVICE inline Grid min_max(const Format& format, const BlockStats& r) {
  const auto q_max = static_cast<float>(code_range(format).max);
  if (format.zero == Zero::kInt) {  // zero must be on the grid
    const float lo = r.lo < 0 ? r.lo : 0, hi = r.hi > 0 ? r.hi : 0;
    const float scale = hi / q_max - lo / q_max;
    return {scale, scale > 0 ? clamp(std::nearbyint(-lo / scale), 0, q_max) : 0};
  }
  const float scale = r.hi / q_max - r.lo / q_max;  // hi - lo could overflow
  if (format.zero == Zero::kOffset) return {scale, r.lo};
  if (format.zero == Zero::kFloat) {  // fma: the product is exact, but may be beyond f32
    return {scale, std::fma(scale, (q_max + 1) / 2, r.lo)};
  }
  if (scale > 0) return {scale, -r.lo / scale};
  return {std::fabs(r.lo), r.lo == 0 ? 0.0f : r.lo < 0 ? 1.0f : -1.0f};  // one number: code 0
}

// floor(log2(x)) of a positive finite x, and what is left of it in [1, 2).
struct Binade {
  int exponent;
  double mantissa;
};
LB_HOST_DEVICE inline Binade binade(float x) {
  constexpr uint64_t kFraction = (uint64_t{1} << 52) - 1, kOne = uint64_t{1023} << 52;
  const auto bits = std::bit_cast<uint64_t>(static_cast<double>(x));  // no subnormal
  return {static_cast<int>(bits >> 52) - 1023, std::bit_cast<double>((bits & kFraction) | kOne)};
}

// Powers of two, exactly: no logarithm is rounded.
LB_HOST_DEVICE inline Grid power(const Format& format, float amax) {
  constexpr int kLowest = -127, kHighest = 127;
  if (amax == 0) return {static_cast<float>(power_of_two(kLowest)), 0};
  const Binade largest = binade(static_cast<float>(code_range(format).max)), at = binade(amax);
  int exponent = at.exponent - largest.exponent;
  if (format.rule == ScaleRule::kCeil) exponent += at.mantissa > 1;
  if (format.rule == ScaleRule::kRceil) exponent += at.mantissa > largest.mantissa;
  if (format.rule == ScaleRule::kEven) {
    // Integers are one apart, in the binade of the largest too.
    const MiniFloat f = mini_float(format.code);
    const int bits = f.exponent_bits > 0 ? f.mantissa_bits : largest.exponent;
    exponent += at.mantissa + power_of_two(-bits - 1) >= 2;
  }
  exponent = exponent < kLowest ? kLowest : exponent > kHighest ? kHighest : exponent;
  return {static_cast<float>(power_of_two(exponent)), 0};
}

}  // namespace grid_detail

inline constexpr float kMinE4M3Scale = 0x1p-6f, kMaxE4M3Scale = 448;

// The format's rule; `outer` is the stored outer scale above the block (1 if there is none). Not
// for ScaleRule::kNone and kLevels.
LB_HOST_DEVICE inline Grid choose_grid(const Format& format, const BlockStats& stats, float outer) {
  const CodeRange range = code_range(format);
  const auto q_min = static_cast<float>(range.min), q_max = static_cast<float>(range.max);
  switch (format.rule) {
    case ScaleRule::kAmaxOverMax:
      return {stats.amax() / q_max, 0};
    case ScaleRule::kAmaxOverMin:
      return {stats.amax() / -q_min, 0};
    case ScaleRule::kExtreme:
      return {(std::fabs(stats.lo) >= std::fabs(stats.hi) ? stats.lo : stats.hi) / q_min, 0};
    case ScaleRule::kMinMax:
      return grid_detail::min_max(format, stats);
    case ScaleRule::kMean:
      // Weights that are ternary already stay as they are: the zeros would pull the mean down.
      return {format.code != Code::kSign && stats.only > 0 ? stats.only : stats.mean, 0};
    case ScaleRule::kFloor:
    case ScaleRule::kCeil:
    case ScaleRule::kEven:
    case ScaleRule::kRceil:
      return grid_detail::power(format, stats.amax());
    case ScaleRule::kTwoLevel: {
      const float scale = outer == 0 ? 0 : stats.amax() / q_max / outer;
      return {grid_detail::clamp(scale, kMinE4M3Scale, kMaxE4M3Scale), 0};
    }
    case ScaleRule::kNone:
    case ScaleRule::kLevels:
      break;
  }
  return {};
}

// Mean and `only` of ScaleRule::kMean, from numbers one by one.
class MeanStats {
 public:
  LB_HOST_DEVICE void add(float value) {
    const float magnitude = std::fabs(value);
    sum_ += static_cast<double>(magnitude);
    ++count_;
    if (magnitude == 0) return;
    if (only_ != 0 && magnitude != only_) several_ = true;
    only_ = magnitude;
  }
  LB_HOST_DEVICE float mean() const {
    return static_cast<float>(sum_ / static_cast<double>(count_));
  }
  LB_HOST_DEVICE float only() const { return several_ ? 0 : only_; }

 private:
  double sum_ = 0;
  int64_t count_ = 0;
  float only_ = 0;
  bool several_ = false;
};

// Outer::kTensor and kRow: the scale above blocks whose largest magnitude is `amax`.
LB_HOST_DEVICE inline float choose_outer(const Format& format, float amax) {
  return amax / (kMaxE4M3Scale * static_cast<float>(code_range(format).max));
}

// The code nearest to `w` on a stored grid. A block whose scale is 0 decodes to its offset whatever
// the code: the code is then that of the shift.
LB_HOST_DEVICE inline uint32_t nearest_code(const Format& format, const BlockParams& p, double w) {
  const double inverse = p.scale == 0 ? 0 : 1 / p.scale;
  return encode_code(format, rounded_product(w - p.offset, inverse) + p.shift);
}

// Whether a decoded number is finite as f32.
LB_HOST_DEVICE inline bool is_f32(double number) {
  constexpr double kRoundsToInfinity = 0x1.ffffffp127;
  return std::fabs(number) < kRoundsToInfinity;  // false for NaN
}

// Writes a block's scale and zero, rounded to their storage types, to planes that are the caller's
// to write; the outer scale is there. False if one does not fit.
LB_HOST_DEVICE inline bool store_grid(const PlanesView& out, int64_t row, int64_t block,
                                      const Grid& grid) {
  const Format& f = out.format;
  store_scale(f.scale, const_cast<std::byte*>(out.scales) + out.scales_at(row), block, grid.scale);
  if (f.zero != Zero::kNone) {
    std::byte* zeros = const_cast<std::byte*>(out.zeros) + out.zeros_at(row);
    if (f.zero == Zero::kInt) {
      zeros[block] = static_cast<std::byte>(grid.zero);
    } else {
      store_scale(f.scale, zeros, block, grid.zero);
    }
  }
  const BlockParams stored = load_block(out, row, block);
  const auto finite = [](double x) { return std::fabs(x) <= DBL_MAX; };
  return finite(stored.scale) && finite(stored.offset) && finite(stored.shift);
}

}  // namespace lowbit
