#include "bench/stats.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/rng.h"

namespace lowbit {
namespace {

std::vector<double> one_to(int n) {
  std::vector<double> values;
  for (int i = n; i >= 1; --i) values.push_back(i);  // not sorted on purpose
  return values;
}

TEST(Stats, MeanDeviationAndQuantilesOfKnownSamples) {
  const std::vector<double> x = {2, 4, 4, 4, 5, 5, 7, 9};
  EXPECT_DOUBLE_EQ(mean(x), 5);
  EXPECT_DOUBLE_EQ(standard_deviation(x), std::sqrt(32.0 / 7));
  EXPECT_DOUBLE_EQ(median(x), 4.5);
  EXPECT_DOUBLE_EQ(quantile(x, 0), 2);
  EXPECT_DOUBLE_EQ(quantile(x, 1), 9);
  EXPECT_DOUBLE_EQ(quantile(x, 0.9), 7.6);  // numpy.quantile
  EXPECT_DOUBLE_EQ(median(std::vector<double>{3}), 3);
  EXPECT_DOUBLE_EQ(standard_deviation(std::vector<double>{3}), 0);
}

// Ranks from the table of Conover, Practical Nonparametric Statistics: the largest l with
// P(binomial(n, 1/2) < l) <= 0.025, and n + 1 - l.
TEST(Stats, IntervalOfTheMedianLiesBetweenTheTabulatedOrderStatistics) {
  const struct {
    int n, lo, hi;
  } kRows[] = {{6, 1, 6},   {7, 1, 7},   {8, 1, 8},   {9, 2, 8},    {10, 2, 9},
               {15, 4, 12}, {20, 6, 15}, {25, 8, 18}, {50, 18, 33}, {100, 40, 61}};
  for (const auto& row : kRows) {
    const Estimate e = median_estimate(one_to(row.n));
    EXPECT_EQ(e.lo, row.lo) << row.n;
    EXPECT_EQ(e.hi, row.hi) << row.n;
    EXPECT_EQ(e.median, (row.n + 1) / 2.0) << row.n;
    EXPECT_EQ(e.n, row.n);
  }
}

TEST(Stats, BelowSixSamplesTheIntervalIsTheRange) {
  for (int n = 1; n < 6; ++n) {
    const Estimate e = median_estimate(one_to(n));
    EXPECT_EQ(e.lo, 1);
    EXPECT_EQ(e.hi, n);
  }
}

// Kendall's distribution as tables have it (n = 5: S = 10 in 0.0083 of the orders, S = 8 in
// 0.0417).
TEST(Stats, AClearTrendIsAsUnlikelyAsTheTablesSay) {
  using Samples = std::vector<double>;
  EXPECT_NEAR(trend_probability(Samples{1, 2, 3, 4, 5}), 2 * 0.00833, 1e-4);
  EXPECT_NEAR(trend_probability(Samples{5, 4, 3, 2, 1}), 2 * 0.00833, 1e-4);
  EXPECT_NEAR(trend_probability(Samples{1, 2, 3, 5, 4}), 2 * 0.0417, 1e-4);
  EXPECT_NEAR(trend_probability(Samples{1, 2, 4, 3, 5, 7, 6, 8}), 2 * 0.00087, 1e-4);
  EXPECT_DOUBLE_EQ(trend_probability(Samples{1, 1, 1, 1, 1}), 1);  // no order at all
  EXPECT_DOUBLE_EQ(trend_probability(Samples{}), 1);
}

// Share of 4000 experiments whose interval holds the true quantile.
double coverage(int n, double q, double truth, double (*draw)(Rng&)) {
  Rng rng(static_cast<uint64_t>(n));
  int hits = 0;
  constexpr int kTrials = 4000;
  for (int trial = 0; trial < kTrials; ++trial) {
    std::vector<double> x;
    for (int i = 0; i < n; ++i) x.push_back(draw(rng));
    const Estimate e = quantile_estimate(x, q);
    hits += e.lo <= truth && truth <= e.hi;
  }
  return static_cast<double>(hits) / kTrials;
}

double exponential(Rng& rng) { return -std::log(1 - double{rng.next_uniform()}); }

// Timings look like this: a floor and a long tail. The binomial standard error of the share is
// 0.0034, so 0.94 leaves three of them.
TEST(Stats, IntervalCoversTheTrueQuantileInAtLeast95PercentOfSimulations) {
  for (const int n : {6, 9, 20, 51}) {
    EXPECT_GE(coverage(n, 0.5, std::log(2.0), exponential), 0.94) << n;
    EXPECT_LE(coverage(n, 0.5, std::log(2.0), exponential), 0.995) << n;  // not needlessly wide
  }
  EXPECT_GE(coverage(400, 0.99, -std::log(0.01), exponential), 0.94);
}

TEST(Stats, FiveSamplesCoverTheMedianAsOftenAsDocumented) {
  EXPECT_NEAR(coverage(5, 0.5, std::log(2.0), exponential), 0.9375, 0.012);
  EXPECT_NEAR(coverage(2, 0.5, std::log(2.0), exponential), 0.5, 0.025);
}

TEST(Stats, IntervalIgnoresOneWildOutlier) {
  std::vector<double> x = one_to(20);
  x.push_back(1e9);
  EXPECT_LE(median_estimate(x).hi, 16);
}

// Runs of `length` equal draws: each run is worth one sample.
std::vector<double> runs_of(int length, int runs) {
  Rng rng(static_cast<uint64_t>(length));
  std::vector<double> x;
  for (int run = 0; run < runs; ++run) {
    x.insert(x.end(), static_cast<size_t>(length), exponential(rng));
  }
  return x;
}

TEST(Stats, AutocorrelationTimeIsTheLengthOfRunsOfEqualSamples) {
  EXPECT_NEAR(autocorrelation_time(runs_of(1, 4000)), 1, 0.2);
  EXPECT_NEAR(autocorrelation_time(runs_of(10, 2000)), 10, 1.5);
  EXPECT_EQ(autocorrelation_time(std::vector<double>(50, 3.0)), 1);
  EXPECT_EQ(autocorrelation_time(one_to(9)), 1);     // too few to know
  EXPECT_GT(autocorrelation_time(one_to(100)), 20);  // a steady drift is worth few samples
}

TEST(Stats, SeriesEstimateCountsSamplesByWhatTheyAreWorth) {
  const std::vector<double> independent = runs_of(1, 40);
  EXPECT_EQ(median_estimate(independent).median, series_estimate(independent).median);
  int hits = 0, naive = 0;
  for (int trial = 0; trial < 400; ++trial) {
    Rng rng(static_cast<uint64_t>(trial), 7);
    std::vector<double> x;
    for (int run = 0; run < 60; ++run) x.insert(x.end(), 5, exponential(rng));
    const Estimate honest = series_estimate(x), narrow = median_estimate(x);
    hits += honest.lo <= std::log(2.0) && std::log(2.0) <= honest.hi;
    naive += narrow.lo <= std::log(2.0) && std::log(2.0) <= narrow.hi;
  }
  EXPECT_GE(hits, 366);   // 91.5 %: the length of the runs is itself estimated
  EXPECT_LE(naive, 300);  // what the plain interval would have promised as 95 %
}

TEST(Stats, NormalQuantileMatchesTables) {
  EXPECT_NEAR(normal_quantile(0.95), 1.959964, 1e-6);
  EXPECT_NEAR(normal_quantile(0.99), 2.575829, 1e-6);
}

TEST(Stats, FractionStaysInRangeAndMatchesWilson) {
  const Estimate all = fraction_estimate(50, 50);
  EXPECT_EQ(all.median, 1);
  EXPECT_EQ(all.hi, 1);
  EXPECT_NEAR(all.lo, 0.92865, 1e-4);                // 1 / (1 + 1.96^2 / 50)
  const Estimate some = fraction_estimate(81, 263);  // Newcombe 1998, table I
  EXPECT_NEAR(some.lo, 0.2553, 1e-4);
  EXPECT_NEAR(some.hi, 0.3662, 1e-4);
}

TEST(Stats, MeanEstimateIsTheNormalInterval) {
  const Estimate e = mean_estimate(10, 0.5, 400);
  EXPECT_NEAR(e.lo, 10 - 0.98, 1e-4);
  EXPECT_NEAR(e.hi, 10 + 0.98, 1e-4);
  EXPECT_NEAR(e.half_width(), 0.98, 1e-4);
  EXPECT_NEAR(e.relative_width(), 0.196, 1e-5);
}

}  // namespace
}  // namespace lowbit
