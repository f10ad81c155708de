// Codes of a 2:4 unit of layout kTiles to dense fragments, for integers of 4 and 8 bits. Defined
// here: FixedSparse, used as the structs of decode_fixed.cuh are, and SparseInt, used as those of
// decode.cuh are. A byte permutation puts the two kept codes of a run of four columns where they
// belong, and zeros beside them.
#pragma once

#include "cuda/decode_fixed.cuh"

namespace lowbit::cuda {

// The selector of a run for each of the six ways to keep two columns: nibble e is 0 where column e
// is the first kept one, 1 where it is the second, 4 (a zero) elsewhere. Byte p of a table: of way
// p the nibbles of columns 0 and 1 (kHigh: 2 and 3); kSecond: of a run whose codes are the word's
// upper two.
template <bool kHigh, bool kSecond>
constexpr uint64_t selector_table() {
  constexpr int kWays[6][2] = {{0, 1}, {0, 2}, {0, 3}, {1, 2}, {1, 3}, {2, 3}};
  uint64_t table = 0;
  for (int way = 0; way < 6; ++way) {
    for (int e = 0; e < 2; ++e) {
      const int column = e + (kHigh ? 2 : 0), base = kSecond ? 2 : 0;
      const int from = column == kWays[way][0] ? base : column == kWays[way][1] ? base + 1 : 4;
      table |= uint64_t(from) << (8 * way + 4 * e);
    }
  }
  return table;
}

template <int kBits>
struct FixedSparse : FixedInt<kBits> {
  static constexpr int kCodeWords = kBits / 2;  // of a lane
  static constexpr int kWaysAt = 128 * kCodeWords;

  // Of four runs, the bytes of their selectors.
  template <bool kHigh, bool kSecond>
  __device__ static uint32_t selector_bytes(uint32_t ways) {
    constexpr uint64_t kTable = selector_table<kHigh, kSecond>();
    return select_bytes(static_cast<uint32_t>(kTable), static_cast<uint32_t>(kTable >> 32), ways);
  }
  // The kept codes of runs 2 i and 2 i + 1, at the top of their bytes.
  template <int kWord>
  __device__ static uint32_t kept(const uint32_t (&words)[kCodeWords]) {
    if constexpr (kBits == 8) return words[kWord];
    return shift<4 - 4 * (kWord % 2)>(words[kWord / 2]) & in_bytes(0xf0u);
  }
  template <int kRow>
  __device__ static void four_runs(const uint32_t (&words)[kCodeWords], uint32_t ways,
                                   uint32_t (&a)[8]) {
    const uint32_t low0 = selector_bytes<false, false>(ways);
    const uint32_t high0 = selector_bytes<true, false>(ways);
    const uint32_t low1 = selector_bytes<false, true>(ways);
    const uint32_t high1 = selector_bytes<true, true>(ways);
    const uint32_t first = kept<2 * kRow>(words), second = kept<2 * kRow + 1>(words);
    a[4 * kRow] = select_bytes(first, 0, __byte_perm(low0, high0, 0x40));
    a[4 * kRow + 1] = select_bytes(first, 0, __byte_perm(low1, high1, 0x51));
    a[4 * kRow + 2] = select_bytes(second, 0, __byte_perm(low0, high0, 0x62));
    a[4 * kRow + 3] = select_bytes(second, 0, __byte_perm(low1, high1, 0x73));
  }
  __device__ static void decode(const uint8_t* unit, int lane, uint32_t (&a)[8]) {
    uint32_t words[kCodeWords], ways[1];
    load_words<kCodeWords>(unit, lane, words);
    load_words<1>(unit + kWaysAt, lane, ways);
    four_runs<0>(words, ways[0], a);
    four_runs<1>(words, ways[0] >> 16, a);
  }
};

template <int kBits>
struct SparseInt {
  static constexpr float kFactor = FixedSparse<kBits>::kFactor;
  static constexpr XTerms kX = XTerms::kF16;
  __device__ static void decode(const uint8_t* unit, int lane, uint32_t (&lo)[8],
                                uint32_t (&hi)[8]) {
    uint32_t a[8];
    FixedSparse<kBits>::decode(unit, lane, a);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const uint32_t word = a[i] ^ in_bytes(0x80);
      uint32_t(&out)[8] = i < 4 ? lo : hi;
      word_pairs<ByteInt<8>>(word, out[i % 4 * 2], out[i % 4 * 2 + 1]);
    }
  }
};

}  // namespace lowbit::cuda
