// What launches ask of the current device, asked once.
#pragma once

#include "ops/args.h"

namespace lowbit::cuda {

int sm_count();

// Tokens [first, first + count) of a Linear.
LinearArgs rows_of(const LinearArgs& args, int32_t first, int32_t count);

}  // namespace lowbit::cuda
