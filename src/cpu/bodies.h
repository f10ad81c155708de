// The single-threaded bodies of the cpu kernels, one set per instruction set. Declarations only:
// translation units with their own ISA flags see this file, so nothing here may be defined inline.
#pragma once

#include "ops/args.h"

namespace lowbit::cpu {

// Columns [n0, n1) of y. The caller (backend.cc) has made x f32, with rows readable and zero from k
// up to the next multiple of kRun.
using LinearRows = void (*)(const LinearArgs&, int32_t n0, int32_t n1);

enum : int32_t {
  kRun = 64,          // codes that a kernel decodes at once
  kDecodedRows = 16,  // of a quantized cache, by attention
};

void linear_any_baseline(const LinearArgs&, int32_t n0, int32_t n1);

void linear_f32_avx2(const LinearArgs&, int32_t n0, int32_t n1);
void linear_f16_avx2(const LinearArgs&, int32_t n0, int32_t n1);
void linear_bf16_avx2(const LinearArgs&, int32_t n0, int32_t n1);
void linear_sparse_avx2(const LinearArgs&, int32_t n0, int32_t n1);  // 2:4
void linear_codes_avx2(const LinearArgs&, int32_t n0, int32_t n1);   // every format with a scale

void linear_f32_avx512(const LinearArgs&, int32_t n0, int32_t n1);
void linear_f16_avx512(const LinearArgs&, int32_t n0, int32_t n1);
void linear_bf16_avx512(const LinearArgs&, int32_t n0, int32_t n1);
void linear_sparse_avx512(const LinearArgs&, int32_t n0, int32_t n1);  // 2:4
void linear_codes_avx512(const LinearArgs&, int32_t n0, int32_t n1);

// With x in fixed point: `prepare` turns f32 rows [t0, t1), readable up to k, into what the bodies
// read as x.data, from the first row on; kFixedBytes of it for each 512 codes of k and each token,
// kFixedRest besides.
using FixedPrepare = void (*)(const LinearArgs&, int32_t t0, int32_t t1, void* out);
enum : int32_t { kFixedRun = 512, kFixedBytes = 5 * kFixedRun, kFixedRest = 128 };

void prepare_fixed_avx2(const LinearArgs&, int32_t t0, int32_t t1, void* out);
void prepare_fixed_vnni(const LinearArgs&, int32_t t0, int32_t t1, void* out);
void linear_fixed_avx2(const LinearArgs&, int32_t n0, int32_t n1);
void linear_fixed_vnni(const LinearArgs&, int32_t n0, int32_t n1);

// The same for x in 8-bit codes with a scale for each token, weights of 8 or 4 bits.
void prepare_codes_avx2(const LinearArgs&, int32_t t0, int32_t t1, void* out);
void prepare_codes_vnni(const LinearArgs&, int32_t t0, int32_t t1, void* out);
void linear_int8_codes_avx2(const LinearArgs&, int32_t n0, int32_t n1);
void linear_int8_codes_vnni(const LinearArgs&, int32_t n0, int32_t n1);

// ---- codes of formats with scales, compiled once per ISA from codes_body.inl
// ---------------------

// Rows [r0, r1), columns [c0, c1) of an Act. c0 is a multiple of 16.
struct Columns {
  int64_t r0, r1;
  int32_t c0, c1;
};

// A block on its stored grid: code = nearest(((w - offset) * inverse) + shift).
struct CodeGrid {
  double inverse, shift, offset;
};

struct CodeBodies {
  // out[r - r0, c - c0] = the number at [r, c]; f32 rounds it once.
  void (*decode)(const Act& from, const Columns& part, float* out, int64_t ld);
  // Lowers lo[b] to the smallest and raises hi[b] to the largest number of each block of one row;
  // false if one is not finite. block_k is 0 or a multiple of 16.
  bool (*ranges)(const float* x, int32_t k, int32_t block_k, float* lo, float* hi);
  // The codes of one row, packed as `to` packs them. has_fast_codes(to) must hold.
  void (*encode)(const float* x, int32_t k, const Act& to, const CodeGrid* grids, void* codes);
};

extern const CodeBodies kCodesBaseline, kCodesAvx2, kCodesAvx512;

// In codes.cc. Whether the bodies read and write these codes; all others go through formats/.
bool has_fast_codes(const Act& act);
void decode_any(const Act& from, const Columns& part, float* out, int64_t ld);
// Rows [r0, r1) of `to` from x, whose rows are dense: all that share a scale.
void encode_rows(const CodeBodies& bodies, const float* x, const Act& to, int64_t r0, int64_t r1);

// The ops beside Linear, compiled once per ISA from ops_body.inl.
struct OpBodies {
  // out[r, 0:k] = x[r, :] and out[r, k:ld] = 0 for the rows [r0, r1).
  void (*widen)(const Act& x, int32_t k, float* out, int64_t ld, int32_t r0, int32_t r1);
  void (*rmsnorm)(const RmsNormArgs&, int32_t r0, int32_t r1);
  void (*rope_append)(const RopeAppendArgs&, int32_t t0, int32_t t1);
  // The heads that share one kv head, for one token. `scratch` holds one row of scores for each
  // of up to 4 heads, pos + 1 floats rounded up to 16, and then kDecodedRows * head_dim floats.
  void (*attention)(const AttentionArgs&, int32_t token, int32_t kv_head, float* scratch);
  // Columns [c0, c1) of one row.
  void (*silu_mul)(const SiluMulArgs&, int32_t row, int32_t c0, int32_t c1);
};

extern const OpBodies kOpsBaseline, kOpsAvx2, kOpsAvx512;

}  // namespace lowbit::cpu
