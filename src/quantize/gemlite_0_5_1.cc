// gemlite 0.5.1 (gemlite.helper): f32 arithmetic, codes chosen with the scale before it is rounded
// to its storage type. Compared bit by bit with the package in tests/formats/golden_test.cc.
#include <algorithm>
#include <cmath>

#include "formats/codec.h"
#include "quantize/tool_rule.h"

namespace lowbit {
namespace {

constexpr float kMetaScale = 0.05f;  // above NVFP4's scales, whatever the tensor

// The nearest e2m1; a tie goes towards zero, and what becomes zero loses its sign.
uint32_t fp4_code(float value) {
  constexpr float kHalfWay[] = {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5};
  uint32_t code = 0;
  for (const float bound : kHalfWay) code += std::abs(value) > bound;
  return code > 0 && value < 0 ? code + 8 : code;
}

Grid by_channel(const Format& format, std::span<const float> w, std::span<uint32_t> codes) {
  const auto top = static_cast<float>(code_range(format).max);
  const float scale = std::max(largest_magnitude_of(w) / top, 1e-6f);
  encode_over(format, w, scale, codes);
  return {scale, 0};
}

Grid mx(const Format& format, std::span<const float> w, std::span<uint32_t> codes) {
  const auto top = static_cast<float>(code_range(format).max);
  const float ideal = largest_magnitude_of(w) / top;
  const float power = ideal == 0 ? 0 : std::exp2(std::ceil(std::log2(ideal)));
  const float scale = std::max(power, 0x1p-30f);
  for (size_t i = 0; i < w.size(); ++i) {
    const float value = w[i] / scale;
    codes[i] = format.bits == 4 ? fp4_code(value) : encode_code(format, value);
  }
  return {scale, 0};
}

Grid nvfp4(const Format& format, std::span<const float> w, float outer, std::span<uint32_t> codes) {
  const auto top = static_cast<float>(code_range(format).max);
  const float scale = std::min(largest_magnitude_of(w) / top / outer, 448.0f);
  const auto stored =
      static_cast<float>(minifloat_to_double(kFloatE4M3, double_to_minifloat(kFloatE4M3, scale)));
  const float full = std::max(stored * outer, 1e-6f);
  for (size_t i = 0; i < w.size(); ++i) codes[i] = fp4_code(w[i] / full);
  return {scale, 0};
}

Grid encode(const Format& format, std::span<const float> w, float outer,
            std::span<uint32_t> codes) {
  if (format.scale == Scale::kE8M0) return mx(format, w, codes);
  if (format.scale == Scale::kE4M3) return nvfp4(format, w, outer, codes);
  return by_channel(format, w, codes);
}

bool does(const Format& f) {
  if (!f.quantized()) return true;
  if (f.sparse24) return false;
  if (f.scale == Scale::kE4M3) return true;
  if (f.scale == Scale::kE8M0) {
    return f.rule == ScaleRule::kRceil && (f.code == Code::kE4M3 || f.code == Code::kE2M1);
  }
  return f.outer == Outer::kNone && f.block == Block{1, 0} && f.zero == Zero::kNone &&
         (f.code == Code::kE4M3 || (f.code == Code::kInt && f.bits == 8));
}

}  // namespace

std::string gemlite_0_5_1_refuses(const Format& target) {
  if (does(target)) return "";
  return not_done("gemlite-0.5.1", "int8 and fp8 per row, mxfp8, mxfp4-rceil and nvfp4", target);
}

QTensor quantize_gemlite_0_5_1(const QTensor& source, const Format& target,
                               const QuantizeContext& context) {
  check_does(context.tensor, gemlite_0_5_1_refuses(target));
  constexpr ToolRule kRule = {.encode = encode,
                              .weights = [](const Format&) -> Rounding { return as_f32; },
                              .outer = [](const Format&, float) { return kMetaScale; }};
  return quantize_by_rule(source, target, context, kRule);
}

}  // namespace lowbit
