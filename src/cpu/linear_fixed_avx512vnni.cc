// Linear with x in fixed point for AVX-512 with VNNI, VBMI and GFNI: see linear_fixed.inl. House
// rule: this file is compiled with ISA flags, so all but the exported bodies is in the anonymous
// namespace and nothing else than plain structs and intrinsics is included.
#include "cpu/avx512.inl"
#include "cpu/bodies.h"
#include "cpu/linear_blocks.inl"

namespace lowbit::cpu {
namespace {

constexpr int kDigitBits = 8;
constexpr int kCodeDigits = 1;
constexpr int kXBits = 22;  // 4 * 128 * 2^22 is the largest sum of a lane, of int8 codes
// Finer than f16 is for the largest x of a run, and a third fewer products than with three digits.
constexpr int kNarrowDigits = 2, kNarrowXBits = 15;

inline Ints set_bytes(int v) { return _mm512_set1_epi8(static_cast<char>(v)); }
// Bit `to + i` of each byte is its bit `from + i`, for `bits` bits; the others are 0.
constexpr uint64_t bit_matrix(int from, int to, int bits) {
  uint64_t rows = 0;  // the last byte makes the first bit
  for (int i = 0; i < bits; ++i) rows |= uint64_t{1} << (from + i + 8 * (7 - to - i));
  return rows;
}
// One instruction where a shift and a mask are two.
template <int kBits>
Ints cut(Ints v, int p) {
  const uint64_t rows = bit_matrix(p * kBits, kBits == 1 ? 1 : 0, kBits);
  return _mm512_gf2p8affine_epi64_epi8(v, _mm512_set1_epi64(static_cast<int64_t>(rows)), 0);
}
inline Ints lookup16(Ints table, Ints index) { return _mm512_shuffle_epi8(table, index); }
inline Ints up_digit(Ints v) { return _mm512_slli_epi32(v, kDigitBits); }
inline Ints dot(Ints acc, Ints u, Ints s) { return _mm512_dpbusd_epi32(acc, u, s); }
inline Ints load_some(const uint8_t* at, int32_t bytes) {
  return _mm512_maskz_loadu_epi8((uint64_t{1} << bytes) - 1, at);
}

// Eight codes of b bits are b bytes: bring those to each 64-bit lane, then cut out b bits each.
struct Narrow {
  Ints from, shifts;
};
inline Narrow narrow_of(int bits) {
  alignas(64) uint8_t from[64], shifts[64];
  for (int i = 0; i < 64; ++i) {
    const int byte = i / 8 * bits + i % 8;
    from[i] = static_cast<uint8_t>(byte < 64 ? byte : 63);
    shifts[i] = static_cast<uint8_t>(i % 8 * bits);
  }
  return {load_ints(from), load_ints(shifts)};
}
// Codes with bits of their neighbours above them.
template <int kBits>
Ints unpacked(const uint8_t* at, int32_t bytes, const Narrow& narrow) {
  const Ints packed = load_some(at, bytes < 8 * kBits ? bytes : 8 * kBits);
  const Ints lanes = _mm512_permutexvar_epi8(narrow.from, packed);
  return _mm512_multishift_epi64_epi8(narrow.shifts, lanes);
}
inline Ints lookup64(Ints table, Ints index) {  // ignores the two upper bits
  return _mm512_permutexvar_epi8(index, table);
}
template <int kBits, class Book>
Ints narrow(const uint8_t* at, int32_t bytes, const Book& book) {
  const Ints codes = unpacked<kBits>(at, bytes, book.narrow);
  if (kBits <= 6) return lookup64(book.table, codes);
  return (codes & set_bytes(127)) ^ book.flip;
}

// Of a byte v < 243, five digits to the base of 3. Subtracting 81 twice, where that does not go
// below 0, leaves the last four of them, which a table of 81 has as two bits each; 81 and 162 end
// in the bits of 1 and 2.
struct TritPlanes {
  Ints plane[5];
};
struct TritTable {
  uint8_t four[128];
};
constexpr TritTable make_trit_table() {
  TritTable table = {};
  for (int v = 0; v < 128; ++v) {
    table.four[v] = static_cast<uint8_t>(v % 3 | v / 3 % 3 << 2 | v / 9 % 3 << 4 | v / 27 % 3 << 6);
  }
  return table;
}
constexpr TritTable kTritTable = make_trit_table();
inline TritPlanes trit_planes(Ints v) {
  const Ints top = set_bytes(81);
  const Ints once = _mm512_min_epu8(v, _mm512_sub_epi8(v, top));
  const Ints rest = _mm512_min_epu8(once, _mm512_sub_epi8(once, top));
  const Ints four =
      _mm512_permutex2var_epi8(load_ints(kTritTable.four), rest, load_ints(kTritTable.four + 64));
  return {{cut<2>(four, 0), cut<2>(four, 1), cut<2>(four, 2), cut<2>(four, 3),
           _mm512_sub_epi8(v, rest) & set_bytes(3)}};
}

// Sixteen codes from digit `skip` of the first byte on are four bytes, of which the next sixteen
// share the last.
constexpr int kTritGroupBytes = 52;
struct TritWords {
  uint8_t from[5][64];
};
constexpr TritWords make_trit_words() {
  TritWords words = {};
  for (int skip = 0; skip < 5; ++skip) {
    for (int i = 0; i < 64; ++i) {
      words.from[skip][i] = static_cast<uint8_t>((skip + 16 * (i / 4)) / 5 + i % 4);
    }
  }
  return words;
}
constexpr TritWords kTritWords = make_trit_words();
inline Ints trit_words(const uint8_t* at, int32_t bytes, int skip) {
  return _mm512_permutexvar_epi8(load_ints(kTritWords.from[skip]), load_some(at, bytes));
}

}  // namespace
}  // namespace lowbit::cpu

#include "cpu/linear_fixed_x.inl"
// It uses what the file above defines.
#include "cpu/linear_fixed.inl"

namespace lowbit::cpu {
namespace {

// Small floats whose numbers take nine or ten bits.
template <int kWidth>
struct TwoTables : Stretch<kLanes * kWidth / 2> {
  static constexpr int kBits = kWidth;
  static constexpr int kPlanes = 1;
  static constexpr bool kUpper = true;
  static Ints raw(const uint8_t* at, int32_t bytes, int32_t, const Book& book) {
    return unpacked<kBits>(at, bytes, book.narrow);
  }
  static Ints plane(Ints raw, int, const Book& book) { return lookup64(book.table, raw); }
  static Ints upper(Ints raw, const Book& book) { return lookup64(book.upper, raw); }
};

}  // namespace

void prepare_fixed_vnni(const LinearArgs& a, int32_t t0, int32_t t1, void* out) {
  fixed_prepare(a, t0, t1, out);
}
void prepare_codes_vnni(const LinearArgs& a, int32_t t0, int32_t t1, void* out) {
  codes_prepare(a, t0, t1, out);
}
void linear_int8_codes_vnni(const LinearArgs& a, int32_t n0, int32_t n1) {
  codes_dispatch(a, n0, n1);
}
void linear_fixed_vnni(const LinearArgs& a, int32_t n0, int32_t n1) {
  const Job job = job_of(a);
  if (a.w.code == Code::kE3M2) return fixed_linear<TwoTables<6>, kNarrowDigits>(job, n0, n1);
  if (a.w.code == Code::kE3M1) return fixed_linear<TwoTables<5>, kNarrowDigits>(job, n0, n1);
  fixed_dispatch(job, n0, n1);
}

}  // namespace lowbit::cpu
