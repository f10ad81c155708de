// The layout kTiles: a matrix cut into tiles of 16 rows, each a run of blocks along k, each block
// the codes of 16 x 64 units in the order in which the lanes of a warp feed them to mma.m16n8k16
// and mma.m16n8k32 (wgmma takes the same fragments), followed by the scales and zeros of the block.
// A tile is one stream of bytes.
//
//   unit    lane 4g + q holds, of rows g and g + 8, columns 16 j + 4 q + e (j, e = 0..3): codes
//           c = 16 h + 4 j + e of row g + 8 h. Where each of them lies: code_parts().
//   block   max(64, group) columns: units, then scales, then zeros: for each pair of rows g and
//           g + 8 those of its groups in order, two each
//
// Of 2:4 formats a lane holds the two kept codes of each of its runs of four columns, c = 8 h + 2 j
// and the next one, and after the codes of the unit a word with a nibble for each run, 4 h + j:
// which columns they are, as an index of (0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3).
//
// Integers are two's complement about their middle, ternary codes about 0; of signs a set bit is
// -1. Columns past k and rows past n hold zeros. Scales of whole rows or the whole tensor are not
// in the stream: they are one f32 for each row beside it.
#pragma once

#include "base/fp.h"
#include "ops/args.h"

namespace lowbit::cuda {

inline constexpr int kTileRows = 16;
inline constexpr int kUnit = 64;  // columns

// The geometry of the stream. What its scales and zeros do: y += s (acc + shift S) + offset S for
// the accumulator of a group, with s its scale, shift and offset from its zero, S the sum of x over
// it.
struct TileShape {
  int32_t tiles;       // along n
  int32_t blocks;      // along k
  int32_t units;       // of 64 columns in a block: 1, 2 or 4
  int32_t group;       // columns per scale in the stream: 16, 32, 64, 128, 256; 0 for none
  int32_t unit_bytes;  // codes of a unit
  int32_t block_bytes;
  Scale scale;  // in the stream; kNone for none
  Zero zero;    // in the stream

  LB_HOST_DEVICE constexpr int groups() const { return group == 0 ? 0 : units * kUnit / group; }
};

LB_HOST_DEVICE constexpr int scale_bytes(Scale scale) {
  return scale == Scale::kNone                           ? 0
         : scale == Scale::kF32                          ? 4
         : scale == Scale::kF16 || scale == Scale::kBF16 ? 2
                                                         : 1;
}

LB_HOST_DEVICE constexpr int zero_bytes(Zero zero, Scale scale) {
  return zero == Zero::kNone ? 0 : zero == Zero::kInt ? 1 : scale_bytes(scale);
}

// Codes of a unit that a lane holds.
LB_HOST_DEVICE constexpr int lane_codes(const WeightView& w) { return w.sparse24 ? 16 : 32; }

// Bits of a code in the stream: five trits in a byte become two bits each.
LB_HOST_DEVICE constexpr int tile_bits(const WeightView& w) { return w.bits; }

// Of canonical planes [n, k]. Super-block scales become f32: the products are exact.
LB_HOST_DEVICE constexpr TileShape tile_shape(const WeightView& w, int64_t n, int64_t k) {
  TileShape s{};
  const bool row = w.block_k == 0 && w.zero == Zero::kNone;
  s.group = row ? 0 : w.block_k == 0 ? 256 : w.block_k;
  const bool super = w.outer_kind == Outer::kSuper;
  s.scale = row || w.scale == Scale::kNone ? Scale::kNone : super ? Scale::kF32 : w.scale;
  s.zero = row ? Zero::kNone : w.zero;
  s.units = s.group <= kUnit ? 1 : s.group / kUnit;
  const int64_t block_k = int64_t{s.units} * kUnit;
  s.tiles = static_cast<int32_t>((n + kTileRows - 1) / kTileRows);
  s.blocks = static_cast<int32_t>((k + block_k - 1) / block_k);
  const int codes = w.sparse24 ? kUnit / 2 : kUnit;
  s.unit_bytes = kTileRows * codes * tile_bits(w) / 8 + (w.sparse24 ? kTileRows * kUnit / 8 : 0);
  s.block_bytes = s.units * s.unit_bytes +
                  s.groups() * kTileRows * (scale_bytes(s.scale) + zero_bytes(s.zero, s.scale));
  return s;
}

// Words of codes of a unit that a lane holds.
LB_HOST_DEVICE constexpr int lane_words(const WeightView& w) {
  return lane_codes(w) * tile_bits(w) / 32;
}

// `bits` bits of a code from bit `from` on lie at bit `at` of a lane's 32-bit word `word`.
struct CodePart {
  int8_t bits, from, word, at;
};
inline constexpr int kMostParts = 3;

// Floats of six bits lie as f16 wants them, so that one mask finds the exponents and mantissas of
// two columns and another one their signs. A word has those of three pairs, 16 bits apart: in their
// place, five bits below it, and five above, where the upper column's come round to bit 0; and one
// more bit of each, the sign of the first pair. The sixth has the last pair and all other signs.
LB_HOST_DEVICE constexpr int six_bit_place(Code code) { return code == Code::kE3M2 ? 8 : 7; }
LB_HOST_DEVICE constexpr int six_bit_sign(int place, int pair) {  // where in its half of a word
  if (pair % 3 == 0 && pair < 15) return place - 6;
  const int index = pair == 15 ? 10 : pair / 3 * 2 + pair % 3 - 1, above = 11 - place;
  return index < above ? 15 - index : index - above;
}
LB_HOST_DEVICE constexpr int six_bit_sign_word(int pair) { return pair % 3 == 0 ? pair / 3 : 5; }

// Codes lie in bytes as mma.m16n8k32 wants them, word c / 4 of a lane's eight holding four, split
// into planes of 8, 4, 2 and 1 bits, one plane after the other; those of four-bit floats one after
// the other, so that they select bytes of a table. 16-bit numbers lie in pairs of a row, in the
// order of the four registers that mma.m16n8k16 takes: rows g, g + 8, g, g + 8.
LB_HOST_DEVICE constexpr int code_parts(const WeightView& w, int c, CodePart (&out)[kMostParts]) {
  const int bits = w.bits;
  const auto set = [](int b, int from, int word, int at) {
    return CodePart{static_cast<int8_t>(b), static_cast<int8_t>(from), static_cast<int8_t>(word),
                    static_cast<int8_t>(at)};
  };
  const int word = c / 4, byte = 8 * (c % 4);
  if (bits == 16) {
    out[0] = set(16, 0, 2 * (c % 16 / 2) + c / 16, 16 * (c % 2));
    return 1;
  }
  if (bits == 8) {
    out[0] = set(8, 0, word, byte);
    return 1;
  }
  const bool integer = w.code == Code::kInt || w.code == Code::kUInt;
  if (bits == 4 && !integer) {
    out[0] = set(4, 0, c / 8, 4 * (c % 8));
    return 1;
  }
  if (bits == 6 && !integer) {
    const int pair = c / 2, half = 16 * (c % 2), place = six_bit_place(w.code);
    const int at = half + place + (pair % 3 == 0 ? 0 : pair % 3 == 1 ? -5 : 5);
    const int first = at + 5 > 32 ? 32 - at : 5;
    int count = 0;
    out[count++] = set(first, 0, pair / 3, at);
    if (first < 5) out[count++] = set(5 - first, first, pair / 3, 0);
    out[count++] = set(1, 5, six_bit_sign_word(pair), half + six_bit_sign(place, pair));
    return count;
  }
  int count = 0, from = 0, plane = 0;
  if (bits >= 4) {
    out[count++] = set(4, from, plane + word / 2, byte + 4 * (word % 2));
    from += 4;
    plane += lane_codes(w) / 8;
  }
  if ((bits & 2) != 0) {
    out[count++] = set(2, from, plane + word / 4, byte + 2 * (word % 4));
    from += 2;
    plane += lane_codes(w) / 16;
  }
  if ((bits & 1) != 0) out[count++] = set(1, from, plane, byte + word);
  return count;
}

// The byte of a unit at which word `word` of a lane's `words` starts: in runs of four words of
// every lane, then of two, then of one.
LB_HOST_DEVICE constexpr int word_offset(int word, int words, int lane) {
  const int fours = words / 4 * 4, twos = fours + (words & 2);
  if (word < fours) return word / 4 * 512 + (lane * 4 + word % 4) * 4;
  if (word < twos) return fours * 128 + (lane * 2 + word - fours) * 4;
  return twos * 128 + lane * 4;
}

}  // namespace lowbit::cuda
