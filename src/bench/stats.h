// What repeated measurements are worth. All intervals are two-sided 95 % unless a
// confidence is given.
#pragma once

#include <cstdint>
#include <span>

namespace lowbit {

// One number with its interval. Several samples: their median. An exact number (bytes): lo = hi,
// n = 1. An average over tokens (perplexity): the average, n = tokens.
struct Estimate {
  double median = 0, lo = 0, hi = 0;
  int64_t n = 0;

  double half_width() const { return (hi - lo) / 2; }
  // Width of the interval as a fraction of the median.
  double relative_width() const {
    return median == 0 ? 0 : (hi - lo) / (median < 0 ? -median : median);
  }
  bool operator==(const Estimate&) const = default;
};

Estimate exact(double value);

double mean(std::span<const double> samples);
double standard_deviation(std::span<const double> samples);  // n - 1 below the line; 0 for n < 2

// The q-quantile, 0 <= q <= 1, linear between order statistics (R's type 7, numpy's default).
double quantile(std::span<const double> samples, double q);
double median(std::span<const double> samples);

// The q-quantile of the distribution the samples come from, with the interval between two order
// statistics: no assumption about the distribution. lo is the largest order statistic below which
// the quantile lies with at most 2.5 % probability, hi the mirror image. Where there are too few
// samples for that (for the median: n < 6), the extremes stand in: for n = 5 they cover the median
// with 93.75 %, for n = 2 with 50 %.
Estimate quantile_estimate(std::span<const double> samples, double q);
Estimate median_estimate(std::span<const double> samples);

// How many consecutive samples carry what one independent sample would: 1 + 2 * the sum of the
// autocorrelations of their ranks, summed in pairs while those are positive (Geyer 1992). At least
// 1; 1 for fewer than ten samples, where it cannot be known.
double autocorrelation_time(std::span<const double> samples);

// The median of measurements in the order they were taken, with the interval that as many
// independent samples would have as these are worth. A machine that is slow for a second is slow
// for many runs in a row: counting each of them would make the interval too narrow.
Estimate series_estimate(std::span<const double> samples);

// How likely so clear a rise or fall is by chance, if the order of a few samples means nothing:
// Kendall's test against time, exact and two-sided. Ties speak against a trend. 1 for none at all.
double trend_probability(std::span<const double> samples);

// z of a two-sided normal interval: 1.96 for 0.95.
double normal_quantile(double confidence);

// A mean over many values (n > 30) and its normal interval, mean +- 1.96 standard errors.
Estimate mean_estimate(double mean, double standard_error, int64_t n);

// A fraction `hits` / `n` and its Wilson score interval (Wilson 1927): never outside [0, 1].
Estimate fraction_estimate(int64_t hits, int64_t n);

}  // namespace lowbit
