#include "formats/codec.h"

#include <algorithm>
#include <array>
#include <cfloat>
#include <cmath>
#include <cstring>

#include "base/check.h"

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

// The integer nearest to `value`, ties to even, in [lo, hi].
int32_t to_integer(double value, double lo, double hi) {
  return static_cast<int32_t>(std::clamp(std::nearbyint(value), lo, hi));
}

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
    case Code::kSign:
      return code ? 1 : -1;
    case Code::kTernary:
    case Code::kTrit:
      return code > 2 ? NAN : static_cast<double>(code) - 1;
    default:
      return minifloat_to_double(mini_float(format.code), code);
  }
}

std::span<const double> code_table(const Format& format) {
  LB_CHECK(format.bits <= 8, "{}", name(format));
  constexpr size_t kCodes = static_cast<size_t>(Code::kE2M0) + 1;
  using Table = std::array<double, 256>;
  static const auto tables = [] {  // [code kind][bits]
    std::vector<std::array<Table, 9>> all(kCodes);
    for (size_t kind = 0; kind < kCodes; ++kind) {
      for (int bits = 1; bits <= 8; ++bits) {
        Format f = format_of(FormatId::kInt8);
        f.code = static_cast<Code>(kind);
        f.bits = static_cast<uint8_t>(bits);
        if (is_mini_float(f.code) && mini_float(f.code).bits() != bits) continue;
        for (uint32_t code = 0; code < (1u << bits); ++code) {
          all[kind][static_cast<size_t>(bits)][code] = decode_code(f, code);
        }
      }
    }
    return all;
  }();
  return std::span(tables[static_cast<size_t>(format.code)][format.bits])
      .first(size_t{1} << format.bits);
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

void load_codes(const std::byte* row, int bits, std::span<uint32_t> codes) {
  uint64_t pending = 0;  // bits read and not given out, lowest first
  int count = 0;
  const uint64_t mask = (uint64_t{1} << bits) - 1;
  for (uint32_t& code : codes) {
    for (; count < bits; count += 8) pending |= static_cast<uint64_t>(*row++) << count;
    code = static_cast<uint32_t>(pending & mask);
    pending >>= bits;
    count -= bits;
  }
}

void pack_codes(const Format& format, std::span<const uint32_t> codes, std::byte* row) {
  if (format.code != Code::kTrit) return store_codes(row, format.bits, codes);
  for (size_t i = 0; i < codes.size(); i += 5) {
    uint32_t byte = 0;
    for (size_t digit = std::min(codes.size() - i, size_t{5}); digit-- > 0;) {
      byte = byte * 3 + codes[i + digit];
    }
    *row++ = static_cast<std::byte>(byte);
  }
}

void unpack_codes(const Format& format, const std::byte* row, std::span<uint32_t> codes) {
  if (format.code != Code::kTrit) return load_codes(row, format.bits, codes);
  for (size_t i = 0; i < codes.size(); i += 5) {
    auto byte = static_cast<uint32_t>(*row++);
    for (size_t digit = 0; digit < std::min(codes.size() - i, size_t{5}); ++digit) {
      codes[i + digit] = byte % 3;
      byte /= 3;
    }
  }
}

double load_scale(Scale type, const std::byte* plane, int64_t index) {
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
      return code == 0xff ? NAN : power_of_two(code - 127);
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

void store_scale(Scale type, std::byte* plane, int64_t index, double value) {
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

BlockParams block_params(const Format& f, double scale, double zero) {
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

BlockParams load_block(const QTensor& t, int64_t row, int64_t block_k) {
  const Format& f = t.format;
  if (!f.quantized()) return {};
  const int64_t block_n = f.block.n == 0 ? 0 : row / f.block.n;
  const auto row_of = [&](Plane plane) {
    return t.plane(plane).data.data() + block_n * plane_shape(f, plane, t.n, t.k).row_bytes;
  };
  const double scale = load_scale(f.scale, row_of(Plane::kScales), block_k);
  double zero = 0;
  if (f.zero == Zero::kInt) {
    zero = static_cast<double>(row_of(Plane::kZeros)[block_k]);
  } else if (f.zero != Zero::kNone) {
    zero = load_scale(f.scale, row_of(Plane::kZeros), block_k);
  }
  BlockParams params = block_params(f, scale, zero);
  const std::byte* outer = t.outer.data.data();
  switch (f.outer) {
    case Outer::kNone:
      break;
    case Outer::kTensor:
      params.scale *= load_as<float>(outer, 0);
      break;
    case Outer::kRow:
      params.scale *= load_as<float>(outer, row);
      break;
    case Outer::kSuper: {
      const int64_t super = row * (t.k / kSuperBlock) + block_k * f.block.k / kSuperBlock;
      const bool pairs = f.zero == Zero::kOffset;
      params.scale *= f16_to_f32(load_as<uint16_t>(outer, pairs ? 2 * super : super));
      if (pairs) params.offset *= -f16_to_f32(load_as<uint16_t>(outer, 2 * super + 1));
    }
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

namespace {

template <class T>
void decode_quantized(const QTensor& t, int64_t row, T* out) {
  const Format& f = t.format;
  const std::span<const double> table = code_table(f);
  std::vector<uint32_t> codes(static_cast<size_t>(stored_codes(f, t.k)));
  unpack_codes(f, t.codes.data.data() + row * row_bytes(f, t.k), codes);
  const std::byte* meta =
      f.sparse24 ? t.meta.data.data() + row * plane_shape(f, Plane::kMeta, t.n, t.k).row_bytes
                 : nullptr;
  if (f.sparse24) std::fill(out, out + t.k, T{0});
  const int64_t block = f.block.k == 0 ? t.k : f.block.k;
  for (int64_t begin = 0; begin < t.k; begin += block) {
    const BlockParams p = load_block(t, row, begin / block);
    const int64_t end = std::min(begin + block, t.k);
    const auto value = [&](int64_t i) {
      return static_cast<T>((table[codes[static_cast<size_t>(i)]] - p.shift) * p.scale + p.offset);
    };
    if (!f.sparse24) {
      for (int64_t i = begin; i < end; ++i) out[i] = value(i);
      continue;
    }
    for (int64_t i = begin / 2; i < end / 2; ++i) out[i / 2 * 4 + load_code(meta, 2, i)] = value(i);
  }
}

}  // namespace

void decode_row(const QTensor& t, int64_t row, float* out) {
  if (t.format.quantized()) return decode_quantized(t, row, out);
  decode_plain(t.format.id, t.codes.data.data() + row * row_bytes(t.format, t.k), t.k, out);
}

void decode_row(const QTensor& t, int64_t row, double* out) {
  if (t.format.quantized()) return decode_quantized(t, row, out);
  std::vector<float> single(static_cast<size_t>(t.k));
  decode_row(t, row, single.data());
  std::copy(single.begin(), single.end(), out);
}

std::vector<float> decode_rows(const QTensor& t) {
  std::vector<float> values(static_cast<size_t>(t.n * t.k));
  for (int64_t row = 0; row < t.n; ++row) decode_row(t, row, values.data() + row * t.k);
  return values;
}

}  // namespace lowbit
