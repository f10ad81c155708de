// Codes to numbers and back, one at a time, in double precision: obvious first, the oracle for
// every fast decoder. Definitions: formats/ids.h (Code, Scale, Zero, Outer).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/fp.h"
#include "formats/qtensor.h"

namespace lowbit {

// The small float that a code is; exponent_bits = 0 for codes that are none.
constexpr MiniFloat mini_float(Code code) {
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

// The number a code stands for before scale and zero.
double decode_code(const Format& format, uint32_t code);

// The same for all codes of up to 8 bits: table[code], 2^bits numbers. Lives forever.
std::span<const double> code_table(const Format& format);

// The code nearest to `value` (ties to even), clamped to the format's range; f16/bf16/f32 round as
// IEEE does. NaN has no integer code: callers reject it first.
uint32_t encode_code(const Format& format, double value);

// Smallest and largest finite value that decode_code yields.
struct CodeRange {
  double min, max;
};
CodeRange code_range(const Format& format);

// Code i of a row of codes packed `bits` wide.
uint32_t load_code(const std::byte* row, int bits, int64_t i);
void store_code(std::byte* row, int bits, int64_t i, uint32_t code);
void store_codes(std::byte* row, int bits, std::span<const uint32_t> codes);  // a whole row
void load_codes(const std::byte* row, int bits, std::span<uint32_t> codes);

// The stored codes of a row as the format packs them (Code::kTrit: five to a byte).
void pack_codes(const Format& format, std::span<const uint32_t> codes, std::byte* row);
void unpack_codes(const Format& format, const std::byte* row, std::span<uint32_t> codes);

// One block's scale or zero, in its storage type. `index` counts from the start of a plane's row;
// 8, 16 and 32-bit types may count from the start of the plane.
double load_scale(Scale type, const std::byte* plane, int64_t index);
void store_scale(Scale type, std::byte* plane, int64_t index, double value);  // nearest

// What a block adds to its codes: value = (decode_code(q) - shift) * scale + offset.
struct BlockParams {
  double scale = 1, shift = 0, offset = 0;
};
// Of a format without outer scales, from a block's scale and zero as they are stored.
BlockParams block_params(const Format& format, double scale, double zero);
BlockParams load_block(const QTensor& tensor, int64_t row, int64_t block_k);

// Row `row`: k numbers in double without rounding but that of the products, or each rounded once
// to f32.
void decode_row(const QTensor& tensor, int64_t row, double* out);
void decode_row(const QTensor& tensor, int64_t row, float* out);
std::vector<float> decode_rows(const QTensor& tensor);

// For formats without a scale (f32, f16, bf16): `count` numbers, rounded as IEEE does.
void encode_plain(FormatId format, const float* values, int64_t count, void* codes);
void decode_plain(FormatId format, const void* codes, int64_t count, float* values);

}  // namespace lowbit
