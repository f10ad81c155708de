#include "bench/report_html.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/check.h"
#include "base/text.h"
#include "bench/metrics.h"
#include "bench/report.h"
#include "bench/report_groups.h"
#include "bench/report_page.h"
#include "bench/svg_plot.h"

namespace lowbit {
namespace {

using Rows = std::span<const Record* const>;

bool overlap(const Estimate& a, const Estimate& b) { return a.lo <= b.hi && b.lo <= a.hi; }

double median_or(const Record& record, std::string_view tag, double fallback) {
  const Estimate* estimate = record.find(tag);
  return estimate ? estimate->median : fallback;
}

std::string shown(const Record& record, std::string_view tag) {
  const Estimate* estimate = record.find(tag);
  return estimate ? show_with_unit(tag, *estimate) : "not measured";
}

std::string plural(size_t count, const std::string& noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

// Of a table's cell: what it shows, and what it is sorted by.
std::string cell_html(const Cell& cell, const Estimate* estimate) {
  const std::string value = estimate ? fmt::format("{}", estimate->median) : "";
  return fmt::format("<td data-v=\"{}\">{}{}</td>", value, html_escaped(cell.value),
                     cell.half.empty() ? "" : " <small>±" + html_escaped(cell.half) + "</small>");
}

std::string table_html(const Group& group) {
  std::string html =
      "<div class=\"panel scroll\"><table class=\"sortable\"><thead><tr>"
      "<th><button>format</button></th>";
  for (const Column& column : group.columns) {
    html += fmt::format(
        "<th title=\"{}\"><button>{}</button>{}</th>", html_escaped(column.metric->help),
        html_escaped(column.metric->title),
        column.style.unit.empty()
            ? ""
            : "<br><span class=\"soft\">" + html_escaped(column.style.unit) + "</span>");
  }
  html += "</tr></thead>\n<tbody>\n";
  for (size_t i = 0; i < group.records.size(); ++i) {
    const Record& record = *group.records[i];
    const char* style = record.status == Status::kFail ? "fail"
                        : record.unstable.empty()      ? ""
                                                       : "unstable";
    html += fmt::format("<tr><td class=\"{0}\" data-v=\"{1}\">{1}</td>", style,
                        html_escaped(row_name(record)));
    for (const Column& column : group.columns) {
      const Estimate* estimate =
          record.status == Status::kOk ? record.find(column.metric->tag) : nullptr;
      html += cell_html(column.cells[i], estimate);
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

std::string advice_html(const Group& group) {
  const Advice advice = advise(group.records);
  if (!advice.pick) return "<div class=\"panel\"><p>" + html_escaped(advice.why) + "</p></div>\n";
  const Record& pick = *advice.pick;
  std::string html = fmt::format("<div class=\"panel pick\"><p><b>{}</b>: {}, weights {}",
                                 html_escaped(row_name(pick)), shown(pick, "decode_tps"),
                                 shown(pick, "model_bytes"));
  if (pick.find("kl_mean")) html += ", KL " + shown(pick, "kl_mean");
  return html + "</p>\n<p>" + html_escaped(advice.why) + "</p></div>\n";
}

std::string group_html(const Group& group, Rows machine) {
  std::string html = "<h2>" + html_escaped(group.title) + "</h2>\n" + advice_html(group);
  const std::string plots = panel(pareto_plot(group.records)) +
                            panel(roofline_plot(group.records, machine)) +
                            latency_chart(group.records) + memory_chart(group.records) +
                            memory_timelines(group.records) + energy_chart(group.records);
  if (!plots.empty()) html += "<div class=\"plots\">\n" + plots + "</div>\n";
  html += table_html(group) + "<ul class=\"soft\">\n";
  for (const std::string& note : notes_of(group)) html += "<li>" + html_escaped(note) + "</li>\n";
  return html + "</ul>\n";
}

std::string text_row(const std::string& name, const std::string& value) {
  return fmt::format("<tr><td>{}</td><td>{}</td></tr>\n", html_escaped(name), html_escaped(value));
}

// Every value that a field of the fingerprints has, once.
std::string machine_html(std::span<const Record> records) {
  std::vector<std::pair<std::string, std::vector<std::string>>> fields;
  for (const Record& record : records) {
    const nlohmann::ordered_json print = to_json(record.fingerprint);
    for (const auto& item : print.items()) {
      if (item.key() == "kernels" || item.key() == "logits_hash") continue;
      const std::string value =
          item.value().is_string() ? item.value().get<std::string>() : item.value().dump();
      const bool added = item.key() == "model_hash" || item.key() == "cuda_toolkit";
      if (added && value.empty()) continue;  // older records do not say it
      auto field = std::find_if(fields.begin(), fields.end(),
                                [&](const auto& f) { return f.first == item.key(); });
      if (field == fields.end()) field = fields.insert(fields.end(), {item.key(), {}});
      auto& values = field->second;
      if (std::find(values.begin(), values.end(), value) == values.end()) values.push_back(value);
    }
  }
  std::string html =
      "<details class=\"panel\"><summary>Machine and build</summary>"
      "<div class=\"scroll\"><table class=\"text\">\n";
  for (const auto& [name, values] : fields) {
    std::string text = join(values, "; ");
    if (values.size() > 6)
      text = fmt::format("{} to {} ({} values)", values.front(), values.back(), values.size());
    html += text_row(name, text);
  }
  return html + "</table></div></details>\n";
}

std::string kernels_html(std::span<const Record> records) {
  std::string rows;
  for (const Record& record : records) {
    std::vector<std::string> texts;
    for (const KernelChoice& k : record.fingerprint.kernels) {
      texts.push_back(fmt::format("{} (m {}-{}): {}", k.linear, k.m_lo, k.m_hi, k.kernel));
    }
    if (!texts.empty()) rows += text_row(row_name(record), join(texts, "; "));
  }
  if (rows.empty()) return "";
  return "<details class=\"panel\"><summary>Kernels</summary><div class=\"scroll\">"
         "<table class=\"text\">\n" +
         rows + "</table></div></details>\n";
}

std::string commands_html(std::span<const Record> records) {
  std::string rows;
  for (const Record& record : records) {
    if (!record.repro.empty()) rows += text_row(row_name(record), record.repro);
  }
  if (rows.empty()) return "";
  return "<details class=\"panel\"><summary>How to run each case again</summary>"
         "<div class=\"scroll\"><table class=\"text\">\n" +
         rows + "</table></div></details>\n";
}

std::string definitions_html(std::span<const Record> records) {
  std::string html =
      "<details class=\"panel\"><summary>What the figures mean</summary><p class=\"soft\">P: "
      "tokens "
      "of the prompt; N: new tokens. Each figure is a median with its 95 % interval.</p>"
      "<div class=\"scroll\"><table class=\"text\">\n";
  for (const Metric& metric : kMetrics) {
    const bool used = std::any_of(records.begin(), records.end(),
                                  [&](const Record& r) { return r.find(metric.tag); });
    if (!used) continue;
    const std::string unit = metric.unit.empty() ? "" : fmt::format(" ({})", metric.unit);
    html += text_row(std::string(metric.title) + unit, std::string(metric.help));
  }
  return html + "</table></div></details>\n";
}

// "12 cases: 10 ok, 1 skipped, 1 failed, 2 unstable; measured ... to ..."
std::string counts_text(Rows records) {
  size_t ok = 0, skipped = 0, failed = 0, unstable = 0;
  std::set<std::string> times, devices;
  for (const Record* record : records) {
    ok += record->status == Status::kOk;
    skipped += record->status == Status::kSkip;
    failed += record->status == Status::kFail;
    unstable += !record->unstable.empty();
    if (!record->llama_bench.test_time.empty()) times.insert(record->llama_bench.test_time);
    const Fingerprint& print = record->fingerprint;
    devices.insert(print.gpu.empty() ? print.cpu : print.gpu);
  }
  std::string text = fmt::format("{}: {} ok", plural(records.size(), "case"), ok);
  if (skipped) text += fmt::format(", {} skipped", skipped);
  if (failed) text += fmt::format(", {} failed", failed);
  if (unstable) text += fmt::format("; {} unstable", unstable);
  text += ". On " + join({devices.begin(), devices.end()}, ", ");
  if (times.empty()) return text + ".";
  return text + (times.size() == 1 ? fmt::format(", {}.", *times.begin())
                                   : fmt::format(", {} to {}.", *times.begin(), *times.rbegin()));
}

}  // namespace

Advice advise(Rows records) {
  std::vector<const Record*> ran;
  for (const bool steady : {true, false}) {
    for (const Record* record : records) {
      const bool counts = record->status == Status::kOk && record->find("decode_tps");
      if (counts && (!steady || record->unstable.empty())) ran.push_back(record);
    }
    if (!ran.empty()) break;
  }
  if (ran.empty()) return {nullptr, "No case ran that decodes: there is nothing to recommend."};
  const bool judged =
      std::any_of(ran.begin(), ran.end(), [](const Record* r) { return r->find("kl_mean"); });
  std::vector<const Record*> good;
  for (const Record* record : ran) {
    if (!judged || median_or(*record, "kl_mean", INFINITY) <= kGoodKl) good.push_back(record);
  }
  if (good.empty()) {
    return {nullptr, fmt::format("No format stays within a mean KL divergence of {} nats a token.",
                                 kGoodKl)};
  }
  const Record* fastest = *std::max_element(good.begin(), good.end(), [](auto* a, auto* b) {
    return a->find("decode_tps")->median < b->find("decode_tps")->median;
  });
  std::vector<const Record*> tied;
  for (const Record* record : good) {
    if (overlap(*record->find("decode_tps"), *fastest->find("decode_tps"))) tied.push_back(record);
  }
  const auto rank = [](const Record* r) {
    return std::pair(median_or(*r, "kl_mean", 0), median_or(*r, "model_bytes", 0));
  };
  Advice advice{*std::min_element(tied.begin(), tied.end(),
                                  [&](auto* a, auto* b) { return rank(a) < rank(b); }),
                ""};
  advice.why = judged ? fmt::format(
                            "Decodes fastest of the {} whose mean KL divergence is at "
                            "most {} nats a token.",
                            plural(good.size(), "case"), kGoodKl)
                      : fmt::format(
                            "Decodes fastest of {}. No quality was measured, so nothing "
                            "says how good its text still is.",
                            plural(good.size(), "case"));
  if (tied.size() > 1) {
    std::vector<std::string> names;
    for (const Record* record : tied) {
      if (record != advice.pick) names.push_back(row_name(*record));
    }
    advice.why +=
        fmt::format(" As fast within the intervals, and no better: {}.", join(names, ", "));
  }
  if (!advice.pick->unstable.empty()) {
    advice.why += " Every case was unstable: measure again on a quiet machine.";
  }
  return advice;
}

std::string report_html(std::span<const Record> records) {
  std::vector<const Record*> machine, cases;
  for (const Record& record : records) {
    (record.kind == "roofline" ? machine : cases).push_back(&record);
  }
  std::string html = fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<title>lowbit report</title>\n<style>{}{}{}{}</style>\n</head>\n<body>\n<main>\n"
      "<header><h1>lowbit report</h1><button id=\"theme\">light / dark</button></header>\n",
      kColours, kPageStyle, kPlotStyle, kTableStyle);
  html += "<p>" + html_escaped(counts_text(cases)) + "</p>\n";
  for (const Group& group : groups_of(records, /*all=*/true)) html += group_html(group, machine);
  html += "<h2>Details</h2>\n" + machine_html(records) + kernels_html(records) +
          commands_html(records) + definitions_html(records);
  return html + fmt::format("</main>\n<script>{}</script>\n</body>\n</html>\n", kReportScript);
}

}  // namespace lowbit
