#include "bench/report_html.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/file.h"
#include "bench/machine_ceilings.h"
#include "bench/report.h"
#include "bench/sample_records.h"
#include "bench/svg_plot.h"

namespace lowbit {
namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; ++at) ++found;
  return found;
}

std::vector<const Record*> pointers(const std::vector<Record>& records) {
  std::vector<const Record*> list;
  for (const Record& record : records) list.push_back(&record);
  return list;
}

// Of a case with this speed (and an interval of 1 %), KL and bytes.
Record fast(const std::string& format, double tps, double kl, double bytes = 1e6) {
  Record record;
  record.format = record.resident = format;
  record.set("decode_tps", Estimate{tps, tps * 0.995, tps * 1.005, 20});
  record.set("model_bytes", exact(bytes));
  if (kl >= 0) record.set("kl_mean", mean_estimate(kl, kl / 50, 2048));
  return record;
}

std::string pick(const std::vector<Record>& records) {
  const Advice advice = advise(pointers(records));
  return advice.pick ? advice.pick->format : "none: " + advice.why;
}

TEST(HtmlReport, IsTheCommittedPage) {
  const std::string path = std::string(LB_SOURCE_DIR) + "/tests/golden/bench_report.html";
  EXPECT_EQ(report_html(sample_records()), map_file(path).text());
}

TEST(HtmlReport, IsAFunctionOfTheStoredLines) {
  std::vector<Record> stored;
  for (const Record& record : sample_records()) {
    stored.push_back(parse_record("test", to_json_line(record)));
  }
  EXPECT_EQ(report_html(stored), report_html(sample_records()));
}

TEST(HtmlReport, LoadsNothing) {
  const std::string html = report_html(sample_records());
  for (const char* part : {"http://", "https://", "src=", "<link", "@import", "url("}) {
    EXPECT_FALSE(contains(html, part)) << part;
  }
}

TEST(HtmlReport, ShowsEveryCaseWithEveryFigureAndItsInterval) {
  const std::string html = report_html(sample_records());
  for (const char* part :
       {"976 <small>±24</small>", "int8 (fail)", "f32 (skip)", "decode reads too much",
        "needs about 32.0 GB", "warning: int4 decodes slower than bf16", "Time per token",
        "Roofline", "Speed, quality, memory", "Memory", "Not measured: no &lt;RAPL&gt; here",
        "random weights", "prefers-color-scheme:dark", "width=device-width"}) {
    EXPECT_TRUE(contains(html, part)) << part;
  }
  EXPECT_EQ(count(html, "<table class=\"sortable\">"), 2);  // prose, synthetic
  EXPECT_FALSE(contains(html, "<RAPL>"));
}

TEST(HtmlReport, DrawsWhatMemoryWasTakenFor) {
  const std::string html = report_html(sample_records());
  EXPECT_EQ(count(html, "Memory over time: "), 1);  // the others have no timeline
  EXPECT_EQ(count(html, "<polygon class=\"part"), 4);
  EXPECT_TRUE(contains(html, "weights: at most 14.7 MB"));
  EXPECT_TRUE(contains(html, "22.0 MB at decode at 4"));
  std::vector<Record> failed = sample_records();
  failed[0].status = Status::kFail;
  failed[0].memory.back().event = "state: kv failed";
  EXPECT_TRUE(contains(report_html(failed), "Last event: state: kv failed."));
}

TEST(HtmlReport, SaysThatCeilingsWereMeasuredOnABusyMachine) {
  std::vector<Record> records = sample_records();
  const char* note = "percentages of ceilings are to be distrusted: those were measured while x";
  EXPECT_FALSE(contains(report_html(records), note));
  records[0].roof_unstable = {"x"};
  EXPECT_TRUE(contains(report_html(records), note));
  EXPECT_TRUE(contains(report_table(records), note));
}

TEST(HtmlReport, TextFromRecordsCannotBecomeMarkup) {
  std::vector<Record> records = {sample_records()[0]};
  records[0].llama_bench.model_filename = "<script>alert(1)</script>";
  records[0].format = "\"><img src=x>";
  records[0].unstable = {"</title>&"};
  records[0].fingerprint.cpu = "<b>";
  const std::string html = report_html(records);
  for (const char* part : {"<script>alert", "<img", "</title>&<", "<b>&lt"}) {
    EXPECT_FALSE(contains(html, part)) << part;
  }
  EXPECT_TRUE(contains(html, "&lt;script&gt;alert(1)"));
}

TEST(HtmlReport, EnergyHasItsIntervals) {
  std::vector<Record> records = {sample_records()[0]};
  records[0].set("energy_per_token", Estimate{0.25, 0.24, 0.27, 12});
  const std::string chart = energy_chart(pointers(records));
  EXPECT_TRUE(contains(chart, "mJ/token"));
  EXPECT_TRUE(contains(chart, "class=\"whisker\""));
  EXPECT_TRUE(contains(chart, "energy/token 250 ± 15 mJ")) << chart;
}

TEST(HtmlReport, AMachinesLevelsAreDrawnIntoTheRoofline) {
  const Ceilings machine = {.levels = {{"L2", 1 << 20, 90e9}, {"memory", 0, 20e9}},
                            .float_flops = 200e9,
                            .integer_flops = 800e9,
                            .measured = "2026-01-01T00:00:00Z"};
  std::vector<Record> records = sample_records();
  const std::string without = report_html(records);
  Ceilings gpu = machine;
  gpu.gpu = "Some GPU";
  records.push_back(ceilings_record(gpu, machine_fingerprint()));
  EXPECT_EQ(count(report_html(records), "class=\"roof2\""), 0);  // not what the cases ran on
  records.push_back(ceilings_record(machine, machine_fingerprint()));
  const std::string with = report_html(records);
  EXPECT_EQ(count(without, "class=\"roof2\""), 0);
  EXPECT_EQ(count(with, "class=\"roof2\""), 4);  // two levels on each of two plots
  EXPECT_EQ(count(with, "class=\"panel pick\""), count(without, "class=\"panel pick\""));
}

TEST(SvgReport, HasThePlotsOfThePageSideBySide) {
  const std::vector<Record> records = sample_records();
  const std::string svg = report_svg(records), page = report_html(records);
  EXPECT_EQ(svg.find("<svg xmlns=\"http://www.w3.org/2000/svg\""), 0u);
  EXPECT_EQ(count(svg, "<svg"), count(svg, "</svg>"));
  EXPECT_EQ(count(svg, "class=\"title\""),
            count(page, "<h3>Speed, quality, memory</h3>") + count(page, "<h3>Roofline</h3>"));
  for (const char* mark : {"class=\"edge\"", "class=\"roof\"", "class=\"second\""}) {
    EXPECT_EQ(count(svg, mark), count(page, mark)) << mark;
  }
  EXPECT_TRUE(contains(svg, "prefers-color-scheme:dark"));
  EXPECT_EQ(count(svg, "http"), 1);  // loads nothing
  EXPECT_TRUE(contains(report_svg({}), "nothing to plot"));
}

TEST(HtmlReport, OfNothingIsAPageThatSaysSo) {
  EXPECT_TRUE(contains(report_html({}), "0 cases: 0 ok"));
  std::vector<Record> skipped = {sample_records()[3]};
  EXPECT_TRUE(contains(report_html(skipped), "there is nothing to recommend"));
}

TEST(Advice, IsTheFastestOfThoseWhoseQualityHolds) {
  EXPECT_EQ(pick({fast("bf16", 100, 0), fast("int4", 300, 0.04), fast("int2", 500, 1.2)}), "int4");
  EXPECT_EQ(pick({fast("bf16", 100, 0), fast("int2", 500, 1.2)}), "bf16");
  EXPECT_NE(pick({fast("int2", 500, 1.2)}).find("No format stays within"), std::string::npos);
}

TEST(Advice, OfEquallyFastOnesTakesTheBetterThenTheSmaller) {
  EXPECT_EQ(pick({fast("a", 300, 0.04), fast("b", 299, 0.01)}), "b");
  EXPECT_EQ(pick({fast("a", 300, -1, 2e6), fast("b", 299, -1, 1e6)}), "b");
  EXPECT_EQ(pick({fast("a", 300, 0.04), fast("b", 280, 0.01)}), "a");
  const std::vector<Record> tie = {fast("a", 300, 0.04), fast("b", 299, 0.01)};
  EXPECT_TRUE(contains(advise(pointers(tie)).why, "no better: a"));
}

TEST(Advice, WithoutQualitySaysThatNothingIsKnownOfIt) {
  const std::vector<Record> records = {fast("a", 300, -1), fast("b", 400, -1)};
  EXPECT_EQ(pick(records), "b");
  EXPECT_TRUE(contains(advise(pointers(records)).why, "No quality was measured"));
}

TEST(Advice, PrefersSteadyCasesAndLeavesFailedOnesOut) {
  std::vector<Record> records = {fast("a", 300, 0.01), fast("b", 400, 0.01), fast("c", 500, 0.01)};
  records[1].unstable = {"drift"};
  records[2].status = Status::kFail;
  EXPECT_EQ(pick(records), "a");
  records[0].unstable = {"drift"};
  EXPECT_EQ(pick(records), "b");
  EXPECT_TRUE(contains(advise(pointers(records)).why, "unstable"));
}

TEST(SvgPlot, TicksAreRoundAndCoverTheValues) {
  const auto ticks = [](std::vector<double> values, bool log) {
    return ticks_of(axis_over("", values, log));
  };
  EXPECT_EQ(ticks({3, 976}, false), (std::vector<double>{0, 200, 400, 600, 800, 1000}));
  EXPECT_EQ(ticks({0.2, 0.9}, false).front(), 0);
  EXPECT_GE(ticks({0.2, 0.9}, false).back(), 0.9);
  for (const double most : {1e-9, 0.7, 1.0, 3.3, 99.9, 1e6, 7e12}) {
    const PlotAxis axis = axis_over("", std::vector<double>{most}, false);
    EXPECT_GE(axis.hi, most);
    EXPECT_LT(axis.hi, most * 1.6);
    EXPECT_GE(ticks_of(axis).size(), 3u);
    EXPECT_LE(ticks_of(axis).size(), 9u);
  }
  const PlotAxis log = axis_over("", std::vector<double>{0.004, 30}, true);
  EXPECT_DOUBLE_EQ(log.lo, 0.001);
  EXPECT_DOUBLE_EQ(log.hi, 100);
  EXPECT_EQ(ticks_of(log).size(), 6u);
  EXPECT_FALSE(axis_over("", {}, true).log);
}

TEST(SvgPlot, NumbersAreShort) {
  EXPECT_EQ(short_number(1234), "1.23k");
  EXPECT_EQ(short_number(0.00123), "0.00123");
  EXPECT_EQ(short_number(4.56e12), "4.56T");
  EXPECT_EQ(short_number(0), "0");
}

TEST(SvgPlot, LabelsKeepOutOfEachOthersWay) {
  const PlotAxis unit = axis_over("", std::vector<double>{1}, false);
  Plot plot("p", unit, unit);
  for (int i = 0; i < 40; ++i) plot.label(0.5, 0.5, "a long label");
  const int shown = count(plot.svg(), ">a long label<");
  EXPECT_GE(shown, 2);
  EXPECT_LE(shown, 6);
}

}  // namespace
}  // namespace lowbit
