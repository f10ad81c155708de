#include "bench/record.h"

#include <gtest/gtest.h>

#include "base/check.h"
#include "base/file.h"
#include "bench/metrics.h"
#include "bench/sample_records.h"

namespace lowbit {
namespace {

TEST(Record, SurvivesTheRoundTripThroughOneLine) {
  for (const Record& record : sample_records()) {
    const std::string line = to_json_line(record);
    EXPECT_EQ(line.find('\n'), std::string::npos);
    EXPECT_EQ(parse_record("test", line), record);
    EXPECT_EQ(to_json_line(parse_record("test", line)), line);
  }
}

// The stored line is what other people's tools read: it changes only with schema_version.
TEST(Record, WritesTheCommittedShape) {
  const std::string path = std::string(LB_SOURCE_DIR) + "/tests/golden/bench_record.json";
  EXPECT_EQ(to_json_line(sample_records()[0]) + "\n", map_file(path).text());
}

TEST(Record, EveryBrokenLineIsAnErrorThatNamesTheField) {
  const auto json = nlohmann::ordered_json::parse(to_json_line(sample_records()[0]));
  const auto error_of = [](const std::string& line) -> std::string {
    try {
      parse_record("r.jsonl:3", line);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  for (const auto& [key, value] : json.items()) {
    auto broken = json;
    broken.erase(key);
    const bool may_be_absent = key == "unstable" || key == "roof" || key == "repro" ||
                               key == "token_seconds" || key == "roof_unstable" ||
                               key == "memory" ||
                               key == "not_measured";  // records of older versions
    EXPECT_EQ(error_of(broken.dump()).find("r.jsonl:3: " + key) == std::string::npos, may_be_absent)
        << key;
    broken[key] = nlohmann::ordered_json::array({nullptr});
    EXPECT_NE(error_of(broken.dump()).find(key), std::string::npos) << key;
  }
  auto newer = json;
  newer["schema_version"] = 2;
  EXPECT_NE(error_of(newer.dump()).find("is 2; this build reads 1"), std::string::npos);
  newer = json;
  newer["n_prompt"] = int64_t{1} << 40;
  EXPECT_NE(error_of(newer.dump()).find("n_prompt"), std::string::npos);
  for (const char* line : {"", "{", "[]", "null", "{\"schema_version\":1e300}", "\xff"}) {
    EXPECT_NE(error_of(line), "no error") << line;
  }
}

TEST(Record, ALineOfAnOlderVersionIsReadWithoutWhatItDoesNotSay) {
  const Record record = sample_records()[0];
  auto json = nlohmann::ordered_json::parse(to_json_line(record));
  EXPECT_EQ(json["fingerprint"]["model_hash"], record.fingerprint.model_hash);
  for (const char* key : {"model_hash", "cuda_toolkit", "gpu_driver", "power_limit"}) {
    EXPECT_EQ(json["fingerprint"].erase(key), 1u) << key;
  }
  const Record old = parse_record("test", json.dump());
  EXPECT_EQ(old.fingerprint.model_hash, "");
  EXPECT_EQ(old.fingerprint.logits_hash, record.fingerprint.logits_hash);
}

TEST(Record, EveryMetricHasAUniqueTagAndSaysWhatItIs) {
  for (const Metric& a : kMetrics) {
    EXPECT_EQ(&find_metric(a.tag), &a);
    EXPECT_GT(a.help.size(), 10u) << a.tag;
    EXPECT_TRUE(!a.unit.empty() || a.tag == "perplexity") << a.tag;
    // Each stands alone: readers see one row, not the one above it.
    EXPECT_FALSE(a.help.starts_with("the same") || a.help.starts_with("as ")) << a.tag;
    EXPECT_NE(metrics_help().find(a.help), std::string::npos);
  }
}

TEST(RecordDeathTest, AMetricThatIsNotInTheTableIsOurError) {
  Record record;
  EXPECT_DEATH(record.set("tok_s", exact(1)), "no metric is called tok_s");
}

}  // namespace
}  // namespace lowbit
