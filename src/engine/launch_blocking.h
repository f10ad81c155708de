// LOWBIT_LAUNCH_BLOCKING=1: the host waits after every op, so that an error of a device is that of
// the op that it names, and no two kernels run at once.
#pragma once

#include <memory>
#include <string>

#include "ops/exec.h"

namespace lowbit {

// A trace that waits, or null. CUDA_LAUNCH_BLOCKING=1, which the CUDA runtime itself honours at
// every launch of a kernel, asks for it too: a captured step is one launch of many kernels.
// Error: a value other than 0, 1 or nothing of our own variable.
std::unique_ptr<Trace> launch_blocking(const Backend& backend);

inline constexpr const char* kLaunchBlockingHelp =
    "LOWBIT_LAUNCH_BLOCKING=1 (or CUDA_LAUNCH_BLOCKING=1, which the CUDA runtime knows too) in "
    "the\n"
    "environment runs steps op by op and waits for the device after each: an error then names its\n"
    "op. Times are not comparable.\n";

}  // namespace lowbit
