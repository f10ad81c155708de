#include "bench/metrics.h"

#include <algorithm>
#include <iterator>

#include "base/check.h"

namespace lowbit {

const Metric& find_metric(std::string_view tag) {
  const auto row = std::find_if(std::begin(kMetrics), std::end(kMetrics),
                                [&](const Metric& metric) { return metric.tag == tag; });
  LB_CHECK(row != std::end(kMetrics), "no metric is called {}", tag);
  return *row;
}

std::string metrics_help() {
  std::string text;
  for (const Metric& metric : kMetrics) {
    text += fmt::format("  {:<21} {:<11} {}\n", metric.tag,
                        metric.unit.empty() ? "no unit" : metric.unit, metric.help);
  }
  return text;
}

}  // namespace lowbit
