// Vectors of AVX2 with FMA, F16C and BMI2 under the names that the shared kernel bodies
// (linear_*.inl) use. Included by files that were compiled for it; all in the anonymous namespace.
#include <immintrin.h>
#include <stdint.h>

namespace lowbit::cpu {
namespace {

constexpr int kLanes = 8;
constexpr int kTileTokens = 3;  // x 4 rows: 12 of 16 registers hold sums

using Floats = __m256;
using Ints = __m256i;

inline Floats set(float v) { return _mm256_set1_ps(v); }
inline Ints set_ints(uint32_t v) { return _mm256_set1_epi32(static_cast<int>(v)); }
inline Floats load(const float* at) { return _mm256_loadu_ps(at); }
inline void store(float* at, Floats v) { _mm256_storeu_ps(at, v); }
inline Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
inline Floats to_floats(Ints v) { return _mm256_cvtepi32_ps(v); }
inline Ints load_ints(const void* at) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(at));
}

inline __m128i load128(const void* at) { return _mm_loadu_si128(static_cast<const __m128i*>(at)); }
inline void store_ints(void* at, Ints v) { _mm256_storeu_si256(static_cast<__m256i*>(at), v); }
inline Ints add_ints(Ints a, Ints b) { return _mm256_add_epi32(a, b); }
inline Ints sub_ints(Ints a, Ints b) { return _mm256_sub_epi32(a, b); }
inline Ints widen_bytes(const uint8_t* at) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(at)));
}
inline Ints widen_signed(const uint8_t* at) {
  return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(at)));
}
inline Ints widen_words(uint64_t low, uint64_t) {
  return _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<int64_t>(low)));
}
inline Floats from_f16(const uint16_t* at) { return _mm256_cvtph_ps(load128(at)); }
inline Floats from_bf16(const uint16_t* at) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load128(at)), 16));
}
// Of a table of 16, by the lowest four bits.
inline Floats number16(const float* table, Ints code) {
  const Floats low = _mm256_permutevar8x32_ps(load(table), code);
  const Floats high = _mm256_permutevar8x32_ps(load(table + 8), code);
  return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(code, 28)));
}
// The i-th kLanes of codes of four bits, in the lowest bits of what stands above them.
inline Ints nibbles(const uint8_t* at, int i) {
  uint32_t word;
  __builtin_memcpy(&word, at + kLanes / 2 * i, sizeof word);
  return _mm256_srlv_epi32(set_ints(word), _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
}
// 2:4: two of every four of x, by two bits each of `positions`.
inline Floats from_places(const float* x, const uint8_t* positions) {
  uint16_t word;
  __builtin_memcpy(&word, positions, sizeof word);
  const Ints moved =
      _mm256_srlv_epi32(set_ints(word), _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14));
  const Ints place = _mm256_and_si256(moved, set_ints(3));
  return number16(x, _mm256_or_si256(place, _mm256_setr_epi32(0, 0, 4, 4, 8, 8, 12, 12)));
}
inline float f16_value(uint16_t bits) { return _cvtsh_ss(bits); }

// 2^(code - 127); code 255 is NaN.
inline Floats powers_of_two(Ints code) {
  const Ints bits = _mm256_max_epu32(_mm256_slli_epi32(code, 23), _mm256_set1_epi32(0x00400000));
  const Ints nan = _mm256_cmpeq_epi32(code, _mm256_set1_epi32(255));
  return _mm256_castsi256_ps(_mm256_blendv_epi8(bits, _mm256_set1_epi32(0x7fc00000), nan));
}
// OCP e4m3, one code a lane.
inline Floats from_e4m3(Ints code) {
  const Ints magnitude = _mm256_and_si256(code, _mm256_set1_epi32(0x7f));
  const Ints sign = _mm256_slli_epi32(_mm256_and_si256(code, _mm256_set1_epi32(0x80)), 24);
  const Ints bits = _mm256_or_si256(sign, _mm256_slli_epi32(magnitude, 20));
  const Floats value = _mm256_castsi256_ps(bits) * set(0x1p120f);
  const Ints nan = _mm256_cmpeq_epi32(magnitude, _mm256_set1_epi32(0x7f));
  return _mm256_blendv_ps(value, set(__builtin_nanf("")), _mm256_castsi256_ps(nan));
}

// The value of a block for each of the lanes from code k on, k a multiple of kLanes.
inline Floats spread(const float* values, int32_t k, int32_t log2_size) {
  return set(values[k >> log2_size]);
}

// `bytes` bytes (at most 64) and others of value `filler` after them.
inline void pad_bytes(const uint8_t* at, int32_t bytes, int filler, uint8_t* room) {
  __builtin_memset(room, filler, 64);
  for (int32_t i = 0; i < bytes; ++i) room[i] = at[i];
}

inline Floats permute(Floats v, Ints index) { return _mm256_permutevar8x32_ps(v, index); }

// 64 small floats (Minis in linear_tiles.inl): as halves, then as floats.
inline void from_minis(const uint8_t* codes, const uint16_t* p, Floats* out) {
  const Ints up_sign = _mm256_set1_epi16(static_cast<short>(p[0]));
  const Ints up = _mm256_set1_epi16(static_cast<short>(p[1]));
  const Ints mask = _mm256_set1_epi16(static_cast<short>(p[2]));
  const Ints nan = _mm256_set1_epi16(static_cast<short>(p[3]));
  const Ints sign_bit = _mm256_set1_epi16(static_cast<short>(0x8000));
  for (int i = 0; i < 4; ++i) {
    const Ints c = _mm256_cvtepu8_epi16(load128(codes + 16 * i));
    const Ints sign = _mm256_and_si256(_mm256_mullo_epi16(c, up_sign), sign_bit);
    const Ints magnitude = _mm256_and_si256(_mm256_mullo_epi16(c, up), mask);
    const Ints bad =
        _mm256_and_si256(_mm256_cmpeq_epi16(magnitude, nan), _mm256_set1_epi16(0x7e00));
    const Ints half = _mm256_or_si256(_mm256_or_si256(sign, magnitude), bad);
    out[2 * i] = _mm256_cvtph_ps(_mm256_castsi256_si128(half));
    out[2 * i + 1] = _mm256_cvtph_ps(_mm256_extracti128_si256(half, 1));
  }
}

// The four sums over lanes; each input goes through the same tree.
inline __m128 reduce4(const Floats* v) {
  const __m256 pairs = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3]));
  return _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1));
}
inline float sum_lanes(Floats v) {
  const Floats four[4] = {v, v, v, v};
  return _mm_cvtss_f32(reduce4(four));
}

}  // namespace
}  // namespace lowbit::cpu
