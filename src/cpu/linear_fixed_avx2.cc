// Linear with x in fixed point for AVX2: see linear_fixed.inl. House rule: this file is compiled
// with ISA flags, so all but the exported bodies is in the anonymous namespace and nothing else
// than plain structs and intrinsics is included.
#include "cpu/avx2.inl"
#include "cpu/bodies.h"
#include "cpu/linear_blocks.inl"

namespace lowbit::cpu {
namespace {

// vpmaddubsw adds two products in 16 bits and saturates: 2 * 255 * 64 fits, 2 * 255 * 128 does not.
constexpr int kDigitBits = 7;
constexpr int kCodeDigits = 2;
constexpr int kXBits = 20;
constexpr int kNarrowDigits = 3, kNarrowXBits = kXBits;  // two digits are 14 bits: too few

typedef uint16_t Words __attribute__((vector_size(32)));

inline Ints set_bytes(int v) { return _mm256_set1_epi8(static_cast<char>(v)); }
template <int kBits>
Ints cut(Ints v, int p) {
  const int by = kBits == 1 ? p - 1 : p * kBits;
  const Ints moved = by < 0 ? Ints(Words(v) << -by) : Ints(Words(v) >> by);
  return moved & set_bytes(kBits == 1 ? 2 : (1 << kBits) - 1);
}
inline Ints lookup16(Ints table, Ints index) { return _mm256_shuffle_epi8(table, index); }
inline Ints up_digit(Ints v) { return _mm256_slli_epi32(v, kDigitBits); }
inline Ints dot(Ints acc, Ints u, Ints s) {
  const Ints pairs = _mm256_maddubs_epi16(u, s);
  return add_ints(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
inline Ints load_some(const uint8_t* at, int32_t bytes) {
  alignas(64) uint8_t padded[64];
  pad_bytes(at, bytes, 0, padded);
  return load_ints(padded);
}

struct Narrow {};
inline Narrow narrow_of(int) { return {}; }

// Eight codes of kBits bits are kBits bytes. Loads are whole words: a word put together from pieces
// in memory is not forwarded from store to load (int6 then reads 0.7 GB/s).
template <int kBits, class Book>
Ints narrow(const uint8_t* at, int32_t bytes, const Book& book) {
  constexpr int kLast = kBits > 1 ? 4 * kBits - 8 : 0;  // where the last whole word begins
  alignas(8) uint8_t padded[kLast + 8];
  if (bytes < kLast + 8) {
    for (int32_t i = 0; i < kLast + 8; ++i) padded[i] = i < bytes ? at[i] : 0;
    at = padded;
  }
  const auto eight = [&](int i) {
    const int byte = i * kBits < kLast ? i * kBits : kLast;
    uint64_t packed;
    __builtin_memcpy(&packed, at + byte, sizeof packed);
    packed >>= 8 * (i * kBits - byte);
    const uint64_t codes = _pdep_u64(packed, 0x0101010101010101u * ((1u << kBits) - 1));
    return static_cast<int64_t>(codes);
  };
  const Ints codes = _mm256_set_epi64x(eight(3), eight(2), eight(1), eight(0));
  return kBits <= 4 ? lookup16(book.table, codes) : codes ^ book.flip;
}

// Of a byte v < 243, five digits to the base of 3, the highest first: a power is subtracted twice,
// where that does not go below 0. 81 and 9 end in the bits of 1, 27 and 3 in those of -1.
struct TritPlanes {
  Ints plane[5];
};
inline TritPlanes trit_planes(Ints v) {
  constexpr int kPowers[] = {1, 3, 9, 27, 81};
  TritPlanes digits;
  for (int p = 4; p > 0; --p) {
    const Ints power = set_bytes(kPowers[p]);
    const Ints once = _mm256_min_epu8(v, _mm256_sub_epi8(v, power));
    const Ints rest = _mm256_min_epu8(once, _mm256_sub_epi8(once, power));
    const Ints taken = p % 2 == 0 ? _mm256_sub_epi8(v, rest) : _mm256_sub_epi8(rest, v);
    digits.plane[p] = taken & set_bytes(3);
    v = rest;
  }
  digits.plane[0] = v;
  return digits;
}

// Sixteen codes from digit `skip` of the first byte on are four bytes, of which the next sixteen
// share the last. Bytes move within halves: the upper one is loaded from its first byte on.
constexpr int kTritGroupBytes = 32;
struct TritWords {
  uint8_t from[5][32];
};
constexpr TritWords make_trit_words() {
  TritWords words = {};
  for (int skip = 0; skip < 5; ++skip) {
    for (int i = 0; i < 32; ++i) {
      const int first = i < 16 ? 0 : (skip + 64) / 5;
      words.from[skip][i] = static_cast<uint8_t>((skip + 16 * (i / 4)) / 5 + i % 4 - first);
    }
  }
  return words;
}
constexpr TritWords kTritWords = make_trit_words();
inline Ints trit_words(const uint8_t* at, int32_t bytes, int skip) {
  alignas(64) uint8_t padded[64];
  if (bytes < kTritGroupBytes) {
    pad_bytes(at, bytes, 0, padded);
    at = padded;
  }
  const Ints halves = _mm256_set_m128i(load128(at + (skip + 64) / 5), load128(at));
  return _mm256_shuffle_epi8(halves, load_ints(kTritWords.from[skip]));
}

}  // namespace
}  // namespace lowbit::cpu

#include "cpu/linear_fixed_x.inl"
// It uses what the file above defines.
#include "cpu/linear_fixed.inl"

namespace lowbit::cpu {

void prepare_fixed_avx2(const LinearArgs& a, int32_t t0, int32_t t1, void* out) {
  fixed_prepare(a, t0, t1, out);
}
void prepare_codes_avx2(const LinearArgs& a, int32_t t0, int32_t t1, void* out) {
  codes_prepare(a, t0, t1, out);
}
void linear_int8_codes_avx2(const LinearArgs& a, int32_t n0, int32_t n1) {
  codes_dispatch(a, n0, n1);
}
void linear_fixed_avx2(const LinearArgs& a, int32_t n0, int32_t n1) {
  fixed_dispatch(job_of(a), n0, n1);
}

}  // namespace lowbit::cpu
