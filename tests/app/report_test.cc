// `lowbit report` through the whole command line, and its page in a browser where there is one.
#include "bench/report.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "app/run_lowbit.h"
#include "base/check.h"
#include "base/file.h"
#include "base/process.h"
#include "base/text.h"
#include "bench/report_html.h"
#include "bench/sample_records.h"
#include "bench/svg_plot.h"
#include "load/embedded.h"

namespace lowbit {
namespace {

using fixtures::Outcome;
using fixtures::run_here;
using fixtures::TempFolder;

std::string text_of(const std::string& path) { return std::string(map_file(path).text()); }

class ReportCommand : public testing::Test {
 protected:
  ReportCommand() {
    std::string lines;
    for (const Record& record : sample_records()) lines += to_json_line(record) + "\n";
    results_ = folder_.write("results.jsonl", lines);
  }
  std::string path(const std::string& name) const { return folder_.path() + "/" + name; }

  TempFolder folder_;
  std::string results_;
};

TEST_F(ReportCommand, WritesWhatTheEndingSays) {
  const Outcome outcome =
      run_here({"report", results_, "-o", path("r.html"), "-o", path("r.csv"), "-o", path("r.md"),
                "-o", path("r.sqlite"), "-o", path("r.txt"), "-o", path("r.svg")});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  const std::vector<Record> records = sample_records(), sorted = fastest_first(records);
  EXPECT_EQ(text_of(path("r.html")), report_html(sorted));
  EXPECT_EQ(text_of(path("r.csv")), report_csv(records));
  EXPECT_EQ(text_of(path("r.md")), report_markdown(sorted));
  EXPECT_EQ(text_of(path("r.txt")), report_table(sorted));
  EXPECT_EQ(text_of(path("r.svg")), report_svg(sorted));
  EXPECT_EQ(read_records(path("r.sqlite")), records);
  // And back: a database is a file of results like any other.
  ASSERT_EQ(run_here({"report", path("r.sqlite"), "-o", path("r.jsonl")}).code, 0);
  EXPECT_EQ(text_of(path("r.jsonl")), text_of(results_));
}

TEST_F(ReportCommand, SeveralFilesAreOneReportAndATableIsTheDefault) {
  const Outcome outcome = run_here({"report", results_, results_});
  EXPECT_EQ(outcome.code, 0);
  std::vector<Record> twice = sample_records();
  for (const Record& record : sample_records()) twice.push_back(record);
  EXPECT_EQ(outcome.out, report_table(fastest_first(twice)));
}

// It would overwrite them.
TEST_F(ReportCommand, ResultsAfterTheFlagAreReadAndNotWritten) {
  const std::string more = folder_.write("more.jsonl", text_of(results_));
  const Outcome outcome = run_here({"report", results_, "-o", path("r.jsonl"), more});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(text_of(path("r.jsonl")), text_of(results_) + text_of(results_));
  EXPECT_EQ(text_of(more), text_of(results_));
  EXPECT_EQ(run_here({"report", "-o", path("s.jsonl"), more}).code, 0);
  EXPECT_EQ(text_of(path("s.jsonl")), text_of(more));
}

TEST(CommittedReports, AreWhatTheirRecordsSay) {
  const std::string folder = std::string(LB_SOURCE_DIR) + "/docs/results/h200/";
  const std::vector<Record> records = fastest_first(read_records(folder + "decode.jsonl"));
  const std::string again = "; write it anew with\n  lowbit report " + folder + "decode.jsonl -o ";
  EXPECT_TRUE(text_of(folder + "decode.html") == report_html(records)) << again << "decode.html";
  EXPECT_TRUE(text_of(folder + "decode.md") == report_markdown(records)) << again << "decode.md";
  EXPECT_TRUE(text_of(folder + "decode.svg") == report_svg(records)) << again << "decode.svg";
  EXPECT_LT(text_of(folder + "decode.html").size(), 400'000u);
}

TEST_F(ReportCommand, RefusesWhatItCannotDoByName) {
  const auto error_of = [](std::vector<std::string> args) {
    args.insert(args.begin(), "report");
    const Outcome outcome = run_here(args);
    EXPECT_EQ(outcome.code, 2);
    return outcome.err;
  };
  EXPECT_NE(error_of({}).find("no results are named"), std::string::npos);
  EXPECT_NE(error_of({path("absent.jsonl")}).find("absent.jsonl"), std::string::npos);
  EXPECT_NE(error_of({path("absent.sqlite")}).find("cannot be opened"), std::string::npos);
  EXPECT_NE(error_of({results_, "-o", path("r.pdf")}).find(".html, .svg, .md, .csv"),
            std::string::npos);
  EXPECT_NE(error_of({results_, "-o", path("no/r.html")}).find("no/r.html"), std::string::npos);
  EXPECT_NE(error_of({folder_.write("bad.jsonl", "{}\n")}).find("bad.jsonl:1"), std::string::npos);
}

TEST_F(ReportCommand, ABenchWritesADatabaseAndResumesFromIt) {
  const fixtures::CeilingsFolder unknown;  // they are measured with each case
  std::vector<std::string> args = {
      "bench",        "synthetic:tiny",         "format=bf16,int4", "max_seconds=0.05",
      "quality=none", "out=" + path("b.sqlite")};
  ASSERT_EQ(run_here(args).code, 0);
  EXPECT_EQ(read_records(path("b.sqlite")).size(), 2u);
  args.push_back("--resume");
  const Outcome again = run_here(args);
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_NE(again.err.find("2 of 2 cases are done already"), std::string::npos) << again.err;
  const std::vector<Record> records = read_records(path("b.sqlite"));
  ASSERT_EQ(records.size(), 2u);
  for (const Record& record : records) {
    EXPECT_EQ(record.status, Status::kOk) << record.reason;
    EXPECT_EQ(record.token_seconds.size(), 101u);
    EXPECT_TRUE(record.find("energy_per_token") || !record.not_measured.empty());
    EXPECT_NE(record.find("flop_fraction"), nullptr);
  }
}

TEST_F(ReportCommand, QualityRecordsHoldTheCommandButNotWhereItsTextsLie) {
  if (embedded_names().empty()) GTEST_SKIP() << "no model is linked into this build";
  const std::string text = folder_.write("a text.txt", "The fire burned low; the kettle sang."),
                    config = folder_.write("q.yaml", "format: [int8]\n");
  const Outcome outcome = run_here({"quality", config, "text=" + text, "tokens=8",
                                    "out=" + path("q.jsonl"), "markdown=" + path("q.md")});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const std::string command = "lowbit quality " + config + " 'text=a text.txt' tokens=8";
  for (const Record& record : read_records(path("q.jsonl"))) {
    EXPECT_EQ(record.repro, command);
    EXPECT_FALSE(record.head.empty());
    EXPECT_TRUE(record.quality->text.starts_with("a text.txt (first 8 tokens, hash "))
        << record.quality->text;
  }
  EXPECT_NE(text_of(path("q.md")).find("by `" + command + "`"), std::string::npos);
}

// ---- in a browser -------------------------------------------------------------------------------

// The program of a browser; "" if none is installed.
std::string find_browser() {
  const char* path = std::getenv("PATH");
  for (const std::string_view folder : split(path ? path : "", ':')) {
    for (const char* name : {"chromium", "chromium-browser", "google-chrome", "chrome"}) {
      const std::string program = std::string(folder) + "/" + name;
      if (file_exists(program)) return program;
    }
  }
  return "";
}

class Browser : public ReportCommand {
 protected:
  void SetUp() override {
    program_ = find_browser();
    if (program_.empty()) GTEST_SKIP() << "no chromium is installed: the page is not looked at";
  }

  // What the browser prints.
  std::string run(const std::vector<std::string>& args) const {
    std::vector<std::string> command = {
        program_,        "--headless=new",    "--no-sandbox",
        "--disable-gpu", "--hide-scrollbars", "--user-data-dir=" + path("profile")};
    command.insert(command.end(), args.begin(), args.end());
    std::string out;
    const ChildResult result =
        run_child(command, {.timeout = 60, .on_line = [&](std::string_view line) { out += line; }});
    EXPECT_EQ(failure(result, 60), "");
    return out;
  }

  // A PNG of `page` in a window of this size.
  std::string screenshot(const std::string& page, const std::string& size) const {
    const std::string file = folder_.write("page.html", page), image = path("page.png");
    run({"--window-size=" + size, "--screenshot=" + image, "file://" + file});
    return text_of(image);
  }

  static std::string themed(std::string page, const std::string& theme) {
    const std::string html = "<html lang=\"en\"";
    return page.replace(page.find(html), html.size(), html + " data-theme=\"" + theme + "\"");
  }

  std::string program_;
};

uint32_t big_endian(const std::string& bytes, size_t at) {
  uint32_t number = 0;
  for (size_t i = 0; i < 4; ++i)
    number = number << 8 | static_cast<unsigned char>(bytes.at(at + i));
  return number;
}

TEST_F(Browser, DrawsThePageInLightAndInDark) {
  const std::string page = report_html(sample_records());
  const std::string light = screenshot(themed(page, "light"), "1200,2400");
  const std::string dark = screenshot(themed(page, "dark"), "1200,2400");
  for (const std::string& image : {light, dark}) {
    ASSERT_EQ(image.substr(1, 3), "PNG");
    EXPECT_EQ(big_endian(image, 16), 1200u);
    EXPECT_EQ(big_endian(image, 20), 2400u);
    EXPECT_GT(image.size(), 50'000u);  // an empty page of this size takes some ten kilobytes
  }
  EXPECT_NE(light, dark);
}

// What a script sees of `page` in a frame as wide as a phone: the width that it takes, the smallest
// letters of its plots in pixels, texts that leave a plot, and the order of the table's rows as it
// is and after one and two clicks on the decode speed.
std::string phone_frame(const std::string& page) {
  return "<!doctype html><title>-</title><iframe id=\"f\" width=\"375\" height=\"800\" "
         "style=\"border:0\" srcdoc=\"" +
         html_escaped(page) +
         "\"></iframe><script>f.onload=()=>{const d=f.contentDocument;"
         "const names=()=>[...d.querySelector('table').tBodies[0].rows]"
         ".map(r=>r.cells[0].dataset.v);"
         "const heads=[...d.querySelector('table').tHead.rows[0].cells];"
         "const decode=heads.find(h=>h.textContent.startsWith('decode')).querySelector('button');"
         "const out={width:d.documentElement.scrollWidth,"
         "smallest:Math.min(...[...d.querySelectorAll('svg text')].map(t=>"
         "parseFloat(getComputedStyle(t).fontSize)*t.ownerSVGElement.clientWidth/460)),"
         "outside:[...d.querySelectorAll('svg text')].filter(t=>{const b=t.getBoundingClientRect(),"
         "s=t.ownerSVGElement.getBoundingClientRect();"
         "return b.right>s.right+1||b.left<s.left-1||b.top<s.top-1||b.bottom>s.bottom+1})"
         ".map(t=>t.textContent),first:names()};"
         "decode.click();out.up=names();decode.click();out.down=names();"
         "document.body.innerHTML='<pre>'+JSON.stringify(out)+'</pre>'}</script>";
}

// The sample has every kind of plot, the committed report many cases and long names.
TEST_F(Browser, PagesFitAPhoneAndSortTheirTables) {
  const std::string committed =
      text_of(std::string(LB_SOURCE_DIR) + "/docs/results/h200/decode.html");
  std::vector<nlohmann::json> views;
  for (const std::string& page : {report_html(sample_records()), committed}) {
    const std::string dom = run({"--virtual-time-budget=5000", "--dump-dom",
                                 "file://" + folder_.write("phone.html", phone_frame(page))});
    const size_t begin = dom.find("<pre>"), end = dom.find("</pre>");
    ASSERT_NE(end, std::string::npos) << dom.substr(0, 300);
    const auto seen = nlohmann::json::parse(dom.substr(begin + 5, end - begin - 5));
    EXPECT_LE(seen["width"], 375);
    EXPECT_GE(seen["smallest"], 9.0);
    EXPECT_EQ(seen["outside"], nlohmann::json::array());
    views.push_back(seen);
  }
  const nlohmann::json& sample = views[0];
  EXPECT_EQ(sample["first"][0], "bf16");
  EXPECT_EQ(sample["up"][0], "int4");  // the slowest; what has no figure comes last
  EXPECT_NE(sample["down"][0], "int4");
  for (const char* order : {"up", "down"}) EXPECT_EQ(sample[order][2] == "f32 (skip)", false);
}

}  // namespace
}  // namespace lowbit
