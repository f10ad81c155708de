// Keeps a stream busy, so that what is enqueued meanwhile runs without waiting for the host.
#pragma once

#include "ops/args.h"

namespace lowbit::cuda {

void hold(double seconds, Stream stream);

}  // namespace lowbit::cuda
