// What a method (quantize/method.h) means for the layers of a model.
#pragma once

#include "models/layer_policy.h"
#include "quantize/method.h"

namespace lowbit {

// Formats, quantizers and activations of every layer.
LayerPolicy policy_of(const Method& method);

}  // namespace lowbit
