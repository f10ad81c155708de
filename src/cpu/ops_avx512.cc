// The ops of ops_body.inl for AVX-512.
#include <immintrin.h>

#include "cpu/bodies.h"

namespace lowbit::cpu {
namespace {

typedef float Vec __attribute__((vector_size(64)));

Vec f16_load(const uint16_t* at) {
  return (Vec)_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
}

void f16_store(uint16_t* at, Vec v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(at),
                      _mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT));
}

constexpr const CodeBodies& kCodes = kCodesAvx512;

}  // namespace
}  // namespace lowbit::cpu

#include "cpu/ops_body.inl"

namespace lowbit::cpu {
extern const OpBodies kOpsAvx512 = kBodies;
}
