// The quality table: the mechanism on a tiny model, the printers on made-up records.
#include "bench/quality_table.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "base/check.h"
#include "cpu/backend.h"
#include "load/embedded.h"

namespace lowbit {
namespace {

Record made_up(const std::string& format, double bits, double kl) {
  Record record;
  record.kind = "quality";
  record.format = format;
  record.config = {{"quantizer", "rtn"}, {"kv_format", "bf16"}, {"head", ""}, {"embedding", ""}};
  for (const char* tag : {"model_bytes", "perplexity", "kl_p99", "kl_max", "top1_agreement"}) {
    record.set(tag, exact(1));
  }
  record.set("stored_bits", exact(bits));
  record.set("kl_mean", exact(kl));
  return record;
}

TEST(QualityPlot, MarksWhatNoOtherBeats) {
  const Record records[] = {made_up("int8", 8, 1e-4), made_up("worse", 8.5, 1e-3),
                            made_up("int4", 4.5, 0.03), made_up("poor4", 4.6, 0.05),
                            made_up("int2", 2.5, 1.4)};
  const std::string svg = quality_svg(records);
  const auto radius_of = [&](const std::string& format) {
    const size_t title = svg.find("<title>" + format);
    EXPECT_NE(title, std::string::npos) << format;
    const size_t r = svg.rfind(" r=\"", title);
    return svg.substr(r + 4, svg.find('"', r + 4) - r - 4);
  };
  for (const char* front : {"int8", "int4", "int2"}) EXPECT_EQ(radius_of(front), "5") << front;
  for (const char* beaten : {"worse", "poor4"}) EXPECT_EQ(radius_of(beaten), "3.5") << beaten;
}

TEST(QualityPlot, NothingToPlotIsAnEmptyPicture) {
  EXPECT_NE(quality_svg({}).find("</svg>"), std::string::npos);
}

TEST(QualityTable, SaysWhenWhereAndHowRowsWereMeasured) {
  Record early = made_up("int8", 8, 1e-4), late = made_up("int4", 4.5, 0.03);
  for (Record* record : {&early, &late}) {
    record->fingerprint.cpu = "Some CPU";
    record->fingerprint.threads = 2;
    record->fingerprint.commit = "0123456789abcdef";
    record->llama_bench.test_time = "2026-11-26T14:14:03Z";
    record->repro = "lowbit quality text=a.txt";
  }
  late.fingerprint.dirty = true;
  late.llama_bench.test_time = "2026-11-27T08:00:00Z";
  const Record records[] = {early, early, late};
  const std::string notes[] = {"one", "two, three"};
  EXPECT_TRUE(quality_markdown(records, notes)
                  .ends_with("\nWhat may surprise:\n\n* one\n* two, three\n"
                             "\nMeasured:\n\n"
                             "* 2 rows on 2026-11-26, commit 0123456789ab, Some CPU (2 threads), "
                             "by `lowbit quality "
                             "text=a.txt`\n"
                             "* 1 row on 2026-11-27, commit 0123456789ab with changes, Some CPU (2 "
                             "threads), by `lowbit "
                             "quality text=a.txt`\n"))
      << quality_markdown(records, notes);
}

TEST(QualityTable, OrdersByBitsAndShowsFailures) {
  Record failed = made_up("broken", 3, 0.5);
  failed.status = Status::kFail;
  failed.reason = "logits are not finite";
  const Record records[] = {made_up("int2", 2.5, 1.4), made_up("int8", 8, 1e-4), failed,
                            made_up("int8+int8", 8, 1e-3)};
  const std::string table = quality_markdown(records);
  EXPECT_LT(table.find("| int8 |"), table.find("| broken |"));
  EXPECT_LT(table.find("| broken |"), table.find("| int2 |"));
  EXPECT_NE(table.find("logits are not finite"), std::string::npos);
  EXPECT_LT(table.find("## Weights and activations"), table.find("| int8+int8 |"));
}

// On the model that is linked in; few tokens, so that only what is far apart is compared.
class QualityRun : public testing::Test {
 protected:
  void SetUp() override {
    if (embedded_names().empty()) GTEST_SKIP() << "no model is linked into this build";
    path_ = std::filesystem::temp_directory_path() / "lowbit_quality.txt";
    std::ofstream(path_) << "It was a bright cold morning, and the old gentleman had not yet come "
                            "down to his breakfast. The fire burned low; the kettle sang.";
  }
  void TearDown() override { std::filesystem::remove(path_); }
  std::filesystem::path path_;
};

TEST_F(QualityRun, VariantsAreScoredAgainstTheWeightsAsStored) {
  QualityConfig config;
  config.text = path_.string();
  config.formats = {"int8", "int2", "int4@hqq", "int8+int8", "int8wo"};
  config.kv_formats = {"int8", "int4"};
  config.command = "lowbit quality text=lowbit_quality.txt";
  const std::vector<Record> records = measure_quality(config, cpu_backend());
  ASSERT_EQ(records.size(), 8u);
  const auto kl = [&](size_t i) { return records[i].find("kl_mean")->median; };
  EXPECT_EQ(records[0].format, "stored");
  EXPECT_EQ(kl(0), 0);
  EXPECT_LT(kl(1), kl(2));
  EXPECT_LT(kl(1), kl(4));  // int8 alone against int8+int8
  EXPECT_LT(kl(6), kl(7));  // caches
  EXPECT_EQ(records[3].config_text("quantizer"), "hqq");
  EXPECT_EQ(records[5].config_text("quantizer"), "torchao-0.9.0");
  for (const Record& record : records) {
    EXPECT_EQ(parse_record("test", to_json_line(record)), record) << record.format;
    EXPECT_EQ(record.repro, config.command);
  }
  // The head has the format of the other Linears unless a name says otherwise.
  EXPECT_EQ(records[0].head, "bf16");
  EXPECT_EQ(records[2].head, "int2");
  EXPECT_EQ(records[4].head, "int8");
  EXPECT_EQ(records[5].head, "int8-sbf16");
  EXPECT_EQ(records[6].head, "bf16");
}

TEST_F(QualityRun, AnImpossibleVariantIsAFailedRowAndTheOthersAreMeasured) {
  QualityConfig config;
  config.text = path_.string();
  config.tokens = 16;
  config.formats = {"int8@hqq", "int8", "q4_k@mse", "q4_k"};
  const std::vector<Record> records = measure_quality(config, cpu_backend());
  ASSERT_EQ(records.size(), 5u);
  EXPECT_EQ(records[1].status, Status::kFail);
  EXPECT_NE(records[1].reason.find("hqq moves the zero"), std::string::npos) << records[1].reason;
  EXPECT_EQ(records[2].status, Status::kOk);
  EXPECT_GT(records[2].find("kl_mean")->median, 0);
  EXPECT_EQ(records[3].status, Status::kFail);
  EXPECT_NE(records[3].reason.find("which only rtn does"), std::string::npos) << records[3].reason;
  EXPECT_EQ(records[4].status, Status::kOk);
  const std::string table = quality_markdown(records);
  EXPECT_NE(table.find("| int8@hqq | fail: "), std::string::npos) << table;
  EXPECT_LT(table.find("| int8 |"), table.find("| int8@hqq |"));
  EXPECT_EQ(parse_record("test", to_json_line(records[1])), records[1]);
}

TEST_F(QualityRun, WhatAnEarlierRunScoredIsTakenOver) {
  QualityConfig config;
  config.text = path_.string();
  config.formats = {"int8", "int2"};
  std::vector<Record> first = measure_quality(config, cpu_backend());
  const std::filesystem::path file =
      std::filesystem::temp_directory_path() / "lowbit_quality_known.jsonl";
  const auto keep = [&](std::span<const Record> records) {
    std::ofstream out(file);
    for (const Record& record : records) out << to_json_line(record) << "\n";
  };
  first[2].repro = "before";  // so that it can be told from a new one
  keep(first);
  config.known = file.string();
  const std::filesystem::path copy = path_.parent_path() / "lowbit_quality_copy.txt";
  std::filesystem::copy_file(path_, copy, std::filesystem::copy_options::overwrite_existing);
  config.text = copy.string();
  config.formats = {"stored", "int4", "int2", "bf16_int8"};
  const std::vector<Record> second = measure_quality(config, cpu_backend());
  ASSERT_EQ(second.size(), 5u);
  EXPECT_TRUE(first[0].quality->text.starts_with("lowbit_quality.txt (")) << first[0].quality->text;
  EXPECT_TRUE(second[2].quality->text.starts_with("lowbit_quality_copy.txt ("));
  for (Record& record : first) record.quality->text = second[0].quality->text;
  EXPECT_EQ(second[2], first[2]);
  EXPECT_EQ(second[4], first[1]);  // not asked for, and not lost
  EXPECT_EQ(second[1].format, "int4");
  EXPECT_GT(second[1].find("kl_mean")->median, 0);
  EXPECT_EQ(second[3].config_text("named"), "bf16_int8");

  const auto error = [&] {
    try {
      measure_quality(config, cpu_backend());
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  std::ofstream(copy, std::ios::app) << " It rained.";
  EXPECT_NE(error().find("give that text, with that many tokens, or run without"),
            std::string::npos)
      << error();
  config.text = path_.string();
  first[0].set("perplexity", exact(1));
  keep(first);
  EXPECT_NE(error().find("the stored weights scored 1.0000 on"), std::string::npos) << error();
  keep(std::span(first).last(1));
  EXPECT_NE(error().find("has no row of"), std::string::npos) << error();
  config.ctx = 16;
  EXPECT_NE(error().find("windows of 512, this run is in windows of 16: give ctx=512"),
            std::string::npos)
      << error();
  config.ctx = 0;
  first[0].kind = "model";
  keep(std::span(first).first(1));
  EXPECT_NE(error().find("of another command (kind `model`)"), std::string::npos) << error();
  keep({});
  EXPECT_NE(error().find("known: " + file.string() + ": holds no records"), std::string::npos)
      << error();
  std::filesystem::remove(file);
  std::filesystem::remove(copy);
}

TEST_F(QualityRun, ARowSaysWhichTextItsQuantizerLookedAt) {
  const std::filesystem::path folder = path_.parent_path();
  const std::filesystem::path file = folder / "lowbit_quality_calibrated.jsonl";
  const std::filesystem::path other = folder / "lowbit_quality_other.txt";
  std::filesystem::copy_file(path_, other, std::filesystem::copy_options::overwrite_existing);
  QualityConfig config;
  config.text = path_.string();
  config.tokens = 16;
  config.formats = {"int4", "int4@importance"};
  config.calibration = path_.string();
  config.calibration_tokens = 8;
  std::vector<Record> first = measure_quality(config, cpu_backend());
  ASSERT_EQ(first.size(), 3u);
  EXPECT_EQ(first[1].config_text("calibration"), "");
  const std::string seen = first[2].config_text("calibration");
  EXPECT_TRUE(seen.starts_with("lowbit_quality.txt (first 8 tokens, hash ")) << seen;
  EXPECT_NE(quality_markdown(first).find("were given " + seen + ".\n"), std::string::npos)
      << quality_markdown(first);

  first[2].repro = "before";  // so that it can be told from a new one
  std::ofstream(file) << to_json_line(first[0]) << "\n" << to_json_line(first[2]) << "\n";
  config.known = file.string();
  config.calibration = other.string();  // holds the same
  std::vector<Record> again = measure_quality(config, cpu_backend());
  ASSERT_EQ(again.size(), 3u);
  EXPECT_EQ(again[2].repro, "before");
  EXPECT_TRUE(again[2].config_text("calibration").starts_with("lowbit_quality_other.txt (first 8"));
  std::ofstream(other) << "Another text altogether, of at least eight tokens or more.";
  again = measure_quality(config, cpu_backend());
  ASSERT_EQ(again.size(), 4u);
  EXPECT_EQ(again[2].repro, "");
  EXPECT_EQ(again[3], first[2]);
  std::filesystem::remove(file);
  std::filesystem::remove(other);
}

TEST_F(QualityRun, NamesThatMeanTheSameAreOneRow) {
  QualityConfig config;
  config.text = path_.string();
  config.tokens = 16;
  config.formats = {"int8", "int8-row", "Int8WeightOnly", "int8@rtn", "bf16_int8", "int8wo"};
  config.kv_formats = {"bf16", "int8", "int8-sbf16"};
  std::vector<std::string> rows;
  for (const Record& record : measure_quality(config, cpu_backend())) {
    rows.push_back(record.format + "@" + record.config_text("quantizer") + " " +
                   record.config_text("kv_format"));
  }
  // bf16_int8 and int8wo differ in the head.
  EXPECT_EQ(rows,
            (std::vector<std::string>{"stored@ bf16", "int8@rtn bf16", "int8@torchao-0.18.0 bf16",
                                      "int8-sbf16@torchao-0.9.0 bf16",
                                      "int8-sbf16@torchao-0.9.0 bf16", "stored@ int8"}));
}

TEST_F(QualityRun, WhatWouldFailAtTheEndIsRefusedAtOnce) {
  const auto error_of = [&](const auto& set) {
    QualityConfig config;
    config.text = path_.string();
    set(config);
    try {
      measure_quality(config, cpu_backend());
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(
      error_of([](QualityConfig& c) { c.formats = {"int4@gptq"}; }).find("give calibration=TEXT"),
      std::string::npos);
  EXPECT_EQ(error_of([](QualityConfig& c) { c.ctx = 1; }).find("ctx = 1: must be at least 2"), 0u);
  const std::string absent = "/no/such/folder/x";
  EXPECT_EQ(error_of([&](QualityConfig& c) { c.markdown = absent; }),
            "markdown: /no/such/folder/x: there is no folder /no/such/folder/; make it first");
  EXPECT_EQ(error_of([&](QualityConfig& c) { c.out = absent; }).find("out: " + absent), 0u);
  EXPECT_EQ(error_of([](QualityConfig& c) { c.plot = "/tmp"; }),
            "plot: /tmp: is a folder; name a file in it");
}

TEST_F(QualityRun, BadNamesAreErrorsAtOnce) {
  QualityConfig config;
  config.text = path_.string();
  for (const char* format : {"int44", "int4@nothing", "int8+int3"}) {
    config.formats = {format};
    EXPECT_THROW(measure_quality(config, cpu_backend()), Error) << format;
  }
  config.formats = {};
  config.kv_formats = {"fp8-tensor"};
  EXPECT_THROW(measure_quality(config, cpu_backend()), Error);
  config.kv_formats = {};
  config.tokens = -1;
  EXPECT_THROW(measure_quality(config, cpu_backend()), Error);
  config.tokens = 0;
  config.text = "";
  EXPECT_THROW(measure_quality(config, cpu_backend()), Error);
}

}  // namespace
}  // namespace lowbit
