#include "formats/codec.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/fp.h"

namespace lowbit {
namespace {

template <class T>
T load_as(const std::byte* plane, int64_t index) {
  T value;
  std::memcpy(&value, plane + static_cast<size_t>(index) * sizeof(T), sizeof(T));
  return value;
}

template <class T>
void store_as(std::byte* plane, int64_t index, T value) {
  std::memcpy(plane + static_cast<size_t>(index) * sizeof(T), &value, sizeof(T));
}

constexpr double two_to(int exponent) { return static_cast<double>(int64_t{1} << exponent); }

}  // namespace

double decode_code(const Format& format, uint32_t code) {
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
  }
  __builtin_unreachable();
}

CodeRange code_range(const Format& format) {
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
  }
  __builtin_unreachable();
}

uint32_t encode_code(const Format& format, double value) {
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
      const double clamped = std::clamp(std::nearbyint(value), range.min, range.max);
      const uint32_t mask = format.bits == 32 ? ~0u : (1u << format.bits) - 1u;
      return static_cast<uint32_t>(static_cast<int32_t>(clamped)) & mask;
    }
  }
  __builtin_unreachable();
}

uint32_t load_code(const std::byte* row, int bits, int64_t i) {
  const int64_t first = i * bits;
  uint64_t word = 0;
  const int64_t begin = first / 8, end = (first + bits + 7) / 8;
  for (int64_t byte = begin; byte < end; ++byte) {
    word |= static_cast<uint64_t>(row[byte]) << (8 * (byte - begin));
  }
  return static_cast<uint32_t>((word >> (first % 8)) & ((uint64_t{1} << bits) - 1));
}

void store_code(std::byte* row, int bits, int64_t i, uint32_t code) {
  for (int bit = 0; bit < bits; ++bit) {
    const int64_t at = i * bits + bit;
    const auto mask = static_cast<std::byte>(1u << (at % 8));
    row[at / 8] = (code >> bit) & 1u ? row[at / 8] | mask : row[at / 8] & ~mask;
  }
}

void store_codes(std::byte* row, int bits, std::span<const uint32_t> codes) {
  uint64_t pending = 0;  // bits not written yet, lowest first
  int count = 0;
  for (const uint32_t code : codes) {
    pending |= uint64_t{code} << count;
    for (count += bits; count >= 8; count -= 8, pending >>= 8) {
      *row++ = static_cast<std::byte>(pending & 0xff);
    }
  }
  if (count > 0) *row = static_cast<std::byte>(pending & 0xff);
}

double load_scale(Scale type, const std::byte* plane, int64_t block) {
  switch (type) {
    case Scale::kNone:
      return 1;
    case Scale::kF32:
      return load_as<float>(plane, block);
    case Scale::kF16:
      return f16_to_f32(load_as<uint16_t>(plane, block));
    case Scale::kBF16:
      return bf16_to_f32(load_as<uint16_t>(plane, block));
  }
  __builtin_unreachable();
}

void store_scale(Scale type, std::byte* plane, int64_t block, double value) {
  const auto single = static_cast<float>(value);
  switch (type) {
    case Scale::kNone:
      return;
    case Scale::kF32:
      return store_as(plane, block, single);
    case Scale::kF16:
      return store_as(plane, block, f32_to_f16(single));
    case Scale::kBF16:
      return store_as(plane, block, f32_to_bf16(single));
  }
  __builtin_unreachable();
}

BlockParams load_block(const QTensor& t, int64_t row, int64_t block_k) {
  if (!t.format.quantized()) return {};
  const int64_t block_n = t.format.block.n == 0 ? 0 : row / t.format.block.n;
  const int64_t block = block_n * blocks_along_k(t.format, t.k) + block_k;
  BlockParams params{.scale = load_scale(t.format.scale, t.scales.data.data(), block)};
  if (t.format.zero == Zero::kInt) {
    params.shift = static_cast<double>(t.zeros.data[static_cast<size_t>(block)]);
  } else if (t.format.zero == Zero::kFloat) {
    params.shift = two_to(t.format.bits - 1);
    params.offset = load_scale(t.format.scale, t.zeros.data.data(), block);
  }
  return params;
}

void encode_plain(FormatId format, const float* values, int64_t count, void* codes) {
  if (format == FormatId::kF32) {
    std::memcpy(codes, values, static_cast<size_t>(count) * sizeof(float));
    return;
  }
  LB_CHECK(format == FormatId::kBF16 || format == FormatId::kF16);
  auto* out = static_cast<uint16_t*>(codes);
  if (format == FormatId::kBF16) {
    for (int64_t i = 0; i < count; ++i) out[i] = f32_to_bf16(values[i]);
  } else {
    for (int64_t i = 0; i < count; ++i) out[i] = f32_to_f16(values[i]);
  }
}

void decode_plain(FormatId format, const void* codes, int64_t count, float* values) {
  if (format == FormatId::kF32) {
    std::memcpy(values, codes, static_cast<size_t>(count) * sizeof(float));
    return;
  }
  LB_CHECK(format == FormatId::kBF16 || format == FormatId::kF16);
  const auto* in = static_cast<const uint16_t*>(codes);
  if (format == FormatId::kBF16) {
    for (int64_t i = 0; i < count; ++i) values[i] = bf16_to_f32(in[i]);
  } else {
    for (int64_t i = 0; i < count; ++i) values[i] = f16_to_f32(in[i]);
  }
}

void decode_row(const QTensor& t, int64_t row, float* out) {
  const std::byte* codes = t.codes.data.data() + row * row_bytes(t.format, t.k);
  if (!t.format.quantized()) return decode_plain(t.format.id, codes, t.k, out);
  const int64_t block = t.format.block.k == 0 ? t.k : t.format.block.k;
  for (int64_t begin = 0; begin < t.k; begin += block) {
    const BlockParams p = load_block(t, row, begin / block);
    for (int64_t i = begin; i < std::min(begin + block, t.k); ++i) {
      const double q = decode_code(t.format, load_code(codes, t.format.bits, i));
      out[i] = static_cast<float>((q - p.shift) * p.scale + p.offset);
    }
  }
}

std::vector<float> decode_rows(const QTensor& t) {
  std::vector<float> values(static_cast<size_t>(t.n * t.k));
  for (int64_t row = 0; row < t.n; ++row) decode_row(t, row, values.data() + row * t.k);
  return values;
}

}  // namespace lowbit
