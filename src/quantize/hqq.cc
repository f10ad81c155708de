// Half-quadratic quantization of one block at a time: the least l_p norm of w - w_r over the zero z
// is sought by turns,
//   e = shrink(w - w_r),  shrink(x) = sign(x) max(0, |x| - |x|^(p - 1) / beta)
//   z = mean(q - (w - e) / s),
// with beta growing from round to round. Source: the article that quantizer.h names.
#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "quantize/grid.h"
#include "quantize/quantizer.h"

namespace lowbit {
namespace {

constexpr float kP = 0.7f, kBeta = 10, kGrowth = 1.01f;
constexpr int kRounds = 20;

float shrink(float x, float beta) {
  const float size = std::abs(x);
  if (size == 0) return 0;
  return std::copysign(std::max(0.0f, size - std::pow(size, kP - 1) / beta), x);
}

struct Round {
  double error;  // mean |w - w_r| on the grid that the round began with
  double shift;  // the next one
};

Round next_round(const Format& format, const BlockNumbers& block, const BlockParams& p,
                 float beta) {
  const auto top = static_cast<float>(code_range(format).max);
  const auto scale = static_cast<float>(p.scale), inverse = static_cast<float>(1 / p.scale);
  const auto shift = static_cast<float>(p.shift - p.offset / p.scale);
  // Where shrink() gives 0 whatever the sign: |x| <= |x|^(p - 1) / beta.
  const float threshold = std::pow(beta, -1 / (2 - kP));
  double errors = 0, shifts = 0;
  for (const float w : block.w) {
    const float q = std::clamp(std::nearbyint(w * inverse + shift), 0.0f, top);
    const float x = w - (q - shift) * scale;
    errors += std::abs(x);
    const float e = std::abs(x) < threshold ? 0 : shrink(x, beta);
    shifts += q - (w - e) * inverse;
  }
  const auto count = static_cast<double>(block.w.size());
  return {errors / count, shifts / count};
}

Grid hqq_grid(const Format& format, const BlockNumbers& block) {
  const Grid rule = choose_grid(format, block.w, block.outer);
  Grid best = rule;
  BlockParams stored = stored_params(format, rule);
  if (stored.scale == 0 || !finite(stored)) return rule;
  const double scale = rule.scale;
  double least = -1;
  float beta = kBeta;
  Grid grid = rule;
  for (int round = 0; round < kRounds; ++round, beta *= kGrowth) {
    const Round next = next_round(format, block, stored, beta);
    if (least < 0 || next.error < least) {
      least = next.error;
      best = grid;
    }
    grid = to_grid(format, {scale, next.shift});
    const BlockParams moved = stored_params(format, grid);
    if (!finite(moved) || (moved.shift == stored.shift && moved.offset == stored.offset)) break;
    stored = moved;
  }
  return best;
}

}  // namespace

std::string hqq_refuses(const Format& target) {
  if (target.zero != Zero::kNone) return levels_refuse(target);
  return fmt::format(
      "hqq moves the zero of a format and {} has none; int formats have one with -fzero, -rzero or "
      "-asym, and mse searches a scale",
      name(target));
}

QTensor quantize_hqq(const QTensor& source, const Format& target, const QuantizeContext& context) {
  if (just_converts(source, target)) return quantize_rtn(source, target, context);
  check_takes(target, source.n, source.k, context.tensor);
  check_does(context.tensor, hqq_refuses(target));
  return quantize_blocks(source, target, context.tensor, {.choose = hqq_grid});
}

}  // namespace lowbit
