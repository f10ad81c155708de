// The reference backend: plain loops in index order, double accumulation, no SIMD, no threads. The
// oracle for every other kernel.
#pragma once

#include "ops/backend.h"

namespace lowbit {

const Backend& ref_backend();

}  // namespace lowbit
