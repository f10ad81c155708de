// What a method (quantize/method.h) means for the layers of a model.
#pragma once

#include "models/weights.h"
#include "quantize/method.h"

namespace lowbit {

// Error, with the reason, for what the loader cannot do.
LayerPolicy policy_of(const Method& method);

// Policy and activations.
void set_method(const Method& method, LoadOptions* options);

}  // namespace lowbit
