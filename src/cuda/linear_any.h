// The Linear of last resort (linear_any.cu).
#pragma once

#include "ops/args.h"

namespace lowbit::cuda {

void linear_any(const LinearArgs& args, Stream stream);

}  // namespace lowbit::cuda
