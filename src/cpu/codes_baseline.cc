// The codes of codes_body.inl for any x86-64.
#include "base/fp.h"
#include "cpu/bodies.h"

namespace lowbit::cpu {
namespace {

typedef float Vec __attribute__((vector_size(64)));

Vec f16_load(const uint16_t* at) {
  Vec v;
  for (int i = 0; i < 16; ++i) v[i] = f16_to_f32(at[i]);
  return v;
}

}  // namespace
}  // namespace lowbit::cpu

#include "cpu/codes_body.inl"

namespace lowbit::cpu {
extern const CodeBodies kCodesBaseline = kBodies;
}
