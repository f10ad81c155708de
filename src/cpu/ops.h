// The ops beside Linear with their thread split.
#pragma once

#include "ops/backend.h"

namespace lowbit::cpu {

// As compiled for the best instruction set in `isa` (cpu/isa.h).
OpTable op_table(uint32_t isa);

}  // namespace lowbit::cpu
