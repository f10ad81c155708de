#pragma once

#include "ops/args.h"

namespace lowbit::cpu {

// The tokens that ref::sample() draws, without sorting the whole vocabulary.
void sample(const SampleArgs& a, Stream);

}  // namespace lowbit::cpu
