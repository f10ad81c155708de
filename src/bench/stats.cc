#include "bench/stats.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/check.h"

namespace lowbit {
namespace {

constexpr double kTail = 0.025;
constexpr double kNormal = 1.959963984540054;  // 97.5 % point of the normal distribution

std::vector<double> sorted(std::span<const double> samples) {
  std::vector<double> values(samples.begin(), samples.end());
  std::sort(values.begin(), values.end());
  return values;
}

double quantile_of_sorted(const std::vector<double>& values, double q) {
  const double at = q * static_cast<double>(values.size() - 1);
  const auto low = static_cast<size_t>(at);
  const size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (at - static_cast<double>(low)) * (values[high] - values[low]);
}

// The index of the largest order statistic that exceeds the q-quantile with at most kTail
// probability; 0 if there is none. Order statistic i does so when at most i of the n samples fall
// below the quantile, and how many do is binomial(n, q).
int64_t low_index(int64_t n, double q) {
  const double log_q = std::log(q), log_rest = std::log1p(-q), total = static_cast<double>(n);
  double at_most_i = 0;  // probability that at most i samples fall below the quantile
  for (int64_t i = 0; i < n; ++i) {
    const auto x = static_cast<double>(i);
    at_most_i += std::exp(std::lgamma(total + 1) - std::lgamma(x + 1) - std::lgamma(total - x + 1) +
                          x * log_q + (total - x) * log_rest);
    if (at_most_i > kTail) return std::max<int64_t>(i - 1, 0);
  }
  return n - 1;
}

// Each sample's rank less the mean rank; equal samples share the mean of theirs.
std::vector<double> centered_ranks(std::span<const double> samples) {
  std::vector<size_t> order(samples.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return samples[a] < samples[b]; });
  std::vector<double> ranks(samples.size());
  const double center = static_cast<double>(samples.size() - 1) / 2;
  for (size_t i = 0, end; i < order.size(); i = end) {
    for (end = i + 1; end < order.size() && samples[order[end]] == samples[order[i]];) ++end;
    for (size_t j = i; j < end; ++j)
      ranks[order[j]] = static_cast<double>(i + end - 1) / 2 - center;
  }
  return ranks;
}

}  // namespace

Estimate exact(double value) { return {value, value, value, 1}; }

double mean(std::span<const double> samples) {
  LB_CHECK(!samples.empty());
  return std::accumulate(samples.begin(), samples.end(), 0.0) / static_cast<double>(samples.size());
}

double standard_deviation(std::span<const double> samples) {
  if (samples.size() < 2) return 0;
  const double center = mean(samples);
  double squares = 0;
  for (const double x : samples) squares += (x - center) * (x - center);
  return std::sqrt(squares / static_cast<double>(samples.size() - 1));
}

double quantile(std::span<const double> samples, double q) {
  LB_CHECK(!samples.empty() && 0 <= q && q <= 1, "{} samples, q = {}", samples.size(), q);
  return quantile_of_sorted(sorted(samples), q);
}

double median(std::span<const double> samples) { return quantile(samples, 0.5); }

Estimate quantile_estimate(std::span<const double> samples, double q) {
  LB_CHECK(!samples.empty() && 0 < q && q < 1, "{} samples, q = {}", samples.size(), q);
  const std::vector<double> values = sorted(samples);
  const auto n = static_cast<int64_t>(values.size());
  const auto lo = static_cast<size_t>(low_index(n, q));
  const auto hi = static_cast<size_t>(n - 1 - low_index(n, 1 - q));
  return {quantile_of_sorted(values, q), values[lo], values[hi], n};
}

Estimate median_estimate(std::span<const double> samples) {
  return quantile_estimate(samples, 0.5);
}

double autocorrelation_time(std::span<const double> samples) {
  const auto n = static_cast<int64_t>(samples.size());
  if (n < 10) return 1;
  const std::vector<double> ranks = centered_ranks(samples);
  double variance = 0;
  for (const double r : ranks) variance += r * r;
  if (variance == 0) return 1;
  const auto covariance = [&](int64_t lag) {
    double sum = 0;
    for (int64_t i = 0; i + lag < n; ++i) {
      sum += ranks[static_cast<size_t>(i)] * ranks[static_cast<size_t>(i + lag)];
    }
    return sum;
  };
  double time = -1;
  for (int64_t lag = 0; lag + 1 < n / 2; lag += 2) {
    const double pair = (covariance(lag) + covariance(lag + 1)) / variance;
    if (pair <= 0) break;
    time += 2 * pair;
  }
  return std::clamp(time, 1.0, static_cast<double>(n));
}

Estimate series_estimate(std::span<const double> samples) {
  const auto n = static_cast<int64_t>(samples.size());
  const auto worth = static_cast<int64_t>(static_cast<double>(n) / autocorrelation_time(samples));
  if (worth == n) return median_estimate(samples);
  const std::vector<double> values = sorted(samples);
  // The order statistic of `worth` samples, at the same share of all of them, rounded outwards.
  const int64_t lo = worth < 2 ? 0 : low_index(worth, 0.5) * (n - 1) / (worth - 1);
  return {quantile_of_sorted(values, 0.5), values[static_cast<size_t>(lo)],
          values[static_cast<size_t>(n - 1 - lo)], n};
}

double trend_probability(std::span<const double> samples) {
  size_t rising = 0, falling = 0, pairs = 0;
  for (size_t later = 1; later < samples.size(); ++later) {
    for (size_t earlier = 0; earlier < later; ++earlier, ++pairs) {
      rising += samples[later] > samples[earlier];
      falling += samples[later] < samples[earlier];
    }
  }
  // How many orders of so many samples have 0, 1, ... pairs that are not in sequence.
  std::vector<double> orders = {1};
  for (size_t n = 2; n <= samples.size(); ++n) {
    std::vector<double> longer(orders.size() + n - 1);
    for (size_t i = 0; i < orders.size(); ++i) {
      for (size_t j = 0; j < n; ++j) longer[i + j] += orders[i];
    }
    orders = std::move(longer);
  }
  const size_t against = pairs - std::max(rising, falling);
  double as_clear = 0, all = 0;
  for (size_t i = 0; i < orders.size(); ++i) {
    all += orders[i];
    if (i <= against) as_clear += orders[i];
  }
  return std::min(1.0, 2 * as_clear / all);
}

double normal_quantile(double confidence) {
  LB_CHECK(0 < confidence && confidence < 1, "{}", confidence);
  double lo = 0, hi = 10;
  for (int i = 0; i < 60; ++i) {
    const double z = (lo + hi) / 2;
    (std::erf(z / std::sqrt(2.0)) < confidence ? lo : hi) = z;
  }
  return lo;
}

Estimate mean_estimate(double mean, double standard_error, int64_t n) {
  return {mean, mean - kNormal * standard_error, mean + kNormal * standard_error, n};
}

Estimate fraction_estimate(int64_t hits, int64_t n) {
  LB_CHECK(0 <= hits && hits <= n && n > 0, "{} of {}", hits, n);
  const auto total = static_cast<double>(n);
  const double p = static_cast<double>(hits) / total, z2 = kNormal * kNormal;
  const double scale = 1 / (1 + z2 / total), center = (p + z2 / (2 * total)) * scale;
  const double half = kNormal * std::sqrt(p * (1 - p) / total + z2 / (4 * total * total)) * scale;
  return {p, std::max(0.0, std::min(p, center - half)), std::min(1.0, std::max(p, center + half)),
          n};
}

}  // namespace lowbit
