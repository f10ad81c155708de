// AWQ (Lin et al. 2024, arXiv:2306.00978): columns that read large inputs are scaled up before they
// are quantized, so that their errors count less.
#pragma once

#include <memory>

#include "models/layer_policy.h"
#include "models/scaling.h"

namespace lowbit {

// For each scaling group s = mean|x|^alpha, normalised, alpha of 0, 0.05 .. 0.95 with the least
// error of what the consumers compute after `policy` quantized them: the weights' errors against
// the inputs' second moments where calibration has them, else their mean squares. Groups whose
// layer is not quantized stay. Quantizers that need inputs are stood in for by round to nearest.
// `checkpoint` must outlive the result. Error: a group whose inputs calibration never saw.
std::unique_ptr<ScaledCheckpoint> awq(const Checkpoint& checkpoint, InputStatsSource& inputs,
                                      const LayerPolicy& policy);

}  // namespace lowbit
