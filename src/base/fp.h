// Scalar conversions between f32 and the small floating-point types: bit exact, round to nearest
// even, usable in constant expressions, on the host and (through nvcc) on the device.
// IEEE 754-2008 for f16; bf16 is the upper half of f32; OCP OFP8 and OCP MX v1.0 for 8, 6 and 4
// bits.
#pragma once

#include <bit>
#include <cstdint>

#ifdef __CUDACC__
#define LB_HOST_DEVICE __host__ __device__
#else
#define LB_HOST_DEVICE
#endif

namespace lowbit {

LB_HOST_DEVICE constexpr float bf16_to_f32(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// NaN stays NaN (quiet bit set); values above the largest bf16 round to infinity, as IEEE asks.
LB_HOST_DEVICE constexpr uint16_t f32_to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  const uint32_t half_even = 0x7fffu + ((bits >> 16) & 1u);
  return static_cast<uint16_t>((bits + half_even) >> 16);
}

LB_HOST_DEVICE constexpr float f16_to_f32(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1fu;
  const uint32_t mantissa = bits & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) {
    return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (mantissa << 13));
  }
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;  // zero or subnormal: exact
  return sign ? -magnitude : magnitude;
}

LB_HOST_DEVICE constexpr uint16_t f32_to_f16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);   // NaN
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // >= 65520: Inf
  if (magnitude >= 0x38800000u) {  // normal: rebias the exponent, round the 13 dropped bits
    const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
  }
  if (magnitude < 0x33000000u) return static_cast<uint16_t>(sign);  // below half of 2^-24: zero
  // Subnormal: a multiple of 2^-24. Shift the 24-bit significand, rounding to nearest even.
  const uint32_t shift = 126u - (magnitude >> 23);
  const uint32_t significand = (magnitude & 0x7fffffu) | 0x800000u;
  const uint32_t kept = significand >> shift;
  const uint32_t dropped = significand & ((1u << shift) - 1u);
  const uint32_t half = 1u << (shift - 1u);
  const bool up = dropped > half || (dropped == half && (kept & 1u));
  return static_cast<uint16_t>(sign | (kept + (up ? 1u : 0u)));
}

// A float of at most 8 bits: sign, exponent (bias 2^(e-1) - 1), mantissa, subnormals at exponent 0.
struct MiniFloat {
  int exponent_bits, mantissa_bits;
  uint32_t max_code;  // of the largest finite number; positive codes above are infinity or NaN

  constexpr int bits() const { return 1 + exponent_bits + mantissa_bits; }
  constexpr int bias() const { return (1 << (exponent_bits - 1)) - 1; }
  constexpr bool operator==(const MiniFloat&) const = default;
};
// Every code below 8 bits is a finite number.
constexpr MiniFloat finite_float(int exponent_bits, int mantissa_bits) {
  return {exponent_bits, mantissa_bits, (1u << (exponent_bits + mantissa_bits)) - 1};
}
inline constexpr MiniFloat kFloatE4M3 = {4, 3, 0x7e}, kFloatE5M2 = {5, 2, 0x7b};

constexpr double power_of_two(int exponent) {  // -1022 to 1023
  return std::bit_cast<double>(static_cast<uint64_t>(exponent + 1023) << 52);
}

LB_HOST_DEVICE constexpr double minifloat_to_double(MiniFloat f, uint32_t code) {
  const uint32_t sign = 1u << (f.bits() - 1);
  const uint32_t magnitude = code & (sign - 1);
  double value = 0;
  if (magnitude > f.max_code) {
    const bool infinite = f.exponent_bits == 5 && magnitude == 0x7c;  // e5m2 is IEEE-like
    value = infinite ? std::bit_cast<double>(uint64_t{0x7ff} << 52)
                     : std::bit_cast<double>(uint64_t{0xfff} << 51);
  } else {
    const auto exponent = static_cast<int>(magnitude >> f.mantissa_bits);
    const uint32_t one = 1u << f.mantissa_bits;
    const uint32_t mantissa = (magnitude & (one - 1)) | (exponent > 0 ? one : 0);
    const int scale = (exponent > 0 ? exponent : 1) - f.bias() - f.mantissa_bits;
    value = mantissa * power_of_two(scale);
  }
  return code & sign ? -value : value;
}

// The nearest code, ties to even, saturating at the largest finite number. NaN gives the largest
// code of all (which is NaN where there is one). Keeps the sign of zero.
LB_HOST_DEVICE constexpr uint32_t double_to_minifloat(MiniFloat f, double value) {
  const uint64_t bits = std::bit_cast<uint64_t>(value);
  const uint32_t sign = (bits >> 63) != 0 ? 1u << (f.bits() - 1) : 0;
  const double magnitude = std::bit_cast<double>(bits & ~(uint64_t{1} << 63));
  if (magnitude != magnitude) return sign | ((1u << (f.bits() - 1)) - 1);
  if (magnitude >= minifloat_to_double(f, f.max_code)) return sign | f.max_code;
  // Of the number's binade; subnormals have the step of the lowest one.
  int exponent = static_cast<int>(std::bit_cast<uint64_t>(magnitude) >> 52) - 1023;
  if (exponent < 1 - f.bias()) exponent = 1 - f.bias();
  // Exact, less than 2^(mantissa bits + 1).
  const double steps = magnitude * power_of_two(f.mantissa_bits - exponent);
  const auto below = static_cast<uint32_t>(steps);
  const double rest = steps - below;
  // Counted in steps, codes continue over the edge of a binade: a carry makes the next exponent.
  const uint32_t lower =
      (static_cast<uint32_t>(exponent + f.bias() - 1) << f.mantissa_bits) + below;
  const uint32_t code = lower + (rest > 0.5 || (rest == 0.5 && (lower & 1u)) ? 1u : 0u);
  return sign | (code < f.max_code ? code : f.max_code);
}

}  // namespace lowbit
