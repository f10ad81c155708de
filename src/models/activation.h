// What Linears read: an op writes it, and where the Linears want a format with scales it is then
// rounded to that.
#pragma once

#include "ops/exec.h"

namespace lowbit {

struct Activation {
  Act made;  // without scales: f32 if `read` is another
  Act read;
};

size_t activation_bytes(const Format& format, int64_t rows, int64_t k);

// Memory for one of the model's activations, whose format may differ from layer to layer.
struct ActivationSpace {
  std::byte* data = nullptr;
  size_t bytes = 0;

  Activation as(const Format& format, int64_t rows, int64_t k) const;
};

// What a Linear reads of the first `rows` rows that an op has made.
const Act& quantized(Exec& x, const OpTag& tag, const Activation& in, int32_t rows);

}  // namespace lowbit
