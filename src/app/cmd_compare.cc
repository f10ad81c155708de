// lowbit compare: two sets of stored results, or two configurations measured in turns.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "app/commands.h"
#include "app/options.h"
#include "app/output.h"
#include "app/progress.h"
#include "backends.h"
#include "base/check.h"
#include "base/text.h"
#include "base/thread_pool.h"
#include "bench/compare.h"
#include "bench/live.h"
#include "bench/result_file.h"

namespace lowbit {
namespace {

struct CompareConfig {
  bool live = false;
  double confidence = 0.99;
  std::vector<std::string> metric, ignore;
  double width = LiveOptions{}.width;
  double max_seconds = LiveOptions{}.max_seconds;
  bool fail = false;
  std::string out;
  std::string output = "table";
};

template <class Visitor>
void visit(Visitor& v, CompareConfig& c) {
  v.field("live", c.live, "A and B are configurations: run them now, in turns");
  v.field("confidence", c.confidence, "of intervals and verdicts, 0.5 to 0.9999");
  v.field("metric", c.metric, "only this metric; may be repeated (`lowbit bench --help`)");
  v.field("ignore", c.ignore,
          "key in which matching cases may differ, such as format; may be repeated");
  v.field("width", c.width, "live: stop when the ratios' intervals are this narrow");
  v.field("max_seconds", c.max_seconds, "live: of pairs; the pair that runs is finished");
  v.field("fail", c.fail, "exit code 1 if B is worse in anything");
  v.field("out", c.out, "live: file that both records are appended to");
}

// "bench.yaml format=int4 threads=2", or a model's name among them.
BenchCase parse_side(const std::string& text) {
  BenchConfig config;
  std::vector<std::string> overrides, models;
  for (const std::string_view part : split(text, ' ')) {
    const std::string item(trim(part));
    if (item.empty()) continue;
    if (item.find('=') != std::string::npos) {
      overrides.push_back(item);
    } else if (item.ends_with(".yaml") || item.ends_with(".yml")) {
      apply_yaml(item, config);
    } else {
      models.push_back(item);
    }
  }
  apply_overrides(overrides, config);
  if (!models.empty()) config.model = std::move(models);
  if (config.model.empty()) config.model.push_back(default_bench_model());
  check(config);
  const std::vector<BenchCase> cases = cases_of(config);
  if (cases.size() != 1) {
    throw_error("{} cases; a live comparison takes one, such as format=int4", cases.size());
  }
  check_case(cases.front());
  return cases.front();
}

Comparison run_live(const CompareConfig& config, const std::vector<std::string>& sides) {
  const BenchCase a = with_context("A", [&] { return parse_side(sides[0]); });
  const BenchCase b = with_context("B", [&] { return parse_side(sides[1]); });
  if (a.threads > 0) set_threads(a.threads);
  std::optional<ResultFile> file;  // found out now, not after the last pair
  if (!config.out.empty()) file.emplace(config.out, /*resume=*/false);
  std::pair<Record, Record> records;
  {
    Progress progress("compare");
    records =
        measure_live(a, b, find_backend(a.device),
                     {.confidence = config.confidence,
                      .width = config.width,
                      .max_seconds = config.max_seconds,
                      .on_phase = [&](std::string_view phase) { progress.update(0, 1, phase); }});
  }
  if (file) {
    file->append(records.first);
    file->append(records.second);
  }
  CompareOptions options{
      .confidence = config.confidence, .metrics = config.metric, .ignore = {}, .paired = true};
  for (const auto& item : records.first.config.items()) options.ignore.push_back(item.key());
  return compare(std::span(&records.first, 1), std::span(&records.second, 1), options);
}

void check(const CompareConfig& config) {
  if (!(0.5 <= config.confidence && config.confidence <= 0.9999)) {
    throw_error("--confidence = {}: must be 0.5 to 0.9999", config.confidence);
  }
  if (config.output != "table" && config.output != "md" && config.output != "json") {
    throw_error("-o {}: must be table, md or json", printable(config.output));
  }
  if (!(config.width > 0)) throw_error("--width = {}: must be above 0", config.width);
  if (!config.live && !config.out.empty()) {
    throw_error("--out stores what --live measures; without --live nothing is measured");
  }
}

}  // namespace

int cmd_compare(const std::vector<std::string>& args) {
  CompareConfig config;
  std::vector<std::string> sides;
  CommandLine line(
      "What differs between two results, and whether it is more than noise.\n"
      "  lowbit compare A.jsonl B.jsonl             files that `lowbit bench out=FILE` wrote\n"
      "  lowbit compare --live \"format=int4\" \"format=int8\"\n"
      "                                             measured now, in turns",
      "compare");
  line.add_option("A_B", sides, "A and B", "A B");
  line.add_flags(config);
  line.add_option("-o,--output", config.output, "table, md or json");
  if (!line.parse(args)) return 0;
  if (sides.size() != 2) {
    throw_error("compare takes two {}, not {}", config.live ? "configurations" : "files",
                sides.size());
  }
  check(config);
  const Comparison comparison = config.live
                                    ? run_live(config, sides)
                                    : compare(read_records(sides[0]), read_records(sides[1]),
                                              {.confidence = config.confidence,
                                               .metrics = config.metric,
                                               .ignore = config.ignore});
  if (config.output == "table") {
    print(format_table(comparison_rows(comparison)) + "\n");
    for (const std::string& note : comparison_notes(comparison)) print(note + "\n");
  }
  if (config.output == "md") print(comparison_markdown(comparison));
  if (config.output == "json") print(comparison_json(comparison).dump(2) + "\n");
  bool worse = false;
  for (const ComparedCase& compared : comparison.cases) {
    for (const ComparedMetric& m : compared.metrics) worse |= m.verdict == Verdict::kWorse;
  }
  return config.fail && worse ? 1 : 0;
}

}  // namespace lowbit
