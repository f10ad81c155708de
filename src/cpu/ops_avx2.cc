// The ops of ops_body.inl for AVX2 with FMA and F16C.
#include <immintrin.h>

#include "cpu/bodies.h"

namespace lowbit::cpu {
namespace {

typedef float Vec __attribute__((vector_size(32)));

Vec f16_load(const uint16_t* at) {
  return (Vec)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
}

void f16_store(uint16_t* at, Vec v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(at),
                   _mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT));
}

constexpr const CodeBodies& kCodes = kCodesAvx2;

}  // namespace
}  // namespace lowbit::cpu

#include "cpu/ops_body.inl"

namespace lowbit::cpu {
extern const OpBodies kOpsAvx2 = kBodies;
}
