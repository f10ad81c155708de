// Linear for AVX-512 (F, BW, DQ, VL). House rule: this file is compiled with ISA flags, so all but
// the exported bodies is in the anonymous namespace and nothing else than plain structs and
// intrinsics is included.
//
// y[t, n] is a sum of panels of kPanel products; a panel is one chain of 16-lane FMAs in k order
// and one reduction tree. The order is the same for every tile shape, so a token's result depends
// neither on how many tokens are in the call nor on the thread split.
#include <immintrin.h>

#include "cpu/bodies.h"

namespace lowbit::cpu {
namespace {

constexpr int32_t kPanel = 1024;     // k per panel: 4 decoded rows are 16 KiB, half of L1
constexpr int32_t kTokenBlock = 64;  // tokens that share one decoding: x panels are 256 KiB, in L2
constexpr int32_t kRowBlock = 32;    // rows that share x panels between two trips to L3
constexpr int32_t kMaxBlocks = kPanel / 8;  // the smallest group is 8

int32_t min_of(int32_t a, int32_t b) { return a < b ? a : b; }
int32_t round_up(int32_t a, int32_t b) { return (a + b - 1) / b * b; }

// ---- scales -------------------------------------------------------------------------------------

// value = (decoded code - shift) * scale + offset, for the blocks of one row inside a panel.
struct Blocks {
  alignas(64) float scale[kMaxBlocks];
  alignas(64) float shift[kMaxBlocks];
  alignas(64) float offset[kMaxBlocks];
};

__mmask16 first_lanes(int32_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xffffu : (1u << (count > 0 ? count : 0)) - 1u);
}

__m512 load_scales(Scale type, const void* plane, int64_t first, __mmask16 mask) {
  if (type == Scale::kF32) {
    return _mm512_maskz_loadu_ps(mask, static_cast<const float*>(plane) + first);
  }
  const __m256i half = _mm256_maskz_loadu_epi16(mask, static_cast<const uint16_t*>(plane) + first);
  if (type == Scale::kF16) return _mm512_cvtph_ps(half);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

__m512 load_bytes(const void* plane, int64_t first, __mmask16 mask) {
  const __m128i bytes = _mm_maskz_loadu_epi8(mask, static_cast<const uint8_t*>(plane) + first);
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
}

// What decoders need beside codes and scales, the same for all rows.
struct Grid {
  __m512 table;       // the number of each code, where a table decodes it
  int32_t log2_size;  // block of code k, counted from the panel's start: k >> log2_size
};

// The parts that are the same for every block of a matrix, and zeros elsewhere.
void start_blocks(const WeightView& w, const Grid& g, Blocks* out) {
  const bool middle = w.zero == Zero::kFloat;
  const __m512 shift = _mm512_set1_ps(middle ? static_cast<float>(1 << (w.bits - 1)) : 0.0f);
  for (int32_t i = 0; i <= (kPanel - 1) >> g.log2_size; i += 16) {
    _mm512_store_ps(out->shift + i, shift);
    _mm512_store_ps(out->offset + i, _mm512_setzero_ps());
  }
}

// Blocks past the row's end get scale 0: they belong to the padding of a short last run.
void load_blocks(const WeightView& w, const Grid& g, int64_t n, int32_t k0, int32_t len,
                 Blocks* out) {
  const int32_t first = k0 >> g.log2_size;
  const int32_t needed = ((round_up(len, kRun) - 1) >> g.log2_size) + 1;
  const int32_t present = min_of(needed, w.k_blocks - first);
  const int64_t at = (w.block_n == 0 ? 0 : n) * w.k_blocks + first;
  for (int32_t i = 0; i < needed; i += 16) {
    const __mmask16 mask = first_lanes(present - i);
    _mm512_store_ps(out->scale + i, load_scales(w.scale, w.scales, at + i, mask));
    if (w.zero == Zero::kInt) _mm512_store_ps(out->shift + i, load_bytes(w.zeros, at + i, mask));
    if (w.zero == Zero::kFloat) {
      _mm512_store_ps(out->offset + i, load_scales(w.scale, w.zeros, at + i, mask));
    }
  }
}

// The block's value for each of the 16 codes from k + 16 i on, k at the start of a run.
template <int kSpan>
__m512 spread(const float* values, int32_t k, int i, const Grid& g) {
  if (kSpan == 64) return _mm512_set1_ps(values[k >> g.log2_size]);
  if (kSpan == 32) return _mm512_set1_ps(values[(k >> 5) + i / 2]);
  if (g.log2_size == 4) return _mm512_set1_ps(values[(k >> 4) + i]);
  const float* pair = values + (k >> 3) + 2 * i;
  return _mm512_insertf32x8(_mm512_set1_ps(pair[0]), _mm256_set1_ps(pair[1]), 1);
}

// ---- decoders: one per code kind ----------------------------------------------------------------
// decode() turns the kRun codes at `codes` into four vectors; `k` counts from the panel's start.
// kSpan: codes of a run that surely share a block (64, 32, or 8). tail() writes a short last run,
// padded with zeros, in the layout that decode() reads.

template <int kBytes>
void copy_tail(const uint8_t* codes, int32_t count, uint8_t* run) {
  for (int32_t i = 0; i < kRun * kBytes; ++i) run[i] = i < count * kBytes ? codes[i] : 0;
}

struct F32 {
  static constexpr int kBits = 32;
  static constexpr bool kScaled = false;
  static void tail(const uint8_t* codes, int32_t count, uint8_t* run) {
    copy_tail<4>(codes, count, run);
  }
  static void decode(const uint8_t* codes, const Blocks&, int32_t, const Grid&, __m512* w) {
    for (int i = 0; i < 4; ++i) w[i] = _mm512_loadu_ps(codes + i * 64);
  }
};

struct F16 {
  static constexpr int kBits = 16;
  static constexpr bool kScaled = false;
  static void tail(const uint8_t* codes, int32_t count, uint8_t* run) {
    copy_tail<2>(codes, count, run);
  }
  static void decode(const uint8_t* codes, const Blocks&, int32_t, const Grid&, __m512* w) {
    for (int i = 0; i < 4; ++i) {
      w[i] = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + i * 32)));
    }
  }
};

struct BF16 {
  static constexpr int kBits = 16;
  static constexpr bool kScaled = false;
  static void tail(const uint8_t* codes, int32_t count, uint8_t* run) {
    copy_tail<2>(codes, count, run);
  }
  static void decode(const uint8_t* codes, const Blocks&, int32_t, const Grid&, __m512* w) {
    for (int i = 0; i < 4; ++i) {
      const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + i * 32));
      w[i] = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
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
  static void decode(const uint8_t* codes, const Blocks& b, int32_t k, const Grid& g, __m512* w) {
    for (int i = 0; i < 4; ++i) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + i * 16));
      const __m512 q = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
      w[i] = _mm512_mul_ps(q, spread<kSpan>(b.scale, k, i, g));
    }
  }
};

// Sixteen numbers, one per code, looked up by vpermps (which ignores all but 4 bits of its index).
// Where 32 codes share a block, its scale and zero go into the table instead of into the weights.
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
  static __m512 affine(__m512 value, const Blocks& b, int32_t k, int i, const Grid& g) {
    return _mm512_fmadd_ps(_mm512_sub_ps(value, spread<kSpan>(b.shift, k, i, g)),
                           spread<kSpan>(b.scale, k, i, g), spread<kSpan>(b.offset, k, i, g));
  }
  static void decode(const uint8_t* codes, const Blocks& b, int32_t k, const Grid& g, __m512* w) {
    const auto load = [&](int i) {
      return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + i)));
    };
    const __m512i low = load(0), high = load(16);
    const __m512i q[4] = {low, high, _mm512_srli_epi32(low, 4), _mm512_srli_epi32(high, 4)};
    if constexpr (kSpan >= 32) {
      const __m512 first = affine(g.table, b, k, 0, g);
      const __m512 second = kSpan == 64 ? first : affine(g.table, b, k, 2, g);
      for (int i = 0; i < 4; ++i) w[i] = _mm512_permutexvar_ps(q[i], i < 2 ? first : second);
    } else {
      for (int i = 0; i < 4; ++i) {
        w[i] = affine(_mm512_permutexvar_ps(q[i], g.table), b, k, i, g);
      }
    }
  }
};

// The number each nibble stands for before scale and zero.
__m512 nibble_table(Code code) {
  const __m512 i = _mm512_set_ps(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  if (code != Code::kInt) return i;
  return _mm512_mask_sub_ps(i, 0xff00, i, _mm512_set1_ps(16));
}

// ---- sums ---------------------------------------------------------------------------------------

__m256 fold(__m512 v) {
  return _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
}

// The four sums over lanes; each input goes through the same tree.
__m128 reduce4(const __m512* v) {
  const __m256 pairs = _mm256_hadd_ps(_mm256_hadd_ps(fold(v[0]), fold(v[1])),
                                      _mm256_hadd_ps(fold(v[2]), fold(v[3])));
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
  if constexpr (W::kScaled) {
    for (int r = 0; r < kRows; ++r) start_blocks(a.w, grid, &blocks[r]);
  }
  alignas(16) float sum[4] = {};
  for (int32_t k0 = 0; k0 < a.k; k0 += kPanel) {
    const int32_t len = min_of(kPanel, a.k - k0);
    const float* x = static_cast<const float*>(a.x.data) + k0;
    const uint8_t* codes[kRows];
    __m512 acc[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),
                     _mm512_setzero_ps()};
    for (int r = 0; r < kRows; ++r) {
      codes[r] = codes_at<W>(a, n + r, k0);
      if constexpr (W::kScaled) load_blocks(a.w, grid, n + r, k0, len, &blocks[r]);
    }
    const auto step = [&](int r, const uint8_t* run, int32_t k) {
      __m512 w[4];
      W::decode(run, blocks[r], k, grid, w);
      for (int i = 0; i < 4; ++i) {
        acc[r] = _mm512_fmadd_ps(w[i], _mm512_loadu_ps(x + k + 16 * i), acc[r]);
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
        alignas(64) uint8_t run[kRun * 4];
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
  if constexpr (W::kScaled) {
    start_blocks(a.w, grid, &blocks);
    load_blocks(a.w, grid, n, k0, len, &blocks);
  }
  const uint8_t* codes = codes_at<W>(a, n, k0);
  __m512 w[4];
  for (int32_t k = 0; k < len; k += kRun) {
    const uint8_t* run = codes + k * W::kBits / 8;
    alignas(64) uint8_t padded[kRun * 4];
    if (k + kRun > len) {
      W::tail(run, len - k, padded);
      run = padded;
    }
    W::decode(run, blocks, k, grid, w);
    for (int i = 0; i < 4; ++i) _mm512_store_ps(out + k + 16 * i, w[i]);
  }
}

// sum[t, r] += panel product of kTokens tokens and kRows rows.
template <int kRows, int kTokens>
void tile(const float* w, const float* x, int64_t ldx, int32_t len, float* sum) {
  __m512 acc[kTokens][4];
  for (int t = 0; t < kTokens; ++t) {
    for (int r = 0; r < 4; ++r) acc[t][r] = _mm512_setzero_ps();
  }
  for (int32_t k = 0; k < len; k += 16) {
    __m512 row[kRows];
    for (int r = 0; r < kRows; ++r) row[r] = _mm512_load_ps(w + r * kPanel + k);
    for (int t = 0; t < kTokens; ++t) {
      const __m512 token = _mm512_loadu_ps(x + t * ldx + k);
      for (int r = 0; r < kRows; ++r) acc[t][r] = _mm512_fmadd_ps(row[r], token, acc[t][r]);
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
  for (; t + 6 <= tokens; t += 6) {
    tile<kRows, 6>(w, x + t * ldx, ldx, len, sum + t * kRowBlock);
  }
  if (t + 4 <= tokens) {
    tile<kRows, 4>(w, x + t * ldx, ldx, len, sum + t * kRowBlock);
    t += 4;
  }
  if (t + 2 <= tokens) {
    tile<kRows, 2>(w, x + t * ldx, ldx, len, sum + t * kRowBlock);
    t += 2;
  }
  if (t < tokens) tile<kRows, 1>(w, x + t * ldx, ldx, len, sum + t * kRowBlock);
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

void linear_f32_avx512(const LinearArgs& a, int32_t n0, int32_t n1) { linear_rows<F32>(a, n0, n1); }
void linear_f16_avx512(const LinearArgs& a, int32_t n0, int32_t n1) { linear_rows<F16>(a, n0, n1); }
void linear_bf16_avx512(const LinearArgs& a, int32_t n0, int32_t n1) {
  linear_rows<BF16>(a, n0, n1);
}
void linear_int8_avx512(const LinearArgs& a, int32_t n0, int32_t n1) { by_span<Int8>(a, n0, n1); }
void linear_int4_avx512(const LinearArgs& a, int32_t n0, int32_t n1) { by_span<Nibble>(a, n0, n1); }

}  // namespace lowbit::cpu
