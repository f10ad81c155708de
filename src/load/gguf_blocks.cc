#include "load/gguf_blocks.h"

#include <atomic>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/text.h"
#include "base/thread_pool.h"
#include "formats/codec.h"

namespace lowbit {
namespace {

uint32_t load_u16(const uint8_t* from) {
  return static_cast<uint32_t>(from[0]) | static_cast<uint32_t>(from[1]) << 8;
}

// Bits [shift, shift + bits) of a byte.
uint32_t field(uint8_t byte, int shift, int bits) {
  return static_cast<uint32_t>(byte >> shift) & ((1u << bits) - 1u);
}

// A code c that stands for c - 2^(bits-1) in two's complement: its top bit flips.
constexpr uint32_t kSign3 = 1u << 2, kSign4 = 1u << 3, kSign5 = 1u << 4, kSign6 = 1u << 5;

// ---- Blocks of 32: byte i holds weight i in its low and weight i + 16 in its high half.

void split_halves(const uint8_t* nibbles, int count, uint32_t flip, uint32_t* codes) {
  for (int i = 0; i < count / 2; ++i) {
    codes[i] = field(nibbles[i], 0, 4) ^ flip;
    codes[i + count / 2] = field(nibbles[i], 4, 4) ^ flip;
  }
}

// The fifth bits: bit i of a 32-bit word is that of weight i.
void add_fifth_bits(const uint8_t* bits, uint32_t flip, uint32_t* codes) {
  for (int i = 0; i < 32; ++i) {
    codes[i] = (codes[i] | field(bits[i / 8], i % 8, 1) << 4) ^ flip;
  }
}

bool split_q4_0(const uint8_t* block, const BlockParts& out) {  // d, nibbles
  out.scales[0] = load_u16(block);
  split_halves(block + 2, 32, kSign4, out.codes);
  return true;
}

bool split_q4_1(const uint8_t* block, const BlockParts& out) {  // d, m, nibbles
  out.scales[0] = load_u16(block);
  out.zeros[0] = load_u16(block + 2);
  split_halves(block + 4, 32, 0, out.codes);
  return true;
}

bool split_q5_0(const uint8_t* block, const BlockParts& out) {  // d, fifth bits, nibbles
  out.scales[0] = load_u16(block);
  split_halves(block + 6, 32, 0, out.codes);
  add_fifth_bits(block + 2, kSign5, out.codes);
  return true;
}

bool split_q5_1(const uint8_t* block, const BlockParts& out) {  // d, m, fifth bits, nibbles
  out.scales[0] = load_u16(block);
  out.zeros[0] = load_u16(block + 2);
  split_halves(block + 8, 32, 0, out.codes);
  add_fifth_bits(block + 4, 0, out.codes);
  return true;
}

bool split_q8_0(const uint8_t* block, const BlockParts& out) {  // d, 32 int8
  out.scales[0] = load_u16(block);
  for (int i = 0; i < 32; ++i) out.codes[i] = block[2 + i];
  return true;
}

bool split_mxfp4(const uint8_t* block, const BlockParts& out) {  // e8m0, nibbles
  out.scales[0] = block[0];
  split_halves(block + 1, 32, 0, out.codes);
  return true;
}

// Four blocks of 16: their scales, e4m3 without a sign, then eight bytes of nibbles each.
bool split_nvfp4(const uint8_t* block, const BlockParts& out) {
  for (int b = 0; b < 4; ++b) {
    if (block[b] > 0x7f) return false;
    out.scales[b] = block[b] == 0x7f ? 0 : block[b];  // ggml takes what is NaN elsewhere for 0
    split_halves(block + 4 + 8 * b, 16, 0, out.codes + 16 * b);
  }
  return true;
}

// ---- Super-blocks of 256 weights.

// Two bits a weight: 32 bytes hold 128 weights, byte l weights l, l + 32, l + 64 and l + 96.
void split_pairs(const uint8_t* bytes, uint32_t* codes) {
  for (int i = 0; i < 256; ++i) codes[i] = field(bytes[i / 128 * 32 + i % 32], i / 32 % 4 * 2, 2);
}

// One bit a weight: bit j of byte l is that of weight 32 j + l.
uint32_t high_bit(const uint8_t* bytes, int i) { return field(bytes[i % 32], i / 32, 1); }

bool split_q2_k(const uint8_t* block, const BlockParts& out) {  // scales|mins, codes, d, dmin
  for (int b = 0; b < 16; ++b) {
    out.scales[b] = field(block[b], 0, 4);
    out.zeros[b] = field(block[b], 4, 4);
  }
  split_pairs(block + 16, out.codes);
  std::memcpy(out.outer, block + 80, 4);
  return true;
}

bool split_q3_k(const uint8_t* block, const BlockParts& out) {  // high bits, codes, scales, d
  split_pairs(block + 32, out.codes);
  for (int i = 0; i < 256; ++i) out.codes[i] = (out.codes[i] | high_bit(block, i) << 2) ^ kSign3;
  const uint8_t* packed = block + 96;  // 16 x 4 low bits, then 16 x 2 high ones
  for (int b = 0; b < 16; ++b) {
    out.scales[b] = field(packed[b % 8], b / 8 * 4, 4) | field(packed[8 + b % 4], b / 4 * 2, 2)
                                                             << 4;
  }
  std::memcpy(out.outer, block + 108, 2);
  return true;
}

// Eight 6-bit scales and eight 6-bit mins in 12 bytes: those of blocks 0 to 3 are the low six bits
// of bytes 0-3 and 4-7; those of 4 to 7 the halves of bytes 8-11 below the two bits left above.
void split_scales_and_mins(const uint8_t* packed, const BlockParts& out) {
  for (int b = 0; b < 4; ++b) {
    out.scales[b] = field(packed[b], 0, 6);
    out.zeros[b] = field(packed[b + 4], 0, 6);
    out.scales[b + 4] = field(packed[b + 8], 0, 4) | field(packed[b], 6, 2) << 4;
    out.zeros[b + 4] = field(packed[b + 8], 4, 4) | field(packed[b + 4], 6, 2) << 4;
  }
}

bool split_q4_k(const uint8_t* block, const BlockParts& out) {  // d, dmin, scales, nibbles
  std::memcpy(out.outer, block, 4);
  split_scales_and_mins(block + 4, out);
  for (int part = 0; part < 4; ++part) {
    split_halves(block + 16 + 32 * part, 64, 0, out.codes + 64 * part);
  }
  return true;
}

bool split_q5_k(const uint8_t* block, const BlockParts& out) {  // d, dmin, scales, high, nibbles
  std::memcpy(out.outer, block, 4);
  split_scales_and_mins(block + 4, out);
  for (int part = 0; part < 4; ++part) {
    split_halves(block + 48 + 32 * part, 64, 0, out.codes + 64 * part);
  }
  for (int i = 0; i < 256; ++i) out.codes[i] |= high_bit(block + 16, i) << 4;
  return true;
}

bool split_q6_k(const uint8_t* block, const BlockParts& out) {  // nibbles, pairs, scales, d
  uint32_t high[256];
  split_pairs(block + 128, high);
  split_halves(block, 128, 0, out.codes);
  split_halves(block + 64, 128, 0, out.codes + 128);
  for (int i = 0; i < 256; ++i) out.codes[i] = (out.codes[i] | high[i] << 4) ^ kSign6;
  for (int b = 0; b < 16; ++b) out.scales[b] = block[192 + b];
  std::memcpy(out.outer, block + 208, 2);
  return true;
}

bool split_tq2_0(const uint8_t* block, const BlockParts& out) {  // pairs, d
  split_pairs(block, out.codes);
  out.scales[0] = load_u16(block + 64);
  bool ternary = true;
  for (int i = 0; i < 256; ++i) ternary &= out.codes[i] != 3;
  return ternary;
}

// A byte is a fraction of 256 with up to five digits in base 3, the first one largest; digit j of
// byte l is weight j * width + l.
void split_trits(const uint8_t* bytes, int width, int digits, uint32_t* codes) {
  for (int l = 0; l < width; ++l) {
    uint32_t fraction = bytes[l];
    for (int j = 0; j < digits; ++j, fraction &= 0xff) {
      fraction *= 3;
      codes[j * width + l] = fraction >> 8;
    }
  }
}

bool split_tq1_0(const uint8_t* block, const BlockParts& out) {  // 32 + 16 bytes, 4 bytes, d
  split_trits(block, 32, 5, out.codes);
  split_trits(block + 32, 16, 5, out.codes + 160);
  split_trits(block + 48, 4, 4, out.codes + 240);
  out.scales[0] = load_u16(block + 52);
  return true;
}

constexpr GgufType kTypes[] = {
    {0, "F32", 1, 4, FormatId::kF32},
    {1, "F16", 1, 2, FormatId::kF16},
    {30, "BF16", 1, 2, FormatId::kBF16},
    {8, "Q8_0", 32, 34, FormatId::kQ8_0, split_q8_0},
    {2, "Q4_0", 32, 18, FormatId::kQ4_0, split_q4_0},
    {3, "Q4_1", 32, 20, FormatId::kQ4_1, split_q4_1},
    {6, "Q5_0", 32, 22, FormatId::kQ5_0, split_q5_0},
    {7, "Q5_1", 32, 24, FormatId::kQ5_1, split_q5_1},
    {10, "Q2_K", 256, 84, FormatId::kQ2_K, split_q2_k},
    {11, "Q3_K", 256, 110, FormatId::kQ3_K, split_q3_k},
    {12, "Q4_K", 256, 144, FormatId::kQ4_K, split_q4_k},
    {13, "Q5_K", 256, 176, FormatId::kQ5_K, split_q5_k},
    {14, "Q6_K", 256, 210, FormatId::kQ6_K, split_q6_k},
    {34, "TQ1_0", 256, 54, FormatId::kTQ1_0, split_tq1_0},
    {35, "TQ2_0", 256, 66, FormatId::kTQ2_0, split_tq2_0},
    {39, "MXFP4", 32, 17, FormatId::kMxFp4, split_mxfp4},
    {40, "NVFP4", 64, 36, FormatId::kNvFp4, split_nvfp4},
    {9, "Q8_1"},
    {15, "Q8_K"},
    {16, "IQ2_XXS"},
    {17, "IQ2_XS"},
    {18, "IQ3_XXS"},
    {19, "IQ1_S"},
    {20, "IQ4_NL"},
    {21, "IQ3_S"},
    {22, "IQ2_S"},
    {23, "IQ4_XS"},
    {24, "I8"},
    {25, "I16"},
    {26, "I32"},
    {27, "I64"},
    {28, "F64"},
    {29, "IQ1_M"},
};

}  // namespace

std::span<const GgufType> gguf_types() { return kTypes; }

const GgufType* find_gguf_type(std::string_view name) {
  for (const GgufType& type : kTypes) {
    if (type.name == name) return &type;
  }
  return nullptr;
}

std::string readable_gguf_types() {
  std::vector<std::string> names;
  for (const GgufType& type : kTypes) {
    if (type.block_weights != 0) names.emplace_back(type.name);
  }
  return join(names, ", ") + ", which llama-quantize makes of an F16 or BF16 file";
}

QTensor split_gguf_blocks(const std::string& name, const StoredTensor& stored, const GgufType& type,
                          int64_t n, int64_t k, float outer) {
  const Format& format = format_of(type.format);
  const QTensorBuilder out = build_qtensor(format, n, k);
  if (format.outer == Outer::kTensor) std::memcpy(out.outer, &outer, sizeof outer);
  const bool super = format.outer == Outer::kSuper;
  const int64_t blocks = k / type.block_weights;
  const int64_t scales = blocks_along_k(format, k);
  const auto row_bytes_of = [&](Plane plane) { return plane_shape(format, plane, n, k).row_bytes; };
  const auto* data = reinterpret_cast<const uint8_t*>(stored.data.data.data());
  std::atomic<int64_t> bad_row{-1};
  thread_pool().for_ranges(n, 1, [&](int64_t begin, int64_t end) {
    std::vector<uint32_t> row_codes(static_cast<size_t>(k));
    std::vector<uint32_t> row_scales(static_cast<size_t>(scales)), row_zeros(row_scales.size());
    for (int64_t row = begin; row < end; ++row) {
      bool good = true;
      for (int64_t b = 0; b < blocks; ++b) {
        const int64_t scale = b * scales / blocks;
        std::byte* super_scale =
            super ? out.outer + row * row_bytes_of(Plane::kOuter) + b * format.outer_bits() / 8
                  : nullptr;
        good &= type.split(data + (row * blocks + b) * type.block_bytes,
                           {row_codes.data() + b * type.block_weights, row_scales.data() + scale,
                            row_zeros.data() + scale, super_scale});
      }
      if (!good) bad_row = row;
      pack_codes(format, row_codes, out.codes + row * row_bytes_of(Plane::kCodes));
      store_codes(out.scales + row * row_bytes_of(Plane::kScales), format.scale_bits(), row_scales);
      if (format.zero != Zero::kNone) {
        store_codes(out.zeros + row * row_bytes_of(Plane::kZeros), format.zero_bits(), row_zeros);
      }
    }
  });
  if (bad_row >= 0) {
    throw_error("{}: {}: row {} holds a code that is no number in {}; the file is damaged",
                stored.file, printable(name, 200), bad_row.load(), type.name);
  }
  release_pages(stored.data);
  return out.tensor;
}

}  // namespace lowbit
