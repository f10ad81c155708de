#include "bench/compare.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/text.h"
#include "bench/sample_records.h"

namespace lowbit {
namespace {

const ComparedMetric& metric(const Comparison& c, size_t index, std::string_view tag) {
  for (const ComparedMetric& m : c.cases.at(index).metrics) {
    if (m.tag == tag) return m;
  }
  throw_error("no {}", tag);
}

// A record whose decode takes `seconds` with a little noise.
Record timed(const std::string& format, double seconds) {
  Record record = sample_records()[0];
  record.config["format"] = record.format = format;
  record.quality.reset();
  record.values.clear();
  std::vector<RunTiming> runs;
  for (int i = 0; i < 12; ++i) {
    const double noise = 1 + 0.001 * ((i * 5) % 12);
    runs.push_back({0.05 * noise, 0.052 * noise, seconds * noise, 63});
  }
  add_speed(&record, runs, {.prompt_tokens = 128, .new_tokens = 64});
  record.set("model_bytes", exact(1e6));
  return record;
}

TEST(Compare, SlowerIsWorseForTimesAndRatesAlike) {
  const std::vector<Record> a = {timed("int4", 0.1)}, b = {timed("int4", 0.11)};
  const Comparison c = compare(a, b, {});
  ASSERT_EQ(c.cases.size(), 1u);
  EXPECT_NEAR(metric(c, 0, "tpot").ratio.ratio, 1.1, 1e-9);
  EXPECT_EQ(metric(c, 0, "tpot").verdict, Verdict::kWorse);
  EXPECT_EQ(metric(c, 0, "decode_tps").verdict, Verdict::kWorse);
  EXPECT_EQ(metric(c, 0, "ttft").verdict, Verdict::kSame);
  EXPECT_EQ(metric(c, 0, "model_bytes").verdict, Verdict::kSame);
  const Comparison back = compare(b, a, {});
  EXPECT_EQ(metric(back, 0, "tpot").verdict, Verdict::kBetter);
}

TEST(Compare, OtherWeightsOfTheSameNameAreADifference) {
  std::vector<Record> a = {timed("int4", 0.1)}, b = a;
  EXPECT_TRUE(compare(a, b, {}).differences.empty());
  b[0].fingerprint.model_hash = "1111111111111111";
  const Comparison c = compare(a, b, {});
  ASSERT_EQ(c.differences.size(), 1u);
  EXPECT_EQ(c.differences[0].field, "model_hash");
  EXPECT_EQ(c.differences[0].b, "1111111111111111");
  b[0].fingerprint.model_hash.clear();  // an older record
  EXPECT_TRUE(compare(a, b, {}).differences.empty());
}

TEST(Compare, CountsDifferByAnyAmountAndTimesThatWereTakenOnceNever) {
  std::vector<Record> a = {timed("int4", 0.1)}, b = a;
  a[0].set("kv_bytes", exact(1000));
  b[0].set("kv_bytes", exact(1001));
  a[0].set("load_time", exact(1));
  b[0].set("load_time", exact(2));
  const Comparison c = compare(a, b, {.metrics = {"kv_bytes", "load_time"}});
  EXPECT_EQ(metric(c, 0, "kv_bytes").verdict, Verdict::kWorse);
  EXPECT_EQ(metric(c, 0, "load_time").verdict, Verdict::kUnknown);
}

TEST(Compare, MeansOverTokensAreComparedByTheirIntervals) {
  std::vector<Record> a = {timed("int4", 0.1)};
  a[0].quality = QualityText{"some.txt", "bf16 as stored", 512, 2048};
  std::vector<Record> b = a, far = a;
  a[0].set("kl_mean", mean_estimate(0.040, 0.001, 2048));
  b[0].set("kl_mean", mean_estimate(0.041, 0.001, 2048));
  far[0].set("kl_mean", mean_estimate(0.050, 0.001, 2048));
  EXPECT_EQ(metric(compare(a, b, {}), 0, "kl_mean").verdict, Verdict::kSame);
  EXPECT_EQ(metric(compare(a, far, {}), 0, "kl_mean").verdict, Verdict::kWorse);
  far[0].quality->text = "other.txt";
  const Comparison other = compare(a, far, {});
  EXPECT_THROW(metric(other, 0, "kl_mean"), Error);
  EXPECT_EQ(other.notes.at(0),
            "prose int4: quality was scored on different texts and is not compared");
}

TEST(Compare, MatchesCasesByWhatWasAskedAndNotByEffort) {
  std::vector<Record> a = {timed("int4", 0.1), timed("int8", 0.2)}, b = {a[1], a[0]};
  b[0].config["max_seconds"] = 60;
  b[1].config["min_samples"] = 99;
  const Comparison c = compare(a, b, {});
  ASSERT_EQ(c.cases.size(), 2u);
  EXPECT_EQ(c.cases[0].name, "prose int4");
  EXPECT_EQ(metric(c, 1, "tpot").verdict, Verdict::kSame);
  b[0].config["prompt_tokens"] = 256;
  const Comparison fewer = compare(a, b, {});
  EXPECT_EQ(fewer.cases.size(), 1u);
  EXPECT_EQ(fewer.notes,
            (std::vector<std::string>{"prose int8: only in A", "prose int8: only in B"}));
}

TEST(Compare, WhatARowSaysAloneKeepsItApartFromRowsThatDoNot) {
  const std::vector<Record> plain = {timed("int4", 0.1)};
  for (const char* key : {"named", "calibration"}) {
    std::vector<Record> said = plain, other = plain;
    said[0].config[key] = "novels.txt";
    other[0].config[key] = "poems.txt";
    EXPECT_EQ(compare(said, said, {}).cases.size(), 1u) << key;
    for (const auto& [a, b] : {std::pair{plain, said}, {said, plain}, {said, other}}) {
      EXPECT_THROW(compare(a, b, {}), Error) << key;
      EXPECT_EQ(compare(a, b, {.ignore = {key}}).cases.size(), 1u) << key;
    }
    said[0].config[key] = "";  // as a record of bench has it
    EXPECT_EQ(compare(plain, said, {}).cases.size(), 1u) << key;
  }
}

TEST(Compare, OfARepeatedCaseTheLastCountsAndItSaysSo) {
  const std::vector<Record> a = {timed("int4", 0.5), timed("int4", 0.1)};
  const std::vector<Record> b = {timed("int4", 0.7), timed("int4", 0.1)};
  const Comparison c = compare(a, b, {});
  ASSERT_EQ(c.cases.size(), 1u);
  EXPECT_EQ(metric(c, 0, "tpot").verdict, Verdict::kSame);
  EXPECT_EQ(c.notes.size(), 2u);
}

TEST(Compare, AcrossFormatsOnlyWhenAsked) {
  const std::vector<Record> a = {timed("bf16", 0.2)}, b = {timed("int4", 0.1)};
  try {
    compare(a, b, {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "no case of A matches one of B: the closest two differ in format; --ignore format "
                 "compares them all the same");
  }
  const Comparison c = compare(a, b, {.ignore = {"format"}});
  EXPECT_EQ(c.cases[0].name, "prose bf16 : int4");
  EXPECT_EQ(metric(c, 0, "tpot").verdict, Verdict::kBetter);
  const std::vector<Record> two = {timed("int4", 0.1), timed("int8", 0.1)};
  EXPECT_THROW(compare(a, two, {.ignore = {"format"}}), Error);
  EXPECT_THROW(compare(a, b, {.ignore = {"fromat"}}), Error);
  EXPECT_THROW(compare(a, b, {.metrics = {"tpt"}}), Error);
}

TEST(Compare, SaysWhatElseDiffers) {
  const std::vector<Record> a = {timed("int4", 0.1), timed("int8", 0.1)};
  std::vector<Record> b = a;
  for (Record& record : b) {
    record.fingerprint.commit = "fedcba9";
    record.fingerprint.load_average += 0.2;  // always moves a little
  }
  b[1].fingerprint.kernels[0].kernel = "cpu.gemv.int8.avx512";
  const Comparison c = compare(a, b, {});
  ASSERT_EQ(c.differences.size(), 2u);
  EXPECT_EQ(c.differences[0].field, "commit");
  EXPECT_EQ(c.differences[0].cases, 2);
  EXPECT_EQ(c.differences[1].field, "kernels");
  EXPECT_EQ(c.differences[1].b, "qkv m=1-4 cpu.gemv.int8.avx512");
  const std::string notes = join(comparison_notes(c), "\n");
  EXPECT_NE(notes.find("commit differs: 0123abc | fedcba9"), std::string::npos) << notes;
  EXPECT_NE(notes.find("kernels differs in 1 cases: "), std::string::npos) << notes;
}

TEST(Compare, AFailedSideIsANoteAndNotANumber) {
  const std::vector<Record> a = {timed("int4", 0.1), timed("int8", 0.1)};
  std::vector<Record> b = a;
  b[1].status = Status::kFail;
  b[1].reason = "out of memory";
  const Comparison c = compare(a, b, {});
  EXPECT_EQ(c.cases.size(), 1u);
  EXPECT_EQ(c.notes, (std::vector<std::string>{"prose int8: fail in B: out of memory"}));
}

TEST(Compare, SaysThatASideWasUnstableUnlessItWasMeasuredInTurns) {
  const std::vector<Record> a = {timed("int4", 0.1)};
  std::vector<Record> b = a;
  b[0].unstable = {"decode: it drifted"};
  EXPECT_EQ(compare(a, b, {}).notes,
            (std::vector<std::string>{"prose int4: unstable in B: decode: it drifted"}));
  EXPECT_TRUE(compare(a, b, {.paired = true}).notes.empty());
}

TEST(Compare, WritesTheSameFactsAsRowsMarkdownAndJson) {
  const std::vector<Record> a = {timed("int4", 0.1)}, b = {timed("int4", 0.11)};
  const Comparison c = compare(a, b, {.metrics = {"tpot"}});
  const auto rows = comparison_rows(c);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[1][0], "prose int4");
  EXPECT_EQ(rows[1][1], "tpot");
  EXPECT_EQ(rows[1][2].substr(0, 4), "1.60");
  EXPECT_EQ(rows[1][4].substr(0, 6), "1.1000");
  EXPECT_EQ(rows[1][6], "worse");
  EXPECT_NE(comparison_markdown(c).find("| prose int4 | tpot | 1.60 "), std::string::npos);
  const auto json = comparison_json(c);
  EXPECT_EQ(json["cases"][0]["metrics"]["tpot"]["verdict"], "worse");
  EXPECT_NEAR(json["cases"][0]["metrics"]["tpot"]["ratio"].get<double>(), 1.1, 1e-9);
}

}  // namespace
}  // namespace lowbit
