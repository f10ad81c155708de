// For quantizers that compute what another tool computes, its arithmetic type included.
#pragma once

#include <cstdint>
#include <span>

#include "base/fp.h"
#include "formats/encode.h"
#include "quantize/quantizer.h"

namespace lowbit {

// A number as a tensor of that type holds it. PyTorch computes each operation on the CPU in f32
// and rounds its result, so these around every operation give its bits.
using Rounding = float (*)(float);
inline float as_f32(float value) { return value; }
inline float as_bf16(float value) { return bf16_to_f32(f32_to_bf16(value)); }
inline float as_f16(float value) { return f16_to_f32(f32_to_f16(value)); }

struct ToolRule {
  // Chooses scale and zero of a block's numbers and one code for each. The grid is stored as the
  // format says. `outer`: the stored scale above the block, 1 if there is none.
  Grid (*encode)(const Format& format, std::span<const float> w, float outer,
                 std::span<uint32_t> codes);
  // The type in which the tool holds the weights.
  Rounding (*weights)(const Format& format);
  float (*outer)(const Format& format, float amax) = choose_outer;
  bool keep_later = false;  // 2:4: of equal magnitudes the later one stays
};

// All blocks by the rule; f32, f16 and bf16 convert, and a source in the target format stays.
QTensor quantize_by_rule(const QTensor& source, const Format& target,
                         const QuantizeContext& context, const ToolRule& rule);

// Of a quantizer that does only what `does` says.
std::string not_done(std::string_view quantizer, std::string_view does, const Format& target);

// The stored code of the nearest number; NaN counts as 0.
uint32_t code_of(const Format& format, float value);
// Those of a block's numbers times `factor`; of its numbers over `scale`, 0 if that is 0.
void encode_times(const Format& format, std::span<const float> w, float factor,
                  std::span<uint32_t> codes);
void encode_over(const Format& format, std::span<const float> w, float scale,
                 std::span<uint32_t> codes);

float largest_magnitude_of(std::span<const float> w);

}  // namespace lowbit
