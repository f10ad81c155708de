// The codes of codes_body.inl for AVX-512.
#include <immintrin.h>

#include "cpu/bodies.h"

namespace lowbit::cpu {
namespace {

typedef float Vec __attribute__((vector_size(64)));

Vec f16_load(const uint16_t* at) {
  return (Vec)_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
}

}  // namespace
}  // namespace lowbit::cpu

#include "cpu/codes_body.inl"

namespace lowbit::cpu {
extern const CodeBodies kCodesAvx512 = kBodies;
}
