// Ops that normalise rows. The signature is the one of ops/backend.h's table.
#pragma once

#include "ops/args.h"

namespace lowbit::cuda {

// f32 in, f32 out. The sum of squares is f32, in an order fixed by the row length alone.
void rmsnorm(const RmsNormArgs& args, Stream stream);

}  // namespace lowbit::cuda
