// The words a format is made of. Plain enumerations, so that kernel argument structs (ops/args.h)
// can name them without seeing anything else.
#pragma once

#include <stdint.h>

namespace lowbit {

// Families: one row of kFormats (formats/format.h) each.
enum class FormatId : uint8_t {
  kF32,
  kF16,
  kBF16,
  kInt8,
  kInt7,
  kInt6,
  kInt5,
  kInt4,
  kInt3,
  kInt2,
  kInt1,
  kTernary,
  kTernary5,
  kFp8,
  kFp6,
  kFp5,
  kFp4,
  kFp3,
  kMxFp8,
  kMxFp6,
  kMxFp4,
  kNvFp4,
  kQ8_0,
  kQ5_1,
  kQ5_0,
  kQ4_1,
  kQ4_0,
  kQ6_K,
  kQ5_K,
  kQ4_K,
  kQ3_K,
  kQ2_K,
  kTQ2_0,
  kTQ1_0,
  kQqq,
  kCodebook,
};

// How one stored code becomes a number, before scale and zero.
enum class Code : uint8_t {
  kF32,
  kF16,
  kBF16,
  kInt,      // two's complement, `bits` wide
  kUInt,     // 0 .. 2^bits - 1
  kSign,     // one bit: 0 is -1, 1 is +1
  kTernary,  // two bits: 0, 1, 2 are -1, 0, +1 (3 is none)
  kTrit,     // the same three, five to a byte: sum of q[i] 3^i
  kE4M3,     // sign, exponent, mantissa; OCP 8-bit: no infinity, 0x7f is NaN
  kE5M2,     // OCP 8-bit: IEEE-like, with infinity and NaN
  kE3M2,     // below 8 bits every code is a finite number, exponent bias 2^(e-1) - 1
  kE2M3,
  kE3M1,
  kE2M2,
  kE3M0,
  kE2M1,
  kE2M0,
};

// How the scale of a block is stored. The last four are codes of a super-block's own scale.
enum class Scale : uint8_t {
  kNone,
  kF32,
  kF16,
  kBF16,
  kE8M0,  // 2^(code - 127), 0xff is NaN
  kE4M3,
  kU4,  // 0 .. 15
  kU6,  // 0 .. 63
  kI6,  // code - 32
  kI8,  // two's complement
};

// What shifts a code before or after the scale.
enum class Zero : uint8_t {
  kNone,    // value = q * s
  kInt,     // value = (q - z) * s, z an integer code, stored in one byte
  kFloat,   // value = (q - 2^(bits-1)) * s + z, z stored like the scale (mid-point form)
  kReal,    // value = (q - z) * s, z stored like the scale
  kOffset,  // value = q * s + z, z stored like the scale; in super-blocks q * s - z
};

// A second level above the scales of blocks: block scale = outer * stored scale.
enum class Outer : uint8_t {
  kNone,
  kTensor,  // one f32
  kRow,     // one f32 per row
  kSuper,   // one f16 per 256 codes along k, followed by a second one for zeros if there are any
  kInt8,    // one f32 per row, above products code * scale that are rounded to integers
  kTable,   // no scale: 2^bits f32 for the tensor, which its codes are numbers of
};

// How round-to-nearest chooses scale and zero of a block (spec: docs/formats.md).
enum class ScaleRule : uint8_t {
  kNone,
  kAmaxOverMax,  // s = max|w| / qmax            codes in [-qmax, qmax]
  kAmaxOverMin,  // s = max|w| / |qmin|          codes clamped to [qmin, qmax]
  kExtreme,      // s = (w of largest |w|) / qmin, sign included; codes clamped
  kMinMax,       // s = (max - min) / (2^bits - 1)
  kMean,         // s = mean |w|; ternary codes: m where every w is 0 or +-m
  kFloor,        // powers of two: 2^(floor(log2 max|w|) - emax)
  kCeil,         // 2^(ceil(log2 max|w|) - emax)
  kEven,         // as kFloor, after max|w| was rounded to the mantissa of a code
  kRceil,        // 2^ceil(log2(max|w| / qmax))
  kTwoLevel,     // outer = max|w| of the tensor / (448 qmax); s = max|w| / qmax / outer
  kLevels,       // several levels of scales, chosen for a row at once (quantize/levels.cc)
};

}  // namespace lowbit
