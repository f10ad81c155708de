// The Llama family: pre-norm transformer, rotary positions, grouped-query attention, SwiGLU
// (Touvron et al. 2023, arXiv:2307.09288; Grattafiori et al. 2024, arXiv:2407.21783).
#pragma once

#include "models/llama_config.h"
#include "models/model.h"
#include "models/rotation.h"
#include "models/scaling.h"

namespace lowbit {

std::unique_ptr<Model> load_llama(const Checkpoint& checkpoint, const Backend& backend,
                                  const LoadOptions& options);

// Norms into q, k, v and into gate, up; v's rows into o; up's rows into down.
std::vector<ScalingGroup> llama_scaling_groups(const Checkpoint& checkpoint);
RotationPlan llama_rotation_plan(const Checkpoint& checkpoint);

}  // namespace lowbit
