// torchao 0.9.0, the last version with every name of its Llama harness. It computes in the type of
// the weights, which is the one it stores scales in: so the format's scale says which. (float8dq
// stores as f32 what it computed in bf16.) Compared bit by bit with the package in
// tests/formats/golden_test.cc.
#include <algorithm>
#include <cmath>

#include "formats/codec.h"
#include "quantize/torchao.h"

namespace lowbit {
namespace torchao {

Rounding arithmetic(const Format& format) {
  if (format.scale == Scale::kF16) return as_f16;
  return format.scale == Scale::kF32 && !is_mini_float(format.code) ? as_f32 : as_bf16;
}

namespace {

struct Range {
  float lo, hi;
};
Range range_of(std::span<const float> w) {
  const auto [lo, hi] = std::minmax_element(w.begin(), w.end());
  return {*lo, *hi};
}
Range range_with_0(std::span<const float> w) {
  const Range r = range_of(w);
  return {std::min(r.lo, 0.0f), std::max(r.hi, 0.0f)};
}

}  // namespace

Grid symmetric(const Format& format, std::span<const float> w, float eps,
               std::span<uint32_t> codes) {
  const Rounding r = arithmetic(format);
  const CodeRange q = code_range(format);
  const Range range = range_with_0(w);
  const float scale =
      std::max(r(std::max(-range.lo, range.hi) / static_cast<float>((q.max - q.min) / 2)), r(eps));
  const float inverse = r(1 / scale);
  for (size_t i = 0; i < w.size(); ++i) codes[i] = code_of(format, r(w[i] * inverse));
  return {scale, 0};
}

Grid asymmetric(const Format& format, std::span<const float> w, float eps,
                std::span<uint32_t> codes) {
  const Rounding r = arithmetic(format);
  const auto top = static_cast<float>(code_range(format).max);
  const Range range = range_with_0(w);
  const float scale = std::max(r(r(range.hi - range.lo) / top), r(eps));
  const float zero = std::clamp(-std::nearbyint(r(range.lo / scale)), 0.0f, top);
  const float inverse = r(1 / scale);
  for (size_t i = 0; i < w.size(); ++i) {
    codes[i] = code_of(format, r(std::nearbyint(r(w[i] * inverse)) + zero));
  }
  return {scale, zero};
}

Grid tinygemm(const Format& format, std::span<const float> w, float eps,
              std::span<uint32_t> codes) {
  const Rounding r = arithmetic(format);
  const auto top = static_cast<float>(code_range(format).max);
  const float middle = (top + 1) / 2;
  const Range range = range_of(w);
  const float scale = std::max(r(r(range.hi - range.lo) / top), r(eps));
  const float zero = r(range.lo + r(scale * middle));
  const float low = r(zero - r(scale * middle));
  for (size_t i = 0; i < w.size(); ++i) {
    codes[i] = code_of(format, r(r(w[i] - low) / scale));
  }
  return {scale, zero};
}

}  // namespace torchao

namespace {

Grid float8(const Format& format, std::span<const float> w, std::span<uint32_t> codes) {
  const Rounding r = torchao::arithmetic(format);
  const auto top = static_cast<float>(code_range(format).max);
  const float scale = std::max(r(largest_magnitude_of(w) / top), torchao::kEpsF32);
  const Rounding then = format.scale == Scale::kF32 ? as_f32 : r;
  const float inverse = then(1 / scale);
  for (size_t i = 0; i < w.size(); ++i) codes[i] = code_of(format, then(w[i] * inverse));
  return {scale, 0};
}

// 3 to 6 bits: the scale from f32, rounded before it divides.
Grid floatx(const Format& format, std::span<const float> w, std::span<uint32_t> codes) {
  const auto top = static_cast<float>(code_range(format).max);
  const float amax = std::max(largest_magnitude_of(w), 1e-12f);
  const float scale = torchao::arithmetic(format)(amax / top);
  encode_over(format, w, scale, codes);
  return {scale, 0};
}

Grid encode(const Format& format, std::span<const float> w, float, std::span<uint32_t> codes) {
  if (is_mini_float(format.code)) {
    return format.bits == 8 ? float8(format, w, codes) : floatx(format, w, codes);
  }
  if (format.zero == Zero::kInt) return torchao::asymmetric(format, w, torchao::kEpsF32, codes);
  if (format.zero == Zero::kFloat) return torchao::tinygemm(format, w, 1e-6f, codes);
  return torchao::symmetric(format, w, format.sparse24 ? 1e-6f : torchao::kEpsF32, codes);
}

bool does(const Format& f) {
  if (f.id == FormatId::kQqq) return true;
  if (!f.quantized() || f.outer != Outer::kNone) return !f.quantized();
  const bool plain_scale =
      f.scale == Scale::kF32 || f.scale == Scale::kF16 || f.scale == Scale::kBF16;
  const bool integer = (f.code == Code::kInt && f.zero == Zero::kNone) ||
                       (f.code == Code::kUInt && (f.zero == Zero::kInt || f.zero == Zero::kFloat));
  return plain_scale && (integer || is_mini_float(f.code));
}

}  // namespace

std::string torchao_0_9_0_refuses(const Format& target) {
  if (does(target)) return "";
  return not_done("torchao-0.9.0", "integers (-sym, -asym, -fzero) and fp8 to fp3, qqq", target);
}

QTensor quantize_torchao_0_9_0(const QTensor& source, const Format& target,
                               const QuantizeContext& context) {
  check_does(context.tensor, torchao_0_9_0_refuses(target));
  if (target.id == FormatId::kQqq) return quantize_rtn(source, target, context);  // its rule
  constexpr ToolRule kRule = {.encode = encode, .weights = torchao::arithmetic, .keep_later = true};
  return quantize_by_rule(source, target, context, kRule);
}

}  // namespace lowbit
