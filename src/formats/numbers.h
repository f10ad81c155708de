// What stored codes, scales and zeros stand for, one at a time and in double precision, and the
// nearest of them to a number. Definitions: formats/ids.h (Code, Scale, Zero). nvcc compiles this
// too: kernels that call it get the host's numbers, bit for bit.
#pragma once

#include <cfloat>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/fp.h"
#include "formats/fields.h"

namespace lowbit {

// a * b, rounded. A GPU's compiler would fuse a plain product with the addition that follows.
LB_HOST_DEVICE inline double rounded_product(double a, double b) {
#ifdef __CUDA_ARCH__
  return __dmul_rn(a, b);
#else
  return a * b;
#endif
}

// Entry `index` of a plane of T. On a GPU planes are aligned for their type.
template <class T>
LB_HOST_DEVICE inline T load_as(const std::byte* plane, int64_t index) {
#ifdef __CUDA_ARCH__
  return reinterpret_cast<const T*>(plane)[index];
#else
  T value;
  std::memcpy(&value, plane + static_cast<size_t>(index) * sizeof(T), sizeof(T));
  return value;
#endif
}

template <class T>
LB_HOST_DEVICE inline void store_as(std::byte* plane, int64_t index, T value) {
#ifdef __CUDA_ARCH__
  reinterpret_cast<T*>(plane)[index] = value;
#else
  std::memcpy(plane + static_cast<size_t>(index) * sizeof(T), &value, sizeof(T));
#endif
}

LB_HOST_DEVICE constexpr double two_to(int exponent) {
  return static_cast<double>(int64_t{1} << exponent);
}

// The integer nearest to `value`, ties to even, in [lo, hi].
LB_HOST_DEVICE inline int32_t to_integer(double value, double lo, double hi) {
  const double nearest = std::nearbyint(value);
  return static_cast<int32_t>(nearest < lo ? lo : nearest > hi ? hi : nearest);
}

// The small float that a code is; exponent_bits = 0 for codes that are none.
LB_HOST_DEVICE constexpr MiniFloat mini_float(Code code) {
  switch (code) {
    case Code::kE4M3:
      return kFloatE4M3;
    case Code::kE5M2:
      return kFloatE5M2;
    case Code::kE3M2:
      return finite_float(3, 2);
    case Code::kE2M3:
      return finite_float(2, 3);
    case Code::kE3M1:
      return finite_float(3, 1);
    case Code::kE2M2:
      return finite_float(2, 2);
    case Code::kE3M0:
      return finite_float(3, 0);
    case Code::kE2M1:
      return finite_float(2, 1);
    case Code::kE2M0:
      return finite_float(2, 0);
    default:
      return {0, 0, 0};
  }
}
constexpr bool is_mini_float(Code code) { return mini_float(code).exponent_bits > 0; }

// ---- codes --------------------------------------------------------------------------------------

// The number a code stands for before scale and zero.
LB_HOST_DEVICE inline double decode_code(const Format& format, uint32_t code) {
  switch (format.code) {
    case Code::kF32:
      return std::bit_cast<float>(code);
    case Code::kF16:
      return f16_to_f32(static_cast<uint16_t>(code));
    case Code::kBF16:
      return bf16_to_f32(static_cast<uint16_t>(code));
    case Code::kUInt:
      return code;
    case Code::kInt: {
      const uint32_t sign = 1u << (format.bits - 1);
      return static_cast<double>(static_cast<int32_t>(code ^ sign) - static_cast<int32_t>(sign));
    }
    case Code::kSign:
      return code ? 1 : -1;
    case Code::kTernary:
    case Code::kTrit:
      return code > 2 ? static_cast<double>(NAN) : static_cast<double>(code) - 1;
    default:
      return minifloat_to_double(mini_float(format.code), code);
  }
}

// Smallest and largest finite value that decode_code yields.
struct CodeRange {
  double min, max;
};
LB_HOST_DEVICE inline CodeRange code_range(const Format& format) {
  switch (format.code) {
    case Code::kF32:
      return {-FLT_MAX, FLT_MAX};
    case Code::kF16:
      return {-65504, 65504};
    case Code::kBF16:
      return {bf16_to_f32(0xff7f), bf16_to_f32(0x7f7f)};
    case Code::kUInt:
      return {0, two_to(format.bits) - 1};
    case Code::kInt:
      return {-two_to(format.bits - 1), two_to(format.bits - 1) - 1};
    case Code::kSign:
    case Code::kTernary:
    case Code::kTrit:
      return {-1, 1};
    default: {
      const MiniFloat f = mini_float(format.code);
      const double max = minifloat_to_double(f, f.max_code);
      return {-max, max};
    }
  }
}

// The code nearest to `value` (ties to even), clamped to the format's range; f16/bf16/f32 round as
// IEEE does. NaN has no integer code: callers reject it first.
LB_HOST_DEVICE inline uint32_t encode_code(const Format& format, double value) {
  switch (format.code) {
    case Code::kF32:
      return std::bit_cast<uint32_t>(static_cast<float>(value));
    case Code::kF16:
      return f32_to_f16(static_cast<float>(value));
    case Code::kBF16:
      return f32_to_bf16(static_cast<float>(value));
    case Code::kInt:
    case Code::kUInt: {
      const CodeRange range = code_range(format);
      const uint32_t mask = format.bits == 32 ? ~0u : (1u << format.bits) - 1u;
      return static_cast<uint32_t>(to_integer(value, range.min, range.max)) & mask;
    }
    case Code::kSign:
      return value >= 0 ? 1 : 0;
    case Code::kTernary:
    case Code::kTrit:
      return static_cast<uint32_t>(to_integer(value, -1, 1) + 1);
    default:
      return double_to_minifloat(mini_float(format.code), value);
  }
}

// Code i of a row of codes packed `bits` wide.
LB_HOST_DEVICE inline uint32_t load_code(const std::byte* row, int bits, int64_t i) {
  const int64_t first = i * bits;
  uint64_t word = 0;
  const int64_t begin = first / 8, end = (first + bits + 7) / 8;
  for (int64_t byte = begin; byte < end; ++byte) {
    word |= static_cast<uint64_t>(row[byte]) << (8 * (byte - begin));
  }
  return static_cast<uint32_t>((word >> (first % 8)) & ((uint64_t{1} << bits) - 1));
}

LB_HOST_DEVICE inline void store_code(std::byte* row, int bits, int64_t i, uint32_t code) {
  for (int bit = 0; bit < bits; ++bit) {
    const int64_t at = i * bits + bit;
    const auto mask = static_cast<std::byte>(1u << (at % 8));
    row[at / 8] = (code >> bit) & 1u ? row[at / 8] | mask : row[at / 8] & ~mask;
  }
}

// Code i of a row as the format packs it (Code::kTrit: five to a byte).
LB_HOST_DEVICE inline uint32_t load_stored_code(const Format& format, const std::byte* row,
                                                int64_t i) {
  if (format.code != Code::kTrit) return load_code(row, format.bits, i);
  auto byte = static_cast<uint32_t>(row[i / 5]);
  for (int64_t digit = i % 5; digit > 0; --digit) byte /= 3;
  return byte % 3;
}

// ---- scales and zeros ---------------------------------------------------------------------------

// One block's scale or zero, in its storage type. `index` counts from the start of a plane's row;
// 8, 16 and 32-bit types may count from the start of the plane.
LB_HOST_DEVICE inline double load_scale(Scale type, const std::byte* plane, int64_t index) {
  switch (type) {
    case Scale::kNone:
      return 1;
    case Scale::kF32:
      return load_as<float>(plane, index);
    case Scale::kF16:
      return f16_to_f32(load_as<uint16_t>(plane, index));
    case Scale::kBF16:
      return bf16_to_f32(load_as<uint16_t>(plane, index));
    case Scale::kE8M0: {
      const auto code = static_cast<int>(plane[index]);
      return code == 0xff ? static_cast<double>(NAN) : power_of_two(code - 127);
    }
    case Scale::kE4M3:
      return minifloat_to_double(kFloatE4M3, static_cast<uint32_t>(plane[index]));
    case Scale::kU4:
      return load_code(plane, 4, index);
    case Scale::kU6:
      return load_code(plane, 6, index);
    case Scale::kI6:
      return static_cast<double>(load_code(plane, 6, index)) - 32;
    case Scale::kI8:
      return static_cast<double>(load_as<int8_t>(plane, index));
  }
  __builtin_unreachable();
}

// Nearest.
LB_HOST_DEVICE inline void store_scale(Scale type, std::byte* plane, int64_t index, double value) {
  const auto single = static_cast<float>(value);
  switch (type) {
    case Scale::kNone:
      return;
    case Scale::kF32:
      return store_as(plane, index, single);
    case Scale::kF16:
      return store_as(plane, index, f32_to_f16(single));
    case Scale::kBF16:
      return store_as(plane, index, f32_to_bf16(single));
    case Scale::kE8M0:  // callers choose powers of two
      return store_as(plane, index,
                      static_cast<uint8_t>(to_integer(std::log2(value) + 127, 0, 254)));
    case Scale::kE4M3:
      return store_as(plane, index, static_cast<uint8_t>(double_to_minifloat(kFloatE4M3, value)));
    case Scale::kU4:
      return store_code(plane, 4, index, static_cast<uint32_t>(to_integer(value, 0, 15)));
    case Scale::kU6:
      return store_code(plane, 6, index, static_cast<uint32_t>(to_integer(value, 0, 63)));
    case Scale::kI6:
      return store_code(plane, 6, index, static_cast<uint32_t>(to_integer(value + 32, 0, 63)));
    case Scale::kI8:
      return store_as(plane, index, static_cast<int8_t>(to_integer(value, -128, 127)));
  }
  __builtin_unreachable();
}

// What a block adds to its codes: value = (decode_code(q) - shift) * scale + offset; of
// Outer::kInt8 the integer next to decode_code(q) * scale, ties to even, times the unit.
struct BlockParams {
  double scale = 1, shift = 0, offset = 0, unit = 1;
  bool integers = false;

  LB_HOST_DEVICE double operator()(double q) const {
    if (integers) return rounded_product(std::nearbyint(q * scale), unit);
    return rounded_product(q - shift, scale) + offset;
  }
};

// Of a format without outer scales, from a block's scale and zero as they are stored.
LB_HOST_DEVICE inline BlockParams block_params(const Format& f, double scale, double zero) {
  switch (f.zero) {
    case Zero::kNone:
      return {.scale = scale};
    case Zero::kInt:
    case Zero::kReal:
      return {.scale = scale, .shift = zero};
    case Zero::kFloat:
      return {.scale = scale, .shift = two_to(f.bits - 1), .offset = zero};
    case Zero::kOffset:
      return {.scale = scale, .offset = zero};
  }
  __builtin_unreachable();
}

}  // namespace lowbit
