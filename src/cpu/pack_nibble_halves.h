// LayoutId::kNibbleHalves: within each run of 64 codes of a row, byte j holds code j in its low and
// code j + 32 in its high nibble, so that a vector of bytes unpacks to neighbours without an
// interleave. A last run of fewer than 64 codes stays canonical.
#pragma once

#include "ops/linear.h"

namespace lowbit::cpu {

Packer nibble_halves_packer();

}  // namespace lowbit::cpu
