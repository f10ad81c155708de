#include "models/activation.h"

namespace lowbit {

namespace {

Activation take(Scratch& scratch, const Format& format, int64_t rows, int64_t k) {
  if (!format.quantized()) {
    const Act act = take_act(scratch, format, rows, k);
    return {act, act};
  }
  return {take_act(scratch, format_of(FormatId::kF32), rows, k),
          take_act(scratch, format, rows, k)};
}

}  // namespace

size_t activation_bytes(const Format& format, int64_t rows, int64_t k) {
  Scratch measure = Scratch::measuring();
  take(measure, format, rows, k);
  return measure.used();
}

Activation ActivationSpace::as(const Format& format, int64_t rows, int64_t k) const {
  Scratch memory(DeviceBytes{data, bytes, nullptr});
  return take(memory, format, rows, k);
}

const Act& quantized(Exec& x, const OpTag& tag, const Activation& in, int32_t rows) {
  if (in.read.scale != Scale::kNone) {
    run(x, tag, "quantize", x.backend.op.quantize,
        {rows, static_cast<int32_t>(in.read.ld), static_cast<const float*>(in.made.data), in.read});
  }
  return in.read;
}

}  // namespace lowbit
