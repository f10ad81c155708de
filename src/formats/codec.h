// Codes to numbers and back, one at a time, in double precision: obvious first, the oracle for
// every fast decoder. Definitions: formats/ids.h (Code, Scale, Zero).
#pragma once

#include <cstdint>
#include <vector>

#include "formats/qtensor.h"

namespace lowbit {

// The number a code stands for before scale and zero.
double decode_code(const Format& format, uint32_t code);

// The code nearest to `value` (ties to even), clamped to the format's range; f16/bf16/f32 round as
// IEEE does. NaN has no integer code: callers reject it first.
uint32_t encode_code(const Format& format, double value);

// Smallest and largest finite value that decode_code yields.
struct CodeRange {
  double min, max;
};
CodeRange code_range(const Format& format);

// Code i of a row of packed codes.
uint32_t load_code(const std::byte* row, int bits, int64_t i);
void store_code(std::byte* row, int bits, int64_t i, uint32_t code);
void store_codes(std::byte* row, int bits, std::span<const uint32_t> codes);  // a whole row

// One block's scale or float zero, in its storage type.
double load_scale(Scale type, const std::byte* plane, int64_t block);
void store_scale(Scale type, std::byte* plane, int64_t block, double value);  // rounds to the type

// What a block adds to its codes: value = (decode_code(q) - shift) * scale + offset.
struct BlockParams {
  double scale = 1, shift = 0, offset = 0;
};
BlockParams load_block(const QTensor& tensor, int64_t row, int64_t block_k);

// Row `row` as f32: k numbers, each the double result rounded once.
void decode_row(const QTensor& tensor, int64_t row, float* out);
std::vector<float> decode_rows(const QTensor& tensor);

// The same for formats without a scale (f32, f16, bf16): `count` numbers, rounded as IEEE does.
void encode_plain(FormatId format, const float* values, int64_t count, void* codes);
void decode_plain(FormatId format, const void* codes, int64_t count, float* values);

}  // namespace lowbit
