// The codes of codes_body.inl for AVX2 with FMA and F16C.
#include <immintrin.h>

#include "cpu/bodies.h"

namespace lowbit::cpu {
namespace {

typedef float Vec __attribute__((vector_size(32)));

Vec f16_load(const uint16_t* at) {
  return (Vec)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
}

}  // namespace
}  // namespace lowbit::cpu

#include "cpu/codes_body.inl"

namespace lowbit::cpu {
extern const CodeBodies kCodesAvx2 = kBodies;
}
