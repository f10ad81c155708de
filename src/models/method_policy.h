// What a method (quantize/method.h) means for the layers of a model.
#pragma once

#include "models/layer_policy.h"
#include "quantize/method.h"

namespace lowbit {

// Formats, quantizers and activations of every layer.
LayerPolicy policy_of(const Method& method);

// Whether a Linear ("layers.3.down") is of what torchao's harness calls feed_forward.
bool is_feed_forward(std::string_view layer);

}  // namespace lowbit
