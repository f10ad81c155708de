// The speed figures of docs/results that are of one machine: whole, and of one run.
#include <gtest/gtest.h>

#include <algorithm>

#include "bench/record.h"
#include "formats/format.h"

namespace lowbit {
namespace {

const std::string kTable = LB_SOURCE_DIR "/docs/results/cpu-llama-1.1b.jsonl";
const std::string kCommand =
    "lowbit bench configs/sweeps/cpu-decode.yaml out=docs/results/cpu-llama-1.1b.jsonl";

TEST(SpeedOnCpus, EveryFamilyHasARow) {
  const std::vector<Record> records = read_records(kTable);
  for (const FormatRow& row : kFormats) {
    if (!row.params.weights) continue;
    const auto is = [&](const Record& r) {
      return r.status == Status::kOk && r.config_text("format") == row.name &&
             r.find("decode_tps") && r.find("ceiling_fraction");
    };
    EXPECT_TRUE(std::any_of(records.begin(), records.end(), is))
        << row.name << ", measure all again, since rows are compared: " << kCommand;
  }
}

TEST(SpeedOnCpus, RowsAreOfOneMachineAndProgram) {
  const std::vector<Record> records = read_records(kTable);
  ASSERT_FALSE(records.empty());
  for (const Record& r : records) {
    EXPECT_EQ(r.fingerprint.cpu, records[0].fingerprint.cpu) << r.format << ": " << kCommand;
    EXPECT_EQ(r.fingerprint.threads, 2) << r.format;
    EXPECT_EQ(r.fingerprint.commit, records[0].fingerprint.commit) << r.format << ": " << kCommand;
  }
}

}  // namespace
}  // namespace lowbit
