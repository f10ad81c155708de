#include "bench/ratio.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/file.h"
#include "base/rng.h"
#include "base/text.h"
#include "bench/compare.h"
#include "bench/live.h"
#include "bench/measure.h"
#include "bench/stats.h"

namespace lowbit {
namespace {

TEST(Ratio, OfKnownSamplesIsTheMedianOfAllPairs) {
  const std::vector<double> a = {1, 2, 4}, b = {4, 8, 16};
  // b / a: 4 8 16 2 4 8 1 2 4 in order 1 2 2 4 4 4 8 8 16.
  EXPECT_NEAR(ratio_of(a, b, 0.95).ratio, 4, 1e-9);
  EXPECT_FALSE(ratio_of(a, b, 0.95).known);  // 3 against 3 can show nothing at 95 %
}

// Walsh averages of log(b / a) = 0, 1, 3 (base 2): 0, 0.5, 1, 1.5, 2, 3.
TEST(Ratio, OfPairsIsTheMedianOfTheWalshAverages) {
  const std::vector<double> a = {1, 1, 1}, b = {1, 2, 8};
  EXPECT_NEAR(ratio_of_pairs(a, b, 0.95).ratio, std::exp2(1.25), 1e-9);
  EXPECT_FALSE(ratio_of_pairs(a, b, 0.95).known);
}

// Tables of critical values at 5 %, two-sided: rank sum U = 5 for 6 and 6, 23 for 10 and 10; signed
// rank T = 8 for n = 10, 52 for n = 20. The interval starts at the order statistic after it.
TEST(Ratio, IntervalsStartAtTheTabulatedOrderStatistics) {
  const auto powers = [](int n, double step) {
    std::vector<double> x;
    for (int i = 0; i < n; ++i) x.push_back(std::exp(step * i));
    std::rotate(x.begin(), x.begin() + n / 2, x.end());
    return x;
  };
  const auto nth = [](std::vector<double> x, size_t n) {
    std::sort(x.begin(), x.end());
    return x[n];
  };
  for (const auto& [n, u] : {std::pair{6, 5}, std::pair{9, 17}}) {
    const std::vector<double> a = powers(n, 1), b = powers(n, 1.37);
    std::vector<double> pairs;
    for (const double x : a) {
      for (const double y : b) pairs.push_back(y / x);
    }
    const Ratio ratio = ratio_of(a, b, 0.95);
    EXPECT_TRUE(ratio.known);
    EXPECT_NEAR(ratio.lo / nth(pairs, static_cast<size_t>(u)), 1, 1e-9) << n;
    EXPECT_NEAR(ratio.hi / nth(pairs, pairs.size() - 1 - static_cast<size_t>(u)), 1, 1e-9) << n;
  }
  const std::vector<double> one(9, 1), b = {3, 0.5, 2, 7, 0.25, 5, 11, 0.9, 1.7};
  std::vector<double> averages;
  for (size_t i = 0; i < b.size(); ++i) {
    for (size_t j = i; j < b.size(); ++j) averages.push_back(std::sqrt(b[i] * b[j]));
  }
  const Ratio ratio = ratio_of_pairs(one, b, 0.95);
  EXPECT_NEAR(ratio.lo / nth(averages, 5), 1, 1e-9);  // T = 5 for n = 9
}

TEST(Ratio, SignificanceAgreesWithTheInterval) {
  Rng rng(3);
  for (int trial = 0; trial < 300; ++trial) {
    std::vector<double> a, b;
    for (int i = 0; i < 12; ++i) {
      a.push_back(1 + 0.1 * double{rng.next_uniform()});
      b.push_back(1.03 + 0.1 * double{rng.next_uniform()});
    }
    const Ratio ratio = ratio_of(a, b, 0.95);
    EXPECT_EQ(ratio.differs(), ratio.p < 0.05) << ratio.p << " " << ratio.lo << " " << ratio.hi;
  }
}

TEST(Ratio, EqualSamplesDoNotDiffer) {
  const std::vector<double> a(20, 0.25);
  for (const Ratio& ratio : {ratio_of(a, a, 0.95), ratio_of_pairs(a, a, 0.95)}) {
    EXPECT_NEAR(ratio.ratio, 1, 1e-9);
    EXPECT_FALSE(ratio.differs());
    EXPECT_GT(ratio.p, 0.9);
  }
}

// Seconds per decode step of consecutive runs (tests/golden/noise says of what, and where).
std::vector<double> recorded_noise(const char* name) {
  std::vector<double> values;
  const Bytes file =
      map_file(std::string(LB_SOURCE_DIR) + "/tests/golden/noise/" + std::string(name));
  for (const std::string_view line : split(file.text(), '\n')) {
    if (!line.empty() && line.front() != '#') values.push_back(*parse_double(line));
  }
  return values;
}

#ifdef LB_SANITIZED
constexpr int kTrials = 20, kEnough = 17;  // ten times slower
#else
constexpr int kTrials = 200, kEnough = 185;
#endif
constexpr double kSlowDown = 1.01;

std::vector<RunTiming> as_runs(std::span<const double> seconds) {
  std::vector<RunTiming> runs;
  for (const double s : seconds) runs.push_back({s, s, s, 1});
  return runs;
}

// One stored result: stretches of eight consecutive runs from anywhere in the recording, until the
// interval has the default width. What changes from minute to minute is in no stored result's
// interval (docs/measuring.md); what changes from run to run is.
std::vector<double> stored_result(const std::vector<double>& noise, Rng* rng) {
  constexpr size_t kStretch = 8;
  std::vector<double> samples;
  size_t next_look = 40;
  do {
    const size_t at = rng->next() % (noise.size() - kStretch);
    samples.insert(samples.end(), noise.begin() + static_cast<std::ptrdiff_t>(at),
                   noise.begin() + static_cast<std::ptrdiff_t>(at + kStretch));
    if (samples.size() < next_look) continue;
    if (precise_enough(as_runs(samples), SpeedOptions{})) break;
    next_look = samples.size() * 11 / 10;
  } while (samples.size() < 4000);
  return samples;
}

// A live comparison: consecutive runs of the recording, in pairs of random order.
Ratio live_result(const std::vector<double>& noise, double slow_down, Rng* rng) {
  const LiveOptions options;
  std::vector<RunTiming> a, b;
  size_t at = rng->next() % (noise.size() / 2);
  do {
    double pair[] = {noise[at], noise[at + 1]};
    if (rng->next() & 1) std::swap(pair[0], pair[1]);
    a.push_back({pair[0], pair[0], pair[0], 1});
    b.push_back({pair[1] * slow_down, pair[1] * slow_down, pair[1] * slow_down, 1});
    at += 2;
  } while (at + 1 < noise.size() && (a.size() % 20 != 0 || !precise_pairs(a, b, options)));
  std::vector<double> x, y;
  for (const RunTiming& run : a) x.push_back(run.decode);
  for (const RunTiming& run : b) y.push_back(run.decode);
  return ratio_of_pairs(x, y, options.confidence);
}

class Noise : public testing::TestWithParam<const char*> {};

TEST_P(Noise, StoredResultsShowOnePercentAndNothingWhereNothingIs) {
  const std::vector<double> noise = recorded_noise(GetParam());
  Rng rng(1);
  int silent = 0, found = 0;
  for (int trial = 0; trial < kTrials; ++trial) {
    const std::vector<double> a = stored_result(noise, &rng);
    std::vector<double> b = stored_result(noise, &rng);
    const double confidence = CompareOptions{}.confidence;
    silent += !ratio_of(a, b, confidence).differs();
    for (double& x : b) x *= kSlowDown;
    found += ratio_of(a, b, confidence).lo > 1;
  }
  EXPECT_GE(silent, kEnough);
  EXPECT_GE(found, kEnough);
}

TEST_P(Noise, LivePairsShowOnePercentAndNothingWhereNothingIs) {
  const std::vector<double> noise = recorded_noise(GetParam());
  Rng rng(2);
  int silent = 0, found = 0;
  for (int trial = 0; trial < kTrials; ++trial) {
    silent += !live_result(noise, 1, &rng).differs();
    found += live_result(noise, kSlowDown, &rng).lo > 1;
  }
  EXPECT_GE(silent, kEnough);
  EXPECT_GE(found, kEnough);
}

// What counting each run of a slow second would do to the same recording.
TEST_P(Noise, IgnoringThatNeighboursAreAlikeWouldFindWhatIsNotThere) {
  const std::vector<double> noise = recorded_noise(GetParam());
  EXPECT_GT(autocorrelation_time(noise), 100);
  std::vector<double> shuffled = noise;
  Rng rng(4);
  for (size_t i = shuffled.size(); i > 1; --i) std::swap(shuffled[i - 1], shuffled[rng.next() % i]);
  EXPECT_LT(autocorrelation_time(shuffled), 1.5);
  EXPECT_GT(series_estimate(noise).relative_width(),
            10 * series_estimate(shuffled).relative_width());
}

INSTANTIATE_TEST_SUITE_P(Recorded, Noise, testing::Values("one-thread.txt", "two-threads.txt"));

}  // namespace
}  // namespace lowbit
