#include "bench/ratio.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "bench/stats.h"

namespace lowbit {
namespace {

std::vector<double> logs(std::span<const double> samples) {
  std::vector<double> values;
  for (const double x : samples) {
    LB_CHECK(x > 0, "{}", x);
    values.push_back(std::log(x));
  }
  return values;
}

double p_of(double z) { return std::erfc(std::abs(z) / std::sqrt(2.0)); }

// The sums (or differences) of which `count(x)` are at most x are too many to list; the value of
// one rank is found by bisection between lo and hi.
template <class Count>
double value_of_rank(int64_t rank, double lo, double hi, Count count) {
  for (int i = 0; i < 80; ++i) {
    const double middle = lo + (hi - lo) / 2;
    (count(middle) > rank ? hi : lo) = middle;
  }
  return hi;
}

// A ratio from `total` values around 0 whose statistic has this deviation under no difference:
// their median, and the values at equal ranks from both ends. `above`: the statistic itself.
template <class Value>
Ratio ratio_from(int64_t total, double deviation, double above, double confidence, Value value) {
  const double center = static_cast<double>(total) / 2;
  Ratio result;
  result.ratio = std::exp((value((total - 1) / 2) + value(total / 2)) / 2);
  const double away = std::max(0.0, std::abs(above - center) - 0.5);  // corrected for continuity
  result.p = deviation > 0 ? p_of(away / deviation) : 1;
  const double rank = std::floor(center - normal_quantile(confidence) * deviation - 0.5);
  result.known = rank >= 0;
  const auto k = static_cast<int64_t>(std::max(rank, 0.0));
  result.lo = std::exp(value(k));
  result.hi = std::exp(value(total - 1 - k));
  return result;
}

}  // namespace

Ratio ratio_of(std::span<const double> a, std::span<const double> b, double confidence) {
  LB_CHECK(!a.empty() && !b.empty());
  const double worth_a = static_cast<double>(a.size()) / autocorrelation_time(a);
  const double worth_b = static_cast<double>(b.size()) / autocorrelation_time(b);
  std::vector<double> x = logs(a), y = logs(b);
  std::sort(x.begin(), x.end());
  std::sort(y.begin(), y.end());
  const auto total = static_cast<int64_t>(x.size() * y.size());
  // Pairs whose difference y - x is at most d: as y grows, x may start later.
  const auto count = [&](double d) {
    int64_t pairs = 0;
    size_t below = 0;  // x that are less than y - d
    for (const double value : y) {
      while (below < x.size() && value - x[below] > d) ++below;
      pairs += static_cast<int64_t>(x.size() - below);
    }
    return pairs;
  };
  const double deviation = static_cast<double>(total) *
                           std::sqrt((1 / worth_a + 1 / worth_b + 1 / (worth_a * worth_b)) / 12);
  const double lo = y.front() - x.back(), hi = y.back() - x.front();
  const double margin = 1e-12 + 1e-12 * std::max(std::abs(lo), std::abs(hi));
  // Ties count half.
  const double above = static_cast<double>(total) -
                       (static_cast<double>(count(0)) + static_cast<double>(count(-1e-15))) / 2;
  return ratio_from(total, deviation, above, confidence, [&](int64_t rank) {
    return value_of_rank(rank, lo - margin, hi + margin, count);
  });
}

Ratio ratio_of_pairs(std::span<const double> a, std::span<const double> b, double confidence) {
  LB_CHECK(!a.empty() && a.size() == b.size());
  std::vector<double> d = logs(b);
  const std::vector<double> x = logs(a);
  for (size_t i = 0; i < d.size(); ++i) d[i] -= x[i];
  const double n = static_cast<double>(d.size()), time = autocorrelation_time(d);
  std::sort(d.begin(), d.end());
  const auto total = static_cast<int64_t>(d.size() * (d.size() + 1) / 2);
  // Walsh averages (d[i] + d[j]) / 2, i <= j, that are at most t.
  const auto count = [&](double t) {
    int64_t averages = 0;
    size_t j = d.size();
    for (size_t i = 0; i < d.size(); ++i) {
      while (j > 0 && (d[i] + d[j - 1]) / 2 > t) --j;
      if (j <= i) break;
      averages += static_cast<int64_t>(j - i);
    }
    return averages;
  };
  const double deviation = std::sqrt(n * (n + 1) * (2 * n + 1) / 24 * time);
  const double margin = 1e-12 + 1e-12 * std::max(std::abs(d.front()), std::abs(d.back()));
  const double above = static_cast<double>(total) -
                       (static_cast<double>(count(0)) + static_cast<double>(count(-1e-15))) / 2;
  return ratio_from(total, deviation, above, confidence, [&](int64_t rank) {
    return value_of_rank(rank, d.front() - margin, d.back() + margin, count);
  });
}

}  // namespace lowbit
