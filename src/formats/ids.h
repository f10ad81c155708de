// The words a format is made of. Plain enumerations, so that kernel argument structs (ops/args.h)
// can name them without seeing anything else.
#pragma once

#include <stdint.h>

namespace lowbit {

enum class FormatId : uint8_t { kF32, kF16, kBF16, kInt8, kInt4, kQ8_0, kQ4_0 };

// How one stored code becomes a number, before scale and zero.
enum class Code : uint8_t {
  kF32,
  kF16,
  kBF16,
  kInt,   // two's complement, `bits` wide
  kUInt,  // 0 .. 2^bits - 1
};

// How the scale of a block is stored.
enum class Scale : uint8_t { kNone, kF32, kF16, kBF16 };

// What shifts a code before or after the scale.
enum class Zero : uint8_t {
  kNone,   // value = q * s
  kInt,    // value = (q - z) * s, z an integer code, stored in one byte
  kFloat,  // value = (q - 2^(bits-1)) * s + z, z stored like the scale (mid-point form)
};

// How round-to-nearest chooses scale and zero of a block (spec: docs/formats.md).
enum class ScaleRule : uint8_t {
  kNone,
  kAmaxOverMax,  // s = max|w| / qmax            codes in [-qmax, qmax]
  kAmaxOverMin,  // s = max|w| / |qmin|          codes clamped to [qmin, qmax]
  kExtreme,      // s = (w of largest |w|) / qmin, sign included; codes clamped
  kMinMax,       // s = (max - min) / (2^bits - 1)
};

}  // namespace lowbit
