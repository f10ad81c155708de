// Format: a value that says what the codes of a tensor mean. The table of families is format.h.
#pragma once

#include <cstdint>

#include "formats/ids.h"

namespace lowbit {

// Codes that share one scale, along n (rows) and k. 0 means the whole extent.
struct Block {
  int32_t n = 1;
  int32_t k = 0;
  constexpr bool operator==(const Block&) const = default;
};

inline constexpr int32_t kSuperBlock = 256;  // codes along k that share a scale of Outer::kSuper

struct Format {
  FormatId id;
  Code code;
  uint8_t bits;  // of one code, unpacked
  Scale scale = Scale::kNone;
  Block block = {};
  Zero zero = Zero::kNone;
  ScaleRule rule = ScaleRule::kNone;
  Outer outer = Outer::kNone;
  bool sparse24 = false;  // two codes of every four along k are stored, with their positions

  constexpr bool operator==(const Format&) const = default;
  constexpr bool quantized() const { return scale != Scale::kNone; }
  constexpr int scale_bits() const {
    switch (scale) {
      case Scale::kNone:
        return 0;
      case Scale::kF32:
        return 32;
      case Scale::kF16:
      case Scale::kBF16:
        return 16;
      case Scale::kE8M0:
      case Scale::kE4M3:
      case Scale::kI8:
        return 8;
      case Scale::kU6:
      case Scale::kI6:
        return 6;
      case Scale::kU4:
        return 4;
    }
    __builtin_unreachable();
  }
  constexpr int zero_bits() const {
    return zero == Zero::kNone ? 0 : zero == Zero::kInt ? 8 : scale_bits();
  }
  // Whether codes are places in a table of numbers that the tensor brings along.
  constexpr bool has_table() const { return outer == Outer::kTable; }
  // Of one outer scale, with its companion for zeros; of the whole table.
  constexpr int outer_bits() const {
    if (outer == Outer::kNone) return 0;
    if (outer == Outer::kTable) return 32 << bits;
    return outer == Outer::kSuper ? (zero == Zero::kOffset ? 32 : 16) : 32;
  }
  // Nominal: codes plus what a full block adds; a row or tensor scale vanishes as K grows.
  constexpr double bits_per_weight() const {
    double total = code == Code::kTrit ? 8.0 / 5 : bits;
    if (sparse24) total = total / 2 + 1;  // 2 of 4 codes, 2 bits of position for each
    if (outer == Outer::kSuper) total += outer_bits() / static_cast<double>(kSuperBlock);
    if (block.k == 0) return total;
    const double per_block = static_cast<double>(block.n == 0 ? 1 : block.n) * block.k;
    return block.n == 0 ? total : total + (scale_bits() + zero_bits()) / per_block;
  }
};

}  // namespace lowbit
