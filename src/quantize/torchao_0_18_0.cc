// torchao 0.18.0, the names of its config classes. Weights are bf16 (f16 where the format stores
// f16 scales); what is computed in f32 is said below. Compared bit by bit with the package in
// tests/formats/golden_test.cc.
#include <algorithm>
#include <cmath>

#include "formats/codec.h"
#include "quantize/torchao.h"

namespace lowbit {
namespace {

using torchao::arithmetic;
using torchao::smallest_normal;

Rounding weight_type(const Format& format) {
  if (format.scale == Scale::kF16) return as_f16;
  return format.scale == Scale::kE8M0 || format.scale == Scale::kE4M3 ? as_f32 : as_bf16;
}

// Int8Tensor and Float8Tensor: the largest magnitude is divided in bf16, all that follows is f32.
Grid int8(const Format& format, std::span<const float> w, std::span<uint32_t> codes) {
  const float scale = std::max(as_bf16(largest_magnitude_of(w) / 127.5f), torchao::kEpsF32);
  const float inverse = 1 / scale;
  encode_times(format, w, inverse, codes);
  return {scale, 0};
}
Grid float8(const Format& format, std::span<const float> w, std::span<uint32_t> codes) {
  const auto top = static_cast<float>(code_range(format).max);
  const float scale = as_bf16(largest_magnitude_of(w) / top);
  encode_over(format, w, scale, codes);
  return {scale, 0};
}

// RCEIL takes the logarithm in f32: a little above a power of two it can be one too small, and
// the codes then saturate.
Grid mx_rceil(const Format& format, std::span<const float> w, std::span<uint32_t> codes) {
  const auto top = static_cast<float>(code_range(format).max);
  const float ideal = largest_magnitude_of(w) / top;
  const float exponent =
      ideal == 0 ? -127.0f : std::clamp(std::ceil(std::log2(ideal)), -127.0f, 127.0f);
  // For the exponent's byte 0 it multiplies by 1, so that nothing overflows.
  const float inverse = exponent == -127 ? 1 : std::exp2(-exponent);
  encode_times(format, w, inverse, codes);
  return {std::exp2(exponent), 0};
}

Grid mx(const Format& format, std::span<const float> w, std::span<uint32_t> codes) {
  const Grid grid = choose_grid(format, w);
  const float divisor = std::max(grid.scale, 0x1p-126f);  // it has no subnormal scale
  encode_over(format, w, divisor, codes);
  return grid;
}

Grid nvfp4(const Format& format, std::span<const float> w, float outer, std::span<uint32_t> codes) {
  const float scale = outer == 0 ? 0 : choose_grid(format, w, outer).scale;
  const MiniFloat e4m3 = mini_float(Code::kE4M3);
  const auto stored =
      static_cast<float>(minifloat_to_double(e4m3, double_to_minifloat(e4m3, scale)));
  const float inverse = stored == 0 ? 0 : 1 / outer / stored;
  encode_times(format, w, inverse, codes);
  return {scale, 0};
}

Grid encode(const Format& format, std::span<const float> w, float outer,
            std::span<uint32_t> codes) {
  if (format.scale == Scale::kE8M0) {
    return format.rule == ScaleRule::kRceil ? mx_rceil(format, w, codes) : mx(format, w, codes);
  }
  if (format.scale == Scale::kE4M3) return nvfp4(format, w, outer, codes);
  if (is_mini_float(format.code)) return float8(format, w, codes);
  const float eps = smallest_normal(format);
  if (format.zero == Zero::kInt) return torchao::asymmetric(format, w, eps, codes);
  if (format.zero == Zero::kFloat) return torchao::tinygemm(format, w, eps, codes);
  return format.bits == 8 && format.scale == Scale::kF32
             ? int8(format, w, codes)
             : torchao::symmetric(format, w, eps, codes);
}

bool does(const Format& f) {
  if (!f.quantized()) return true;
  if (f.scale == Scale::kE8M0 || f.scale == Scale::kE4M3) return true;
  if (f.outer != Outer::kNone) return false;
  if (is_mini_float(f.code)) return f.bits == 8;
  return (f.code == Code::kInt && f.zero == Zero::kNone && f.rule != ScaleRule::kExtreme) ||
         (f.code == Code::kUInt && (f.zero == Zero::kInt || f.zero == Zero::kFloat));
}

}  // namespace

std::string torchao_0_18_0_refuses(const Format& target) {
  if (does(target)) return "";
  return not_done("torchao-0.18.0", "integers (-sym, -asym, -fzero), fp8, MX and nvfp4", target);
}

QTensor quantize_torchao_0_18_0(const QTensor& source, const Format& target,
                                const QuantizeContext& context) {
  check_does(context.tensor, torchao_0_18_0_refuses(target));
  constexpr ToolRule kRule = {.encode = encode, .weights = weight_type, .keep_later = true};
  return quantize_by_rule(source, target, context, kRule);
}

}  // namespace lowbit
