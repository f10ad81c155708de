// Vectors of AVX-512 (F, BW, DQ, VL) under the names that the shared kernel bodies (linear_*.inl)
// use. Included by files that were compiled for it; all in the anonymous namespace.
#include <immintrin.h>
#include <stdint.h>

namespace lowbit::cpu {
namespace {

constexpr int kLanes = 16;
constexpr int kTileTokens = 6;  // x 4 rows: 24 of 32 registers hold sums

using Floats = __m512;
using Ints = __m512i;

inline Floats set(float v) { return _mm512_set1_ps(v); }
inline Ints set_ints(uint32_t v) { return _mm512_set1_epi32(static_cast<int>(v)); }
inline Floats load(const float* at) { return _mm512_loadu_ps(at); }
inline void store(float* at, Floats v) { _mm512_storeu_ps(at, v); }
inline Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
inline Floats to_floats(Ints v) { return _mm512_cvtepi32_ps(v); }
inline Ints load_ints(const void* at) { return _mm512_loadu_si512(at); }

inline __m256i load256(const void* at) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(at));
}
inline void store_ints(void* at, Ints v) { _mm512_storeu_si512(at, v); }
inline Ints add_ints(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
inline Ints sub_ints(Ints a, Ints b) { return _mm512_sub_epi32(a, b); }
inline Ints widen_bytes(const uint8_t* at) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
}
inline Ints widen_signed(const uint8_t* at) {
  return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
}
inline Ints widen_words(uint64_t low, uint64_t high) {
  return _mm512_cvtepu8_epi32(
      _mm_set_epi64x(static_cast<int64_t>(high), static_cast<int64_t>(low)));
}
inline Floats from_f16(const uint16_t* at) { return _mm512_cvtph_ps(load256(at)); }
inline Floats from_bf16(const uint16_t* at) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load256(at)), 16));
}
// Of a table of 16, by the lowest four bits.
inline Floats number16(const float* table, Ints code) {
  return _mm512_permutexvar_ps(code, load(table));
}
// The i-th kLanes of codes of four bits, in the lowest bits of what stands above them.
inline Ints nibbles(const uint8_t* at, int i) {
  const Ints words = _mm512_broadcast_i32x2(
      _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at + kLanes / 2 * i)));
  const Ints spread = _mm512_permutexvar_epi32(
      _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1), words);
  return _mm512_srlv_epi32(
      spread, _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28));
}
// 2:4: two of every four of x, by two bits each of `positions`.
inline Floats from_places(const float* x, const uint8_t* positions) {
  uint32_t word;
  __builtin_memcpy(&word, positions, sizeof word);
  const Ints moved = _mm512_srlv_epi32(
      set_ints(word), _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30));
  const Ints quad = _mm512_setr_epi32(0, 0, 4, 4, 8, 8, 12, 12, 16, 16, 20, 20, 24, 24, 28, 28);
  const Ints place = _mm512_ternarylogic_epi32(moved, set_ints(3), quad, 0xea);  // (a & b) | c
  return _mm512_permutex2var_ps(load(x), place, load(x + kLanes));
}
inline float f16_value(uint16_t bits) { return _cvtsh_ss(bits); }

// 2^(code - 127); code 255 is NaN.
inline Floats powers_of_two(Ints code) {
  const Ints bits = _mm512_max_epu32(_mm512_slli_epi32(code, 23), _mm512_set1_epi32(0x00400000));
  const __mmask16 nan = _mm512_cmpeq_epi32_mask(code, _mm512_set1_epi32(255));
  return _mm512_castsi512_ps(_mm512_mask_mov_epi32(bits, nan, _mm512_set1_epi32(0x7fc00000)));
}
// OCP e4m3, one code a lane.
inline Floats from_e4m3(Ints code) {
  const Ints magnitude = _mm512_and_si512(code, _mm512_set1_epi32(0x7f));
  const Ints sign = _mm512_slli_epi32(_mm512_and_si512(code, _mm512_set1_epi32(0x80)), 24);
  const Ints bits = _mm512_or_si512(sign, _mm512_slli_epi32(magnitude, 20));
  const Floats value = _mm512_castsi512_ps(bits) * set(0x1p120f);
  const __mmask16 nan = _mm512_cmpeq_epi32_mask(magnitude, _mm512_set1_epi32(0x7f));
  return _mm512_mask_mov_ps(value, nan, set(__builtin_nanf("")));
}

// The value of a block for each of the lanes from code k on, k a multiple of kLanes.
inline Floats spread(const float* values, int32_t k, int32_t log2_size) {
  if (log2_size >= 4) return set(values[k >> log2_size]);
  const float* pair = values + (k >> 3);
  return _mm512_insertf32x8(set(pair[0]), _mm256_set1_ps(pair[1]), 1);
}

// `bytes` bytes (at most 64) and others of value `filler` after them, stored at once: loads from
// `room` need not wait for single bytes.
inline void pad_bytes(const uint8_t* at, int32_t bytes, int filler, uint8_t* room) {
  const __mmask64 present = bytes < 64 ? (uint64_t{1} << bytes) - 1 : ~uint64_t{0};
  const Ints other = _mm512_set1_epi8(static_cast<char>(filler));
  _mm512_storeu_si512(room, _mm512_mask_loadu_epi8(other, present, at));
}

inline Floats permute(Floats v, Ints index) { return _mm512_permutexvar_ps(index, v); }

// 64 small floats (Minis in linear_tiles.inl): as halves, then as floats.
inline void from_minis(const uint8_t* codes, const uint16_t* p, Floats* out) {
  const Ints up_sign = _mm512_set1_epi16(static_cast<short>(p[0]));
  const Ints up = _mm512_set1_epi16(static_cast<short>(p[1]));
  const Ints mask = _mm512_set1_epi16(static_cast<short>(p[2]));
  const Ints nan = _mm512_set1_epi16(static_cast<short>(p[3]));
  const Ints sign_bit = _mm512_set1_epi16(static_cast<short>(0x8000));
  for (int i = 0; i < 2; ++i) {
    const Ints c = _mm512_cvtepu8_epi16(load256(codes + 32 * i));
    const Ints sign = _mm512_mullo_epi16(c, up_sign);
    const Ints magnitude = _mm512_and_si512(_mm512_mullo_epi16(c, up), mask);
    Ints half = _mm512_ternarylogic_epi32(sign, magnitude, sign_bit, 0xec);  // sign & bit | mag.
    const __mmask32 bad = _mm512_cmpeq_epi16_mask(magnitude, nan);
    half = _mm512_mask_mov_epi16(half, bad, _mm512_set1_epi16(0x7e00));
    out[2 * i] = _mm512_cvtph_ps(_mm512_castsi512_si256(half));
    out[2 * i + 1] = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(half, 1));
  }
}

inline __m256 fold(__m512 v) {
  return _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
}
// The four sums over lanes; each input goes through the same tree.
inline __m128 reduce4(const Floats* v) {
  const __m256 pairs = _mm256_hadd_ps(_mm256_hadd_ps(fold(v[0]), fold(v[1])),
                                      _mm256_hadd_ps(fold(v[2]), fold(v[3])));
  return _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1));
}
inline float sum_lanes(Floats v) {
  const Floats four[4] = {v, v, v, v};
  return _mm_cvtss_f32(reduce4(four));
}

}  // namespace
}  // namespace lowbit::cpu
