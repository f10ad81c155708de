// The `gguf` package 0.19.0, for the types that it writes: codes by the reciprocal of the scale
// before that is rounded to f16, halves away from zero (Q4 and Q5: upwards). Compared bit by bit
// with the package in tests/formats/golden_test.cc.
#include <algorithm>
#include <cmath>

#include "formats/codec.h"
#include "quantize/tool_rule.h"

namespace lowbit {
namespace {

float inverse_of(float scale) { return scale == 0 ? 0 : 1 / scale; }

// Q4_0, Q5_0: the scale is that of the first number of largest magnitude, sign included.
Grid by_extreme(const Format& format, std::span<const float> w, std::span<uint32_t> codes) {
  const auto lowest = static_cast<float>(code_range(format).min);
  float extreme = w[0];
  for (const float value : w) {
    if (std::abs(value) > std::abs(extreme)) extreme = value;
  }
  const float scale = extreme / lowest, inverse = inverse_of(scale);
  for (size_t i = 0; i < w.size(); ++i) {
    const float scaled = w[i] * inverse;
    codes[i] = code_of(format, std::trunc(scaled + (0.5f - lowest)) + lowest);
  }
  return {scale, 0};
}

// Q4_1, Q5_1
Grid min_max(const Format& format, std::span<const float> w, std::span<uint32_t> codes) {
  const auto top = static_cast<float>(code_range(format).max);
  const auto [lo, hi] = std::minmax_element(w.begin(), w.end());
  const float scale = (*hi - *lo) / top, inverse = inverse_of(scale);
  for (size_t i = 0; i < w.size(); ++i) {
    const float scaled = (w[i] - *lo) * inverse;
    codes[i] = code_of(format, std::trunc(scaled + 0.5f));
  }
  return {scale, *lo};
}

// Q8_0, TQ1_0, TQ2_0
Grid by_amax(const Format& format, std::span<const float> w, std::span<uint32_t> codes) {
  const auto top = static_cast<float>(code_range(format).max);
  const float scale = largest_magnitude_of(w) / top, inverse = inverse_of(scale);
  for (size_t i = 0; i < w.size(); ++i) {
    codes[i] = code_of(format, std::round(w[i] * inverse));
  }
  return {scale, 0};
}

Grid encode(const Format& format, std::span<const float> w, float, std::span<uint32_t> codes) {
  if (format.rule == ScaleRule::kExtreme) return by_extreme(format, w, codes);
  if (format.rule == ScaleRule::kMinMax) return min_max(format, w, codes);
  return by_amax(format, w, codes);
}

bool does(const Format& f) {
  constexpr FormatId kTypes[] = {FormatId::kQ8_0, FormatId::kQ5_1, FormatId::kQ5_0,
                                 FormatId::kQ4_1, FormatId::kQ4_0, FormatId::kTQ2_0,
                                 FormatId::kTQ1_0};
  return !f.quantized() ||
         std::find(std::begin(kTypes), std::end(kTypes), f.id) != std::end(kTypes);
}

}  // namespace

std::string gguf_0_19_0_refuses(const Format& target) {
  if (does(target)) return "";
  return not_done("gguf-0.19.0", "q8_0, q5_1, q5_0, q4_1, q4_0, tq2_0 and tq1_0", target);
}

QTensor quantize_gguf_0_19_0(const QTensor& source, const Format& target,
                             const QuantizeContext& context) {
  check_does(context.tensor, gguf_0_19_0_refuses(target));
  constexpr ToolRule kRule = {.encode = encode,
                              .weights = [](const Format&) -> Rounding { return as_f32; }};
  return quantize_by_rule(source, target, context, kRule);
}

}  // namespace lowbit
