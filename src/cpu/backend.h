// The cpu backend: threads and SIMD, chosen at run time for the machine (cpu/isa.h).
#pragma once

#include "ops/backend.h"

namespace lowbit {

// Error if LB_CPU_ISA names what the machine lacks.
const Backend& cpu_backend();

}  // namespace lowbit
