// A search for the grid of least squared error: candidates around the rule's grid, then straight
// lines fitted to the codes of the best (Lloyd's algorithm with evenly spaced levels).
#include <algorithm>
#include <cmath>

#include "formats/codec.h"
#include "quantize/grid.h"
#include "quantize/quantizer.h"

namespace lowbit {
namespace {

// The best of the grids it was shown, each as it would be stored.
class Search {
 public:
  Search(const Format& format, const BlockNumbers& block) : format_(format), block_(block) {}

  bool offer(const Grid& grid) {  // true if it is the best so far
    const BlockParams stored = stored_params(format_, grid, block_.outer);
    if (!finite(stored)) return false;
    if (tried_ && stored.scale == last_.scale && stored.shift == last_.shift &&
        stored.offset == last_.offset) {
      return false;  // rounded to the same
    }
    last_ = stored;
    const double error = fast_squared_error(format_, block_, stored);
    const bool better = !tried_ || error < error_;
    tried_ = true;
    if (!better) return false;
    grid_ = grid;
    stored_ = stored;
    error_ = error;
    return true;
  }

  const Grid& grid() const { return grid_; }
  const BlockParams& stored() const { return stored_; }
  double error() const { return error_; }

 private:
  const Format& format_;
  const BlockNumbers& block_;
  Grid grid_;
  BlockParams stored_, last_;
  double error_ = 0;
  bool tried_ = false;
};

// Sums over a block of c, c q, c q^2, c w, c w q; c the importance, q the code's number.
struct Moments {
  double n = 0, q = 0, qq = 0, w = 0, wq = 0;
};

Moments moments(const Format& format, const BlockNumbers& block, const BlockParams& p) {
  const std::span<const double> table = code_table(format);
  Moments sums;
  for (size_t i = 0; i < block.w.size(); ++i) {
    const double q = table[nearest_code(format, p, block.w[i])], w = block.w[i];
    const double c = block.importance.empty() ? 1 : block.importance[i];
    sums.n += c;
    sums.q += c * q;
    sums.qq += c * q * q;
    sums.w += c * w;
    sums.wq += c * w * q;
  }
  return sums;
}

// The grid that fits the codes of `p` best, by least squares. False if they do not determine one.
bool fit(const Format& format, const BlockNumbers& block, const BlockParams& p,
         AffineGrid* fitted) {
  const Moments m = moments(format, block, p);
  if (format.zero == Zero::kNone || format.zero == Zero::kInt) {
    const double z = format.zero == Zero::kInt ? p.shift : 0;
    const double below = m.qq - 2 * z * m.q + z * z * m.n;
    if (!(below > 0)) return false;
    *fitted = {(m.wq - z * m.w) / below / block.outer, z};
  } else {
    const double below = m.n * m.qq - m.q * m.q;
    if (!(below > 0)) return false;
    const double scale = (m.n * m.wq - m.q * m.w) / below;
    const double offset = (m.w - scale * m.q) / m.n;
    *fitted = {scale, -offset / scale};
  }
  return std::isfinite(fitted->scale) && std::isfinite(fitted->shift) && fitted->scale != 0;
}

// Factors of the rule's scale. Clipping pays with few bits; a mean is far below the best ternary
// scale.
struct Factors {
  double from, to, step;
};
Factors factors_of(const Format& format) {
  if (format.rule == ScaleRule::kMean) return {0.5, 2.6, 0.05};
  if (is_mini_float(format.code)) return {0.5, 1.6, 0.025};
  return format.bits > 5 ? Factors{0.8, 1.16, 0.01} : Factors{0.3, 1.16, 0.02};
}

void offer_factors(const Format& format, const Grid& rule, Search* search) {
  const Factors factors = factors_of(format);
  const bool zeroed = format.zero != Zero::kNone;
  const AffineGrid at = to_affine(format, rule);
  const double center = (code_range(format).min + code_range(format).max) / 2;
  const auto steps = static_cast<int>((factors.to - factors.from) / factors.step);
  for (int i = 0; i <= steps; ++i) {
    const double factor = factors.from + i * factors.step;
    const double scale = at.scale * factor;
    // Shrunk about the middle of the range, and about the number 0 where it must be on the grid.
    if (zeroed) {
      search->offer(to_grid(format, {scale, center - (center - at.shift) / factor}));
    }
    if (!zeroed || format.zero == Zero::kInt) search->offer(to_grid(format, {scale, at.shift}));
    if (format.rule == ScaleRule::kExtreme) search->offer({static_cast<float>(-scale), 0});
  }
}

void offer_powers(const Grid& rule, Search* search) {
  for (int exponent = -2; exponent <= 1; ++exponent) {
    search->offer({std::ldexp(rule.scale, exponent), 0});
  }
}

void refine(const Format& format, const BlockNumbers& block, Search* search) {
  constexpr int kRounds = 6;
  for (int round = 0; round < kRounds; ++round) {
    AffineGrid fitted;
    if (!fit(format, block, search->stored(), &fitted)) return;
    bool better = search->offer(to_grid(format, fitted));
    if (format.zero == Zero::kInt) {
      const AffineGrid at = to_affine(format, search->grid());
      better |= search->offer(to_grid(format, {at.scale, at.shift - 1}));
      better |= search->offer(to_grid(format, {at.scale, at.shift + 1}));
    }
    if (!better) return;
  }
}

}  // namespace

Grid search_grid(const Format& format, const BlockNumbers& block) {
  const Grid rule = choose_grid(format, block.w, block.outer);
  Search search(format, block);
  search.offer(rule);
  // Nothing to gain, or nothing to shrink: one number, or a scale that underflows.
  if (search.error() == 0 || rule.scale == 0 || !finite(search.stored())) return rule;
  if (format.scale == Scale::kE8M0) {
    offer_powers(rule, &search);
  } else {
    offer_factors(format, rule, &search);
    refine(format, block, &search);
  }
  const double before = squared_error(format, block, stored_params(format, rule, block.outer));
  return squared_error(format, block, search.stored()) < before ? search.grid() : rule;
}

QTensor quantize_mse(const QTensor& source, const Format& target, const QuantizeContext& context) {
  if (just_converts(source, target)) return quantize_rtn(source, target, context);
  return quantize_blocks(source, target, context.tensor, {.choose = search_grid});
}

QTensor quantize_importance(const QTensor& source, const Format& target,
                            const QuantizeContext& context) {
  if (just_converts(source, target)) return quantize_rtn(source, target, context);
  const InputStats& inputs = need_inputs(context, "importance", Needs::kInputStats, source.k);
  return quantize_blocks(source, target, context.tensor,
                         {.choose = search_grid, .importance = inputs.mean_square});
}

}  // namespace lowbit
