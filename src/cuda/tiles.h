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

// A part of a code in a lane's share of a unit: `bits` bits of the code from bit `from` on lie at
// bit `at` of 32-bit word `word`, of the plane that starts at byte `plane` and gives each lane
// `words` words (in runs of up to 4, a run for every lane after the other).
struct CodePart {
  int8_t bits, from, word, at, words;
  int16_t plane;
};

// Codes lie in bytes as mma.m16n8k32 wants them, word c / 4 of a lane's eight holding four, split
// into planes of 8, 4, 2 and 1 bits; those of four-bit floats one after the other, so that they
// select bytes of a table. 16-bit numbers lie in pairs of a row, in the order of the four registers
// that mma.m16n8k16 takes: rows g, g + 8, g, g + 8.
LB_HOST_DEVICE constexpr int code_parts(const WeightView& w, int c, CodePart* out) {
  const int bits = w.bits;
  const auto set = [](int b, int from, int word, int at, int words, int plane) {
    return CodePart{static_cast<int8_t>(b),     static_cast<int8_t>(from),
                    static_cast<int8_t>(word),  static_cast<int8_t>(at),
                    static_cast<int8_t>(words), static_cast<int16_t>(plane)};
  };
  const int word = c / 4, byte = 8 * (c % 4);
  const int share = w.sparse24 ? 2 : 1;  // of the words of a dense unit
  if (bits == 16) {
    out[0] = set(16, 0, 2 * (c % 16 / 2) + c / 16, 16 * (c % 2), 16, 0);
    return 1;
  }
  if (bits == 8) {
    out[0] = set(8, 0, word, byte, 8 / share, 0);
    return 1;
  }
  if (bits == 4 && w.code != Code::kInt && w.code != Code::kUInt) {
    out[0] = set(4, 0, c / 8, 4 * (c % 8), 4, 0);
    return 1;
  }
  int count = 0, from = 0, plane = 0;
  if (bits >= 4) {
    out[count++] = set(4, from, word / 2, byte + 4 * (word % 2), 4 / share, plane);
    from += 4;
    plane += 512;
  }
  if ((bits & 2) != 0) {
    out[count++] = set(2, from, word / 4, byte + 2 * (word % 4), 2, plane);
    from += 2;
    plane += 256;
  }
  if ((bits & 1) != 0) out[count++] = set(1, from, 0, byte + word, 1, plane);
  return count;
}

// The byte of a unit at which a lane's word starts.
LB_HOST_DEVICE constexpr int word_offset(const CodePart& part, int lane) {
  const int run = part.words < 4 ? part.words : 4;
  return part.plane + part.word / run * (32 * run * 4) + (lane * run + part.word % run) * 4;
}

}  // namespace lowbit::cuda
