// What Linears read: an op writes it, and where the Linears want a format with scales it is then
// rounded to that.
#pragma once

#include "ops/exec.h"

namespace lowbit {

struct Activation {
  Act made;  // without scales: f32 if `read` is another
  Act read;
};

Activation take_activation(Scratch& scratch, const Format& format, int64_t rows, int64_t k);

// What a Linear reads of the first `rows` rows that an op has made.
const Act& quantized(Exec& x, const OpTag& tag, const Activation& in, int32_t rows);

}  // namespace lowbit
