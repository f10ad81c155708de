// Linear in f32 for AVX-512 (F, BW, DQ, VL) and BMI2. House rule: this file is compiled with ISA
// flags, so all but the exported bodies is in the anonymous namespace and nothing else than plain
// structs and intrinsics is included.
#include "cpu/avx512.inl"
#include "cpu/bodies.h"
#include "cpu/linear_blocks.inl"
#include "cpu/linear_tiles.inl"

namespace lowbit::cpu {

void linear_f32_avx512(const LinearArgs& a, int32_t n0, int32_t n1) {
  linear_rows<Plain<LoadF32>>(a, n0, n1);
}
void linear_f16_avx512(const LinearArgs& a, int32_t n0, int32_t n1) {
  linear_rows<Plain<LoadF16>>(a, n0, n1);
}
void linear_bf16_avx512(const LinearArgs& a, int32_t n0, int32_t n1) {
  linear_rows<Plain<LoadBF16>>(a, n0, n1);
}
void linear_codes_avx512(const LinearArgs& a, int32_t n0, int32_t n1) { linear_codes(a, n0, n1); }
void linear_sparse_avx512(const LinearArgs& a, int32_t n0, int32_t n1) { linear_stored(a, n0, n1); }

}  // namespace lowbit::cpu
