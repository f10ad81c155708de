#include "bench/report.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/file.h"
#include "bench/sample_records.h"

namespace lowbit {
namespace {

std::string golden(const std::string& name) {
  return std::string(map_file(std::string(LB_SOURCE_DIR) + "/tests/golden/" + name).text());
}

TEST(Report, TerminalTableIsTheCommittedOne) {
  EXPECT_EQ(report_table(sample_records()), golden("bench_table.txt"));
}

TEST(Report, MarkdownIsTheCommittedOne) {
  EXPECT_EQ(report_markdown(sample_records()), golden("bench_table.md"));
}

TEST(Report, CsvIsTheCommittedOne) {
  EXPECT_EQ(report_csv(sample_records()), golden("bench_table.csv"));
}

TEST(Report, CsvQuotesWhatWouldBreakARow) {
  std::vector<Record> records = {sample_records()[3]};
  records[0].reason = "a \"b\", c\nd";
  const std::string csv = report_csv(records);
  EXPECT_NE(csv.find("model,skip,\"a \"\"b\"\", c\nd\",,prose,f32,"), std::string::npos) << csv;
}

TEST(Report, IsAFunctionOfTheStoredLines) {
  std::vector<Record> stored;
  for (const Record& record : sample_records()) {
    stored.push_back(parse_record("test", to_json_line(record)));
  }
  EXPECT_EQ(report_table(stored), report_table(sample_records()));
}

TEST(Report, CasesInAnyOrderAreListedBySpeed) {
  std::vector<Record> records = sample_records();
  std::reverse(records.begin(), records.end());
  Record machine = records[0];
  machine.kind = "roofline";
  records.insert(records.begin(), machine);
  const std::vector<Record> sorted = fastest_first(records);
  ASSERT_EQ(sorted.size(), records.size());
  EXPECT_EQ(sorted.back(), machine);
  for (const Record& record : records) {
    EXPECT_NE(std::find(sorted.begin(), sorted.end(), record), sorted.end()) << record.format;
  }
  for (size_t i = 1; i + 1 < sorted.size(); ++i) {
    const Record &a = sorted[i - 1], &b = sorted[i];
    if (a.llama_bench.model_filename != b.llama_bench.model_filename) continue;  // another table
    const Estimate *x = a.find("decode_tps"), *y = b.find("decode_tps");
    if (b.status != Status::kOk) continue;  // those without a speed may come last
    ASSERT_TRUE(a.status == Status::kOk && x && y) << a.format << " before " << b.format;
    EXPECT_GE(x->median, y->median) << a.format << " before " << b.format;
  }
}

TEST(Report, NamesTheKernelOfAFormatThatIsSlowerThanBf16) {
  const std::string text = report_table(sample_records());
  EXPECT_NE(text.find("warning: int4 decodes slower than bf16"), std::string::npos);
  EXPECT_NE(text.find("it ran cpu.gemv.int4.avx2"), std::string::npos);
  EXPECT_EQ(text.find("warning: q4_0"), std::string::npos);  // as fast as bf16
}

TEST(Report, SaysWhatFormatTheOutputHeadHas) {
  std::vector<Record> records = sample_records();
  EXPECT_EQ(report_table(records).find("output head"), std::string::npos);
  records[0].head = "bf16";
  records[1].head = "int4";
  EXPECT_NE(report_table(records).find("output head: as the layers\n"), std::string::npos);
  records[1].head = "int8";
  records[1] = parse_record("sample", to_json_line(records[1]));
  EXPECT_NE(report_table(records).find("output head: as the layers; int8 of int4\n"),
            std::string::npos);
}

TEST(Report, SaysWhichCasesAreUnstableAndWhy) {
  std::vector<Record> records = {sample_records()[0]};
  EXPECT_EQ(report_table(records).find("unstable"), std::string::npos);
  records[0].unstable = {"ttft: the second half of its 10 runs took 50.0 % less than the first"};
  EXPECT_NE(report_markdown(records).find("- bf16: unstable: ttft: the second half"),
            std::string::npos);
}

TEST(Report, CachesOfOtherSizesAndContextsOfOtherLengthsAreTablesOfTheirOwn) {
  std::vector<Record> records(3, sample_records()[0]);
  records[0].config["cache_size"] = 8192;
  records[1].config["cache_size"] = 16384;
  records[2].llama_bench.n_depth = 4096;
  const std::string text = report_table(records);
  for (const char* title : {"KV bf16 for 8192 tokens; prompt 128, 64 new tokens\n",
                            "KV bf16 for 16384 tokens; prompt 128, 64 new tokens\n",
                            "KV bf16; prompt 128, 64 new tokens after 4096\n"}) {
    EXPECT_NE(text.find(title), std::string::npos) << title << text;
  }
  const std::string csv = report_csv(records);
  EXPECT_NE(csv.find("prompt_tokens,new_tokens,depth,batch,cache_size,"), std::string::npos);
  for (const char* row : {",128,64,0,1,8192,", ",128,64,0,1,16384,", ",128,64,4096,1,0,"}) {
    EXPECT_NE(csv.find(row), std::string::npos) << row << csv;
  }
}

TEST(Report, SaysWhereRunsAreTooFewToJudgeDrift) {
  std::vector<Record> records = {sample_records()[0], sample_records()[1]};
  EXPECT_EQ(report_table(records).find("drift"), std::string::npos);
  for (Value& value : records[1].values) value.estimate.n = 4;
  const std::string text = report_table(records);
  EXPECT_NE(text.find("\ndrift cannot be told in 1 of 2 cases: fewer than 5 runs\n"),
            std::string::npos)
      << text;
}

TEST(Report, OneFigureIsShownInAUnitThatFits) {
  EXPECT_EQ(show("ttft", {0.0123, 0.0121, 0.0125, 9}), "12.3 ± 0.2");
  EXPECT_EQ(show("decode_tps", exact(812.4)), "812");
  EXPECT_EQ(show("top1_agreement", exact(0.987)), "98.7");
}

TEST(Report, AFigureKeepsItsDigitsBesideMuchLargerOnes) {
  std::vector<Record> records = {sample_records()[0], sample_records()[0]};
  const auto set_tpot = [](Record* record, double seconds) {
    for (Value& value : record->values) {
      if (value.tag == "tpot") value.estimate = {seconds, 0.99 * seconds, 1.01 * seconds, 9};
    }
  };
  set_tpot(&records[0], 1.32e-3);
  set_tpot(&records[1], 0.208);
  const std::string text = report_markdown(records);
  EXPECT_NE(text.find("| 1.32 ± 0.01 |"), std::string::npos) << text;
  EXPECT_NE(text.find("| 208 ± 2 |"), std::string::npos) << text;
}

TEST(Report, NothingIsWrittenForNoRecords) {
  EXPECT_EQ(report_table({}), "");
  EXPECT_EQ(report_markdown({}), "");
}

}  // namespace
}  // namespace lowbit
