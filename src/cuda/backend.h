// The cuda backend: NVIDIA GPUs, tuned for sm_90a.
#pragma once

#include "ops/backend.h"

namespace lowbit {

const Backend& cuda_backend();

}  // namespace lowbit
