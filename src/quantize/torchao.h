// What several versions of torchao compute alike.
#pragma once

#include "quantize/tool_rule.h"

namespace lowbit::torchao {

inline constexpr float kEpsF32 = 0x1p-23f;
constexpr float smallest_normal(const Format& f) {
  return f.scale == Scale::kF16 ? 0x1p-14f : 0x1p-126f;
}

// The type of weights and arithmetic: that in which scales are stored.
Rounding arithmetic(const Format& format);

// Integers; `eps` is the smallest scale. Every operation is rounded to arithmetic(format).
// amax / ((qmax - qmin) / 2), codes by the reciprocal.
Grid symmetric(const Format& format, std::span<const float> w, float eps,
               std::span<uint32_t> codes);
// (max - min) / (2^bits - 1) of a range with 0 in it, an integer zero, codes by the reciprocal.
Grid asymmetric(const Format& format, std::span<const float> w, float eps,
                std::span<uint32_t> codes);
// (max - min) / (2^bits - 1), the zero of the mid-point form, codes by division.
Grid tinygemm(const Format& format, std::span<const float> w, float eps, std::span<uint32_t> codes);

}  // namespace lowbit::torchao
