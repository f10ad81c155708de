// How much one thing takes of what another takes, from repeated measurements of both: the ratio
// B / A with its interval and its significance, without an assumption about the noise.
#pragma once

#include <span>

namespace lowbit {

struct Ratio {
  double ratio = 1, lo = 0, hi = 0;
  double p = 1;        // of a difference this large, or larger, where there is none
  bool known = false;  // false: too few samples for an interval of this confidence

  bool differs() const { return known && (lo > 1 || hi < 1); }
};

// Measured one after the other. The ratio is that of Hodges and Lehmann: the median of b / a over
// all pairs; the interval holds those ratios that the rank sum test of Mann and Whitney does not
// reject. Both count samples by what they are worth (autocorrelation_time). All must be positive.
Ratio ratio_of(std::span<const double> a, std::span<const double> b, double confidence);

// Measured in turns: a[i] beside b[i]. The median of the Walsh averages of log(b[i] / a[i]); the
// interval is that of Wilcoxon's signed rank test. What slows both of a pair cancels.
Ratio ratio_of_pairs(std::span<const double> a, std::span<const double> b, double confidence);

}  // namespace lowbit
