#include "formats/codec.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"

namespace lowbit {
PlanesView view_of(const QTensor& t) {
  return {.format = t.format,
          .k = static_cast<int32_t>(t.k),
          .k_blocks = static_cast<int32_t>(blocks_along_k(t.format, t.k)),
          .row_bytes = row_bytes(t.format, t.k),
          .codes = t.codes.data.data(),
          .scales = t.scales.data.data(),
          .zeros = t.zeros.data.data(),
          .meta = t.meta.data.data(),
          .outer = t.outer.data.data()};
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

BlockParams load_block(const QTensor& t, int64_t row, int64_t block_k) {
  return load_block(view_of(t), row, block_k);
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

// What codes stand for before scale and zero; `own` holds those of a tensor that brings them along.
std::span<const double> numbers_of(const QTensor& t, std::array<double, 256>* own) {
  if (!t.format.has_table()) return code_table(t.format);
  const size_t count = size_t{1} << t.format.bits;
  for (size_t i = 0; i < count; ++i) {
    (*own)[i] = load_as<float>(t.outer.data.data(), static_cast<int64_t>(i));
  }
  return std::span(*own).first(count);
}

template <class T>
void decode_quantized(const QTensor& t, int64_t row, T* out) {
  const Format& f = t.format;
  std::array<double, 256> own;
  const std::span<const double> table = numbers_of(t, &own);
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
      return static_cast<T>(p(table[codes[static_cast<size_t>(i)]]));
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
