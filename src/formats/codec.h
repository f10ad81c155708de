// Tensors to numbers in double precision: obvious first, the oracle for every fast decoder. One
// code or scale at a time: numbers.h.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "formats/numbers.h"
#include "formats/qtensor.h"

namespace lowbit {

PlanesView view_of(const QTensor& tensor);  // owns nothing

// decode_code for all codes of up to 8 bits: table[code], 2^bits numbers. Lives forever.
std::span<const double> code_table(const Format& format);

void store_codes(std::byte* row, int bits, std::span<const uint32_t> codes);  // a whole row
void load_codes(const std::byte* row, int bits, std::span<uint32_t> codes);

// The stored codes of a row as the format packs them (Code::kTrit: five to a byte).
void pack_codes(const Format& format, std::span<const uint32_t> codes, std::byte* row);
void unpack_codes(const Format& format, const std::byte* row, std::span<uint32_t> codes);

// What block `block_k` along k of a row adds to its codes.
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
