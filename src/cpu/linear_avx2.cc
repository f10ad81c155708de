// Linear for AVX2 with FMA and F16C. The shape of linear_avx512.cc with 8 lanes and 16 registers;
// the house rule for ISA files holds: all but the exported bodies is in the anonymous namespace and
// nothing else than plain structs and intrinsics is included.
//
// y[t, n] is a sum of panels of kPanel products; a panel is one chain of 8-lane FMAs in k order and
// one reduction tree, the same for every tile shape.
#include <immintrin.h>

#include "cpu/bodies.h"

namespace lowbit::cpu {
namespace {

constexpr int32_t kPanel = 1024;     // k per panel: 4 decoded rows are 16 KiB, half of L1
constexpr int32_t kTokenBlock = 64;  // tokens that share one decoding: x panels are 256 KiB, in L2
constexpr int32_t kRowBlock = 32;    // rows that share x panels between two trips to L3
constexpr int32_t kMaxBlocks = kPanel / 8;  // the smallest group is 8
constexpr int kVectors = kRun / 8;

int32_t min_of(int32_t a, int32_t b) { return a < b ? a : b; }
int32_t round_up(int32_t a, int32_t b) { return (a + b - 1) / b * b; }

// ---- scales -------------------------------------------------------------------------------------

// value = (decoded code - shift) * scale + offset, for the blocks of one row inside a panel.
struct Blocks {
  alignas(32) float scale[kMaxBlocks];
  alignas(32) float shift[kMaxBlocks];
  alignas(32) float offset[kMaxBlocks];
};

float bf16_value(uint16_t bits) {
  return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(static_cast<int>(bits) << 16)));
}

void load_scales(Scale type, const void* plane, int64_t first, int32_t count, float* out) {
  if (type == Scale::kF32) {
    const float* from = static_cast<const float*>(plane) + first;
    for (int32_t i = 0; i < count; ++i) out[i] = from[i];
    return;
  }
  const uint16_t* from = static_cast<const uint16_t*>(plane) + first;
  if (type == Scale::kF16) {
    for (int32_t i = 0; i < count; ++i) out[i] = _cvtsh_ss(from[i]);
  } else {
    for (int32_t i = 0; i < count; ++i) out[i] = bf16_value(from[i]);
  }
}

// What decoders need beside codes and scales, the same for all rows.
struct Grid {
  __m128i table;      // the number of each code, where a table decodes it
  int32_t log2_size;  // block of code k, counted from the panel's start: k >> log2_size
};

// Blocks past the row's end get scale 0: they belong to the padding of a short last run.
void load_blocks(const WeightView& w, int64_t n, int32_t k0, int32_t len, Blocks* out) {
  const bool whole = w.block_k == 0;
  const int32_t first = whole ? 0 : k0 / w.block_k;
  const int32_t needed = whole ? 1 : (round_up(len, kRun) - 1) / w.block_k + 1;
  const int32_t present = min_of(needed, w.k_blocks - first);
  const int64_t at = (w.block_n == 0 ? 0 : n) * w.k_blocks + first;
  const float shift = w.zero == Zero::kFloat ? static_cast<float>(1 << (w.bits - 1)) : 0.0f;
  for (int32_t i = 0; i < needed; ++i) {
    out->shift[i] = shift;
    out->offset[i] = 0;
    out->scale[i] = 0;
  }
  load_scales(w.scale, w.scales, at, present, out->scale);
  if (w.zero == Zero::kFloat) load_scales(w.scale, w.zeros, at, present, out->offset);
  if (w.zero == Zero::kInt) {
    const uint8_t* zeros = static_cast<const uint8_t*>(w.zeros) + at;
    for (int32_t i = 0; i < present; ++i) out->shift[i] = static_cast<float>(zeros[i]);
  }
}

// The block's value for the 8 codes from k + 8 i on, k at the start of a run.
template <int kSpan>
__m256 spread(const float* values, int32_t k, int i, const Grid& g) {
  if (kSpan == 64) return _mm256_set1_ps(values[k >> g.log2_size]);
  if (kSpan == 32) return _mm256_set1_ps(values[(k >> 5) + i / 4]);
  return _mm256_set1_ps(values[(k + 8 * i) >> g.log2_size]);
}

// ---- decoders: one per code kind ----------------------------------------------------------------
// decode() turns the kRun codes at `codes` into eight vectors; `k` counts from the panel's start.
// kSpan: codes of a run that surely share a block (64, 32, or 8). tail() writes a short last run,
// padded with zeros, in the layout that decode() reads.

template <int kBytes>
void copy_tail(const uint8_t* codes, int32_t count, uint8_t* run) {
  for (int32_t i = 0; i < kRun * kBytes; ++i) run[i] = i < count * kBytes ? codes[i] : 0;
}

__m128i load128(const uint8_t* at) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at)); }
__m128i load64(const uint8_t* at) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at)); }

struct F32 {
  static constexpr int kBits = 32;
  static constexpr bool kScaled = false;
  static void tail(const uint8_t* codes, int32_t count, uint8_t* run) {
    copy_tail<4>(codes, count, run);
  }
  static void decode(const uint8_t* codes, const Blocks&, int32_t, const Grid&, __m256* w) {
    for (int i = 0; i < kVectors; ++i) {
      w[i] = _mm256_loadu_ps(reinterpret_cast<const float*>(codes + i * 32));
    }
  }
};

struct F16 {
  static constexpr int kBits = 16;
  static constexpr bool kScaled = false;
  static void tail(const uint8_t* codes, int32_t count, uint8_t* run) {
    copy_tail<2>(codes, count, run);
  }
  static void decode(const uint8_t* codes, const Blocks&, int32_t, const Grid&, __m256* w) {
    for (int i = 0; i < kVectors; ++i) w[i] = _mm256_cvtph_ps(load128(codes + i * 16));
  }
};

struct BF16 {
  static constexpr int kBits = 16;
  static constexpr bool kScaled = false;
  static void tail(const uint8_t* codes, int32_t count, uint8_t* run) {
    copy_tail<2>(codes, count, run);
  }
  static void decode(const uint8_t* codes, const Blocks&, int32_t, const Grid&, __m256* w) {
    for (int i = 0; i < kVectors; ++i) {
      const __m256i wide = _mm256_cvtepu16_epi32(load128(codes + i * 16));
      w[i] = _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
    }
  }
};

template <int kSpan>
struct Int8 {
  static constexpr int kBits = 8;
  static constexpr bool kScaled = true;
  static void tail(const uint8_t* codes, int32_t count, uint8_t* run) {
    copy_tail<1>(codes, count, run);
  }
  static void decode(const uint8_t* codes, const Blocks& b, int32_t k, const Grid& g, __m256* w) {
    for (int i = 0; i < kVectors; ++i) {
      const __m256 q = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(load64(codes + i * 8)));
      w[i] = _mm256_mul_ps(q, spread<kSpan>(b.scale, k, i, g));
    }
  }
};

// Sixteen small integers, one per code, looked up by pshufb.
template <int kSpan>
struct Nibble {
  static constexpr int kBits = 4;
  static constexpr bool kScaled = true;
  static void tail(const uint8_t* codes, int32_t count, uint8_t* run) {
    for (int32_t i = 0; i < kRun / 2; ++i) run[i] = 0;
    for (int32_t i = 0; i < count; ++i) {  // canonical: two neighbours in a byte
      const int q = (codes[i / 2] >> (i % 2 * 4)) & 15;
      run[i % 32] = static_cast<uint8_t>(run[i % 32] | q << (i / 32 * 4));
    }
  }
  static __m256 affine(__m128i value, const Blocks& b, int32_t k, int i, const Grid& g) {
    const __m256 q = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(value));
    return _mm256_fmadd_ps(_mm256_sub_ps(q, spread<kSpan>(b.shift, k, i, g)),
                           spread<kSpan>(b.scale, k, i, g), spread<kSpan>(b.offset, k, i, g));
  }
  static void decode(const uint8_t* codes, const Blocks& b, int32_t k, const Grid& g, __m256* w) {
    const __m128i mask = _mm_set1_epi8(15);
    for (int i = 0; i < 4; ++i) {  // 16 codes
      const __m128i bytes = load128(codes + i % 2 * 16);
      const __m128i q = _mm_and_si128(i < 2 ? bytes : _mm_srli_epi16(bytes, 4), mask);
      const __m128i value = _mm_shuffle_epi8(g.table, q);
      w[2 * i] = affine(value, b, k, 2 * i, g);
      w[2 * i + 1] = affine(_mm_srli_si128(value, 8), b, k, 2 * i + 1, g);
    }
  }
};

// The number each nibble stands for before scale and zero.
__m128i nibble_table(Code code) {
  const __m128i i = _mm_set_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  if (code != Code::kInt) return i;
  return _mm_sub_epi8(_mm_xor_si128(i, _mm_set1_epi8(8)), _mm_set1_epi8(8));
}

// ---- sums ---------------------------------------------------------------------------------------

// The four sums over lanes; each input goes through the same tree.
__m128 reduce4(const __m256* v) {
  const __m256 pairs = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3]));
  return _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1));
}

void write(const LinearArgs& a, int32_t t, int32_t n, float value) {
  if (a.bias) value += a.bias[n];
  float& y = a.y[t * a.ldy + n];
  y = a.epilogue == Epilogue::kAdd ? y + value : value;
}

template <class W>
const uint8_t* codes_at(const LinearArgs& a, int64_t n, int32_t k) {
  return static_cast<const uint8_t*>(a.w.codes) + n * a.w.row_bytes + int64_t{k} * W::kBits / 8;
}

// Where `from + bytes` may lie outside the matrix: a prefetch of nothing does nothing.
void prefetch(const uint8_t* from, int64_t bytes) {
  _mm_prefetch(reinterpret_cast<const char*>(reinterpret_cast<uintptr_t>(from) +
                                             static_cast<uintptr_t>(bytes)),
               _MM_HINT_T0);
}

// ---- one token: decode and multiply in registers ------------------------------------------------

template <class W, int kRows>
void gemv(const LinearArgs& a, int32_t n, const Grid& grid) {
  Blocks blocks[kRows];
  alignas(16) float sum[4] = {};
  for (int32_t k0 = 0; k0 < a.k; k0 += kPanel) {
    const int32_t len = min_of(kPanel, a.k - k0);
    const float* x = static_cast<const float*>(a.x.data) + k0;
    const uint8_t* codes[kRows];
    __m256 acc[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                     _mm256_setzero_ps()};
    for (int r = 0; r < kRows; ++r) {
      codes[r] = codes_at<W>(a, n + r, k0);
      if (W::kScaled) load_blocks(a.w, n + r, k0, len, &blocks[r]);
    }
    const auto step = [&](int r, const uint8_t* run, int32_t k) {
      __m256 w[kVectors];
      W::decode(run, blocks[r], k, grid, w);
      for (int i = 0; i < kVectors; ++i) {
        acc[r] = _mm256_fmadd_ps(w[i], _mm256_loadu_ps(x + k + 8 * i), acc[r]);
      }
    };
    // The rows of narrow codes are streams too short for the hardware's prefetcher: ask for the
    // next panel of each row, or for the first one of the rows that come next.
    const int64_t ahead = k0 + kPanel < a.k ? kPanel * W::kBits / 8
                                            : kRows * a.w.row_bytes - int64_t{k0} * W::kBits / 8;
    const auto row = [&](int r, int32_t k) {
      const uint8_t* run = codes[r] + k * W::kBits / 8;
      if constexpr (W::kBits <= 8) prefetch(run, ahead);
      step(r, run, k);
    };
    const int32_t full = len / kRun * kRun;
    for (int32_t k = 0; k < full; k += kRun) {
      row(0, k);
      if constexpr (kRows == 4) {
        row(1, k);
        row(2, k);
        row(3, k);
      }
    }
    if (full < len) {
      for (int r = 0; r < kRows; ++r) {
        alignas(32) uint8_t run[kRun * 4];
        W::tail(codes[r] + full * W::kBits / 8, len - full, run);
        step(r, run, full);
      }
    }
    _mm_store_ps(sum, _mm_add_ps(_mm_load_ps(sum), reduce4(acc)));
  }
  for (int r = 0; r < kRows; ++r) write(a, 0, n + r, sum[r]);
}

// ---- several tokens: decode a panel once, then multiply it with every token ---------------------

// Decoded rows [kRows, kPanel], zero from `len` up to the next multiple of kRun.
template <class W>
void decode_panel(const LinearArgs& a, int32_t n, int32_t k0, int32_t len, const Grid& grid,
                  float* out) {
  Blocks blocks;
  if (W::kScaled) load_blocks(a.w, n, k0, len, &blocks);
  const uint8_t* codes = codes_at<W>(a, n, k0);
  __m256 w[kVectors];
  for (int32_t k = 0; k < len; k += kRun) {
    const uint8_t* run = codes + k * W::kBits / 8;
    alignas(32) uint8_t padded[kRun * 4];
    if (k + kRun > len) {
      W::tail(run, len - k, padded);
      run = padded;
    }
    W::decode(run, blocks, k, grid, w);
    for (int i = 0; i < kVectors; ++i) _mm256_store_ps(out + k + 8 * i, w[i]);
  }
}

// sum[t, r] += panel product of kTokens tokens and kRows rows.
template <int kRows, int kTokens>
void tile(const float* w, const float* x, int64_t ldx, int32_t len, float* sum) {
  __m256 acc[kTokens][4];
  for (int t = 0; t < kTokens; ++t) {
    for (int r = 0; r < 4; ++r) acc[t][r] = _mm256_setzero_ps();
  }
  for (int32_t k = 0; k < len; k += 8) {
    __m256 token[kTokens];
    for (int t = 0; t < kTokens; ++t) token[t] = _mm256_loadu_ps(x + t * ldx + k);
    for (int r = 0; r < kRows; ++r) {
      const __m256 row = _mm256_load_ps(w + r * kPanel + k);
      for (int t = 0; t < kTokens; ++t) acc[t][r] = _mm256_fmadd_ps(row, token[t], acc[t][r]);
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    float* at = sum + t * kRowBlock;
    if (kRows == 4) {
      _mm_store_ps(at, _mm_add_ps(_mm_load_ps(at), reduce4(acc[t])));
    } else {
      _mm_store_ss(at, _mm_add_ss(_mm_load_ss(at), reduce4(acc[t])));
    }
  }
}

template <int kRows>
void tiles(const float* w, const float* x, int64_t ldx, int32_t len, int32_t tokens, float* sum) {
  int32_t t = 0;
  for (; t + 3 <= tokens; t += 3) {
    tile<kRows, 3>(w, x + t * ldx, ldx, len, sum + t * kRowBlock);
  }
  if (t + 2 == tokens) {
    tile<kRows, 2>(w, x + t * ldx, ldx, len, sum + t * kRowBlock);
  } else if (t < tokens) {
    tile<kRows, 1>(w, x + t * ldx, ldx, len, sum + t * kRowBlock);
  }
}

// Tokens [t0, t0 + tokens), rows [n0, n0 + rows); at most kTokenBlock and kRowBlock of them.
template <class W>
void gemm_block(const LinearArgs& a, int32_t t0, int32_t tokens, int32_t n0, int32_t rows,
                const Grid& grid) {
  alignas(64) float sum[kTokenBlock * kRowBlock];
  alignas(64) float panel[4 * kPanel];
  for (int32_t i = 0; i < tokens * kRowBlock; ++i) sum[i] = 0;
  for (int32_t k0 = 0; k0 < a.k; k0 += kPanel) {
    const int32_t len = min_of(kPanel, a.k - k0), padded = round_up(len, kRun);
    const float* x = static_cast<const float*>(a.x.data) + t0 * a.x.ld + k0;
    for (int32_t r = 0; r < rows;) {
      const int32_t group = rows - r >= 4 ? 4 : 1;
      for (int32_t i = 0; i < group; ++i) {
        decode_panel<W>(a, n0 + r + i, k0, len, grid, panel + i * kPanel);
      }
      if (group == 4) {
        tiles<4>(panel, x, a.x.ld, padded, tokens, sum + r);
      } else {
        tiles<1>(panel, x, a.x.ld, padded, tokens, sum + r);
      }
      r += group;
    }
  }
  for (int32_t t = 0; t < tokens; ++t) {
    for (int32_t r = 0; r < rows; ++r) write(a, t0 + t, n0 + r, sum[t * kRowBlock + r]);
  }
}

int32_t log2_block(const WeightView& w) {
  return w.block_k == 0 ? 30 : __builtin_ctz(static_cast<uint32_t>(w.block_k));
}

template <class W>
void linear_rows(const LinearArgs& a, int32_t n0, int32_t n1) {
  const Grid grid = {nibble_table(a.w.code), log2_block(a.w)};
  if (a.m == 1) {
    int32_t n = n0;
    for (; n + 4 <= n1; n += 4) gemv<W, 4>(a, n, grid);
    for (; n < n1; ++n) gemv<W, 1>(a, n, grid);
    return;
  }
  for (int32_t t = 0; t < a.m; t += kTokenBlock) {
    for (int32_t n = n0; n < n1; n += kRowBlock) {
      gemm_block<W>(a, t, min_of(kTokenBlock, a.m - t), n, min_of(kRowBlock, n1 - n), grid);
    }
  }
}

template <template <int> class W>
void by_span(const LinearArgs& a, int32_t n0, int32_t n1) {
  const int32_t log2_size = log2_block(a.w);
  if (log2_size >= 6) return linear_rows<W<64>>(a, n0, n1);
  if (log2_size == 5) return linear_rows<W<32>>(a, n0, n1);
  linear_rows<W<8>>(a, n0, n1);
}

}  // namespace

void linear_f32_avx2(const LinearArgs& a, int32_t n0, int32_t n1) { linear_rows<F32>(a, n0, n1); }
void linear_f16_avx2(const LinearArgs& a, int32_t n0, int32_t n1) { linear_rows<F16>(a, n0, n1); }
void linear_bf16_avx2(const LinearArgs& a, int32_t n0, int32_t n1) { linear_rows<BF16>(a, n0, n1); }
void linear_int8_avx2(const LinearArgs& a, int32_t n0, int32_t n1) { by_span<Int8>(a, n0, n1); }
void linear_int4_avx2(const LinearArgs& a, int32_t n0, int32_t n1) { by_span<Nibble>(a, n0, n1); }

}  // namespace lowbit::cpu
