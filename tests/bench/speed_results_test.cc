// The speed figures of docs/results that are of one machine: whole, and of one run.
#include <gtest/gtest.h>

#include <algorithm>

#include "bench/record.h"
#include "formats/format.h"

namespace lowbit {
namespace {

struct Table {
  const char *path, *command, *machine;
};
constexpr Table kTables[] = {
    {LB_SOURCE_DIR "/docs/results/cpu-llama-1.1b.jsonl",
     "lowbit bench configs/sweeps/cpu-decode.yaml out=docs/results/cpu-llama-1.1b.jsonl", "cpu"},
    {LB_SOURCE_DIR "/docs/results/h200/decode.jsonl",
     "scripts/gpu_sweep.sh build/release/lowbit docs/results/h200/decode.jsonl", "gpu"}};

class Speed : public testing::TestWithParam<Table> {
 protected:
  const std::string command_ = GetParam().command;
  const std::vector<Record> records_ = read_records(GetParam().path);
};

TEST_P(Speed, EveryFamilyHasARow) {
  for (const FormatRow& row : kFormats) {
    if (!row.params.weights) continue;
    const auto is = [&](const Record& r) {
      return r.status == Status::kOk && r.config_text("format") == row.name &&
             r.find("decode_tps") && r.find("ceiling_fraction");
    };
    EXPECT_TRUE(std::any_of(records_.begin(), records_.end(), is))
        << row.name << ", measure all again, since rows are compared: " << command_;
  }
}

TEST_P(Speed, RowsAreOfOneMachineAndProgram) {
  ASSERT_FALSE(records_.empty());
  const Fingerprint& first = records_[0].fingerprint;
  for (const Record& r : records_) {
    EXPECT_EQ(r.fingerprint.cpu, first.cpu) << r.format << ": " << command_;
    EXPECT_EQ(r.fingerprint.gpu, first.gpu) << r.format << ": " << command_;
    EXPECT_EQ(r.fingerprint.threads, first.threads) << r.format;
    EXPECT_EQ(r.fingerprint.commit, first.commit) << r.format << ": " << command_;
  }
}

INSTANTIATE_TEST_SUITE_P(Results, Speed, testing::ValuesIn(kTables),
                         [](const auto& test) { return std::string(test.param.machine); });

}  // namespace
}  // namespace lowbit
