// What runs from canonical codes: most of what tiles do not take (linear_units.cu), and the Linear
// of last resort (linear_any.cu).
#pragma once

#include "ops/args.h"

namespace lowbit::cuda {

void linear_units(const LinearArgs& args, Stream stream);
void linear_any(const LinearArgs& args, Stream stream);

}  // namespace lowbit::cuda
