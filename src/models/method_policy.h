// What a method (quantize/method.h) means for the layers of a model.
#pragma once

#include "models/weights.h"
#include "quantize/method.h"

namespace lowbit {

// Sets policy and activations. Error for what the loader cannot do, with the reason.
void set_method(const Method& method, LoadOptions* options);

}  // namespace lowbit
