// How a comparison is written: for a terminal, as Markdown, as JSON.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "bench/compare.h"
#include "bench/metrics.h"
#include "bench/report.h"

namespace lowbit {
namespace {

using Row = std::vector<std::string>;

std::string ratio_text(const ComparedMetric& metric) {
  if (!metric.ratio.known) return "-";
  if (metric.ratio.lo == metric.ratio.hi) return fmt::format("{:.4f}", metric.ratio.ratio);
  return fmt::format("{:.4f} [{:.4f}, {:.4f}]", metric.ratio.ratio, metric.ratio.lo,
                     metric.ratio.hi);
}

std::string p_text(const ComparedMetric& metric) {
  const bool counted = find_metric(metric.tag).from == From::kCount;
  if (!metric.ratio.known || counted) return "-";
  return metric.ratio.p < 0.0001 ? "<0.0001" : fmt::format("{:.4f}", metric.ratio.p);
}

}  // namespace

std::vector<std::vector<std::string>> comparison_rows(const Comparison& comparison) {
  std::vector<Row> rows = {{"case", "metric", "A", "B", "B / A", "p", "B is"}};
  for (const ComparedCase& compared : comparison.cases) {
    bool first = true;
    for (const ComparedMetric& m : compared.metrics) {
      rows.push_back({first ? compared.name : "", m.tag, show_with_unit(m.tag, m.a),
                      show_with_unit(m.tag, m.b), ratio_text(m), p_text(m),
                      std::string(name(m.verdict))});
      first = false;
    }
  }
  return rows;
}

std::vector<std::string> comparison_notes(const Comparison& comparison) {
  int64_t tests = 0;
  for (const ComparedCase& compared : comparison.cases) {
    for (const ComparedMetric& m : compared.metrics) {
      tests += find_metric(m.tag).from == From::kMeasurement && m.ratio.known;
    }
  }
  std::vector<std::string> notes = {
      fmt::format("{:g} % intervals; of {} measured ratios about {:.1f} differ by chance",
                  comparison.confidence * 100, tests,
                  static_cast<double>(tests) * (1 - comparison.confidence))};
  for (const Difference& d : comparison.differences) {
    const auto shown = [](const std::string& text) { return text.empty() ? "(none)" : text; };
    const auto cases = static_cast<int64_t>(comparison.cases.size());
    notes.push_back(fmt::format("{} differs{}: {} | {}", d.field,
                                d.cases == cases ? "" : fmt::format(" in {} cases", d.cases),
                                printable(shown(d.a), 300), printable(shown(d.b), 300)));
  }
  if (comparison.differences.empty()) notes.emplace_back("the fingerprints and configs are equal");
  notes.insert(notes.end(), comparison.notes.begin(), comparison.notes.end());
  return notes;
}

std::string comparison_markdown(const Comparison& comparison) {
  std::string text;
  for (const Row& row : comparison_rows(comparison)) {
    text += "| " + join(row, " | ") + " |\n";
    if (row[0] == "case") text += "|---|---|---:|---:|---:|---:|---|\n";
  }
  text += "\n";
  for (const std::string& note : comparison_notes(comparison)) text += "- " + note + "\n";
  return text;
}

nlohmann::ordered_json comparison_json(const Comparison& comparison) {
  using Json = nlohmann::ordered_json;
  const auto estimate = [](const Estimate& e) {
    return Json{{"median", e.median}, {"lo", e.lo}, {"hi", e.hi}, {"n", e.n}};
  };
  Json json = {{"confidence", comparison.confidence}, {"cases", Json::array()}};
  for (const ComparedCase& compared : comparison.cases) {
    Json metrics = Json::object();
    for (const ComparedMetric& m : compared.metrics) {
      Json& row = metrics[m.tag] = {{"a", estimate(m.a)}, {"b", estimate(m.b)}};
      row["ratio"] = m.ratio.known ? Json(m.ratio.ratio) : Json();
      row["lo"] = m.ratio.known ? Json(m.ratio.lo) : Json();
      row["hi"] = m.ratio.known ? Json(m.ratio.hi) : Json();
      row["p"] = m.ratio.known ? Json(m.ratio.p) : Json();
      row["verdict"] = name(m.verdict);
    }
    json["cases"].push_back({{"case", compared.name}, {"metrics", metrics}});
  }
  json["differences"] = Json::array();
  for (const Difference& d : comparison.differences) {
    json["differences"].push_back({{"field", d.field}, {"a", d.a}, {"b", d.b}, {"cases", d.cases}});
  }
  json["notes"] = comparison.notes;
  return json;
}

}  // namespace lowbit
