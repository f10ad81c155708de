#include "bench/measure.h"

#include <gtest/gtest.h>

namespace lowbit {
namespace {

// 100 prompt tokens in 0.2 s, the first token 0.05 s later, then 10 steps in 0.5 s.
const std::vector<RunTiming> kRuns(6, RunTiming{0.2, 0.25, 0.5, 10});
const SpeedOptions kOptions = {.prompt_tokens = 100, .new_tokens = 11};

TEST(Metrics, SpeedFollowsFromTimesByTheStatedFormulas) {
  Record record;
  add_speed(&record, kRuns, kOptions);
  EXPECT_DOUBLE_EQ(record.find("prefill_tps")->median, 500);
  EXPECT_DOUBLE_EQ(record.find("decode_tps")->median, 20);
  EXPECT_DOUBLE_EQ(record.find("ttft")->median, 0.25);
  EXPECT_DOUBLE_EQ(record.find("tpot")->median, 0.05);
  EXPECT_DOUBLE_EQ(record.find("tps")->median, 11 / 0.75);
  EXPECT_EQ(record.find("tpot")->n, 6);
  EXPECT_EQ(record.values.front().samples.size(), 6u);
}

TEST(Metrics, ASecondHalfThatIsOverOnePercentSlowerMakesARecordUnstable) {
  std::vector<RunTiming> runs(12, kRuns.front());
  for (size_t i = 6; i < 12; ++i) runs[i].decode *= 1.009;
  Record steady;
  add_speed(&steady, runs, kOptions);
  EXPECT_TRUE(steady.unstable.empty());
  for (size_t i = 6; i < 12; ++i) runs[i].decode *= 1.02;
  Record drifting;
  add_speed(&drifting, runs, kOptions);
  EXPECT_EQ(drifting.unstable,
            (std::vector<std::string>{
                "decode: the second half of its 12 runs took 2.9 % longer than the first"}));
  EXPECT_EQ(parse_record("test", to_json_line(drifting)).unstable, drifting.unstable);
  EXPECT_EQ(drift_of("ttft", std::vector<double>{2, 2, 2, 2, 2, 1, 1, 1, 1, 1}),
            "ttft: the second half of its 10 runs took 50.0 % less than the first");
}

// The suite's configs record five runs: halves of two and three differ by chance, five that fall
// one after the other do not.
TEST(Metrics, OfFiveToNineRunsOnlyAClearTrendIsDrift) {
  using Times = std::vector<double>;
  EXPECT_EQ(drift_of("ttft", Times{1.04, 1.03, 1.02, 1.01, 1}),
            "ttft: the second half of its 5 runs took 2.4 % less than the first");
  EXPECT_EQ(drift_of("ttft", Times{1.04, 1.03, 1.02, 1, 1.01}), "");      // by chance in 8 %
  EXPECT_EQ(drift_of("ttft", Times{1.004, 1.003, 1.002, 1.001, 1}), "");  // by 0.2 %
  EXPECT_EQ(drift_of("ttft", Times{1, 1.1, 1, 1.2, 1.1}), "");
  EXPECT_NE(drift_of("ttft", Times{1, 1.03, 1.01, 1.02, 1.05, 1.04, 1.06, 1.08, 1.07}), "");
  EXPECT_EQ(drift_of("ttft", Times{1, 1.03, 1.05, 1.02, 1.04, 1.01, 1.08, 1.02, 1.06}), "");
  EXPECT_EQ(drift_of("ttft", Times{4, 3, 2, 1}), "");  // too few
}

TEST(Metrics, OneNewTokenHasNoDecodeFigures) {
  Record record;
  add_speed(&record, std::vector<RunTiming>{{0.2, 0.25, 0, 0}},
            {.prompt_tokens = 100, .new_tokens = 1});
  EXPECT_EQ(record.find("decode_tps"), nullptr);
  EXPECT_EQ(record.find("tpot"), nullptr);
  EXPECT_DOUBLE_EQ(record.find("tps")->median, 4);
}

TEST(Metrics, LlamaBenchFieldsHaveItsDefinitions) {
  Record record;
  add_speed(&record, std::vector<RunTiming>{{0.2, 0.25, 0.5, 10}, {0.2, 0.25, 0.75, 10}}, kOptions);
  const LlamaBenchFields& f = record.llama_bench;
  EXPECT_EQ(f.n_prompt, 100);
  EXPECT_EQ(f.n_gen, 10);  // tokens fed one at a time
  EXPECT_EQ(f.samples_ns, (std::vector<int64_t>{750'000'000, 1'000'000'000}));
  EXPECT_EQ(f.avg_ns, 875'000'000);
  EXPECT_EQ(f.stddev_ns, 176'776'695);  // 0.25 s / sqrt(2)
  EXPECT_DOUBLE_EQ(f.samples_ts[0], 110 / 0.75);
  EXPECT_DOUBLE_EQ(f.avg_ts, (110 / 0.75 + 110) / 2);
}

// 100 steps of 1 to 100 ms in each run.
std::vector<RunTiming> runs_with_steps() {
  RunTiming run{0.2, 0.25, 5.05, 100};
  for (int i = 100; i > 0; --i) run.steps.push_back(i * 1e-3);
  return std::vector<RunTiming>(6, run);
}

TEST(Metrics, PercentilesAreThoseOfARunsSteps) {
  Record record;
  add_speed(&record, runs_with_steps(), {.prompt_tokens = 100, .new_tokens = 101});
  EXPECT_DOUBLE_EQ(record.find("token_p50")->median, 0.0505);
  EXPECT_DOUBLE_EQ(record.find("token_p90")->median, 0.0901);
  EXPECT_DOUBLE_EQ(record.find("token_p99")->median, 0.09901);
  EXPECT_EQ(record.find("token_p99")->n, 6);
  EXPECT_DOUBLE_EQ(record.find("latency")->median, 5.3);
  ASSERT_EQ(record.token_seconds.size(), 101u);
  EXPECT_DOUBLE_EQ(record.token_seconds.front(), 0.001);
  EXPECT_DOUBLE_EQ(record.token_seconds.back(), 0.1);
  const Record stored = parse_record("test", to_json_line(record));
  EXPECT_EQ(stored.token_seconds, record.token_seconds);
}

const Ceilings kCeilings = {
    .levels = {{"memory", 0, 1e9}}, .float_flops = 100e9, .integer_flops = 400e9, .measured = ""};

TEST(Metrics, WorkIsDividedByTimesAndByWhatTheMachineCanDo) {
  Record record;  // a step takes 0.05 s, the prompt 0.2 s
  const Work decode = {.bytes = 1, .float_flops = 1e9, .integer_flops = 1e9};
  const Work prefill = {.bytes = 7, .float_flops = 10e9};
  add_work(&record, kRuns, decode, prefill, kCeilings);
  EXPECT_EQ(record.status, Status::kOk) << record.reason;
  EXPECT_DOUBLE_EQ(record.find("flops_per_token")->median, 2e9);
  EXPECT_DOUBLE_EQ(record.find("flop_rate")->median, 40e9);
  EXPECT_DOUBLE_EQ(record.find("flop_ceiling")->median, 2e9 / (0.01 + 0.0025));
  EXPECT_DOUBLE_EQ(record.find("flop_fraction")->median, 40.0 / 160);
  EXPECT_DOUBLE_EQ(record.find("prefill_bytes")->median, 7);
  EXPECT_DOUBLE_EQ(record.find("prefill_flops")->median, 10e9);
  EXPECT_DOUBLE_EQ(record.find("prefill_flop_rate")->median, 50e9);
  EXPECT_DOUBLE_EQ(record.find("prefill_flop_ceiling")->median, 100e9);
  EXPECT_DOUBLE_EQ(record.find("prefill_flop_fraction")->median, 0.5);
}

TEST(Metrics, TheHighestShareIsThatOfTheFastestRun) {
  std::vector<RunTiming> runs = kRuns;
  EXPECT_DOUBLE_EQ(highest_share(runs, {.float_flops = 1e9}, {.float_flops = 1e9}, kCeilings), 0.2);
  runs[3].prefill = 0.004;
  EXPECT_DOUBLE_EQ(highest_share(runs, {.float_flops = 1e9}, {.float_flops = 1e9}, kCeilings), 2.5);
}

TEST(Metrics, OperationsAboveTheCeilingFailTheCase) {
  Record record;
  add_work(&record, kRuns, {.float_flops = 5.1e9}, {.float_flops = 1e9}, kCeilings);
  EXPECT_EQ(record.status, Status::kFail);
  EXPECT_NE(record.reason.find("decode does 102 %"), std::string::npos) << record.reason;
  Record prompt;
  add_work(&prompt, kRuns, {.float_flops = 1e9}, {.float_flops = 21e9}, kCeilings);
  EXPECT_NE(prompt.reason.find("prefill does 105 %"), std::string::npos) << prompt.reason;
}

TEST(Metrics, BandwidthIsBytesOverTimePerStep) {
  Record record;
  add_ceiling(&record, kRuns, 2e9, 100e9);
  EXPECT_DOUBLE_EQ(record.find("bandwidth")->median, 40e9);
  EXPECT_DOUBLE_EQ(record.find("ceiling")->median, 100e9);
  EXPECT_DOUBLE_EQ(record.find("ceiling_fraction")->median, 0.4);
  EXPECT_EQ(record.status, Status::kOk);
}

TEST(Metrics, ANumberAboveTheCeilingFailsTheCase) {
  Record record;
  add_ceiling(&record, kRuns, 2e9, 39e9);
  EXPECT_EQ(record.status, Status::kFail);
  EXPECT_NE(record.reason.find("103 % of the 39.00 GB/s"), std::string::npos) << record.reason;
}

TEST(Metrics, PromptsAreHeldToTheSameCeiling) {
  Record record;  // the prompt takes 0.2 s
  add_prefill_ceiling(&record, kRuns, 2e9, 100e9);
  EXPECT_DOUBLE_EQ(record.find("prefill_bandwidth")->median, 10e9);
  EXPECT_DOUBLE_EQ(record.find("prefill_ceiling")->median, 100e9);
  EXPECT_DOUBLE_EQ(record.find("prefill_ceiling_fraction")->median, 0.1);
  EXPECT_EQ(record.status, Status::kOk);
  Record above;
  add_prefill_ceiling(&above, kRuns, 2e9, 8e9);
  EXPECT_EQ(above.status, Status::kFail);
  EXPECT_NE(above.reason.find("prefill reads 10.00 GB/s, 125 % of the 8.00 GB/s"),
            std::string::npos)
      << above.reason;
}

TEST(Metrics, AMedianAboveTheCeilingWithinItsIntervalIsNoise) {
  std::vector<RunTiming> runs = kRuns;
  runs[0].decode = 0.6;  // the slowest run stays below the ceiling
  Record record;
  add_ceiling(&record, runs, 2e9, 39e9);
  EXPECT_EQ(record.status, Status::kOk);
}

TEST(Measure, StopsWhenBothIntervalsAreNarrowAndNotBefore) {
  SpeedOptions options = kOptions;
  options.min_samples = 6;
  options.ci_width = 0.1;
  std::vector<RunTiming> runs = kRuns;
  EXPECT_TRUE(precise_enough(runs, options));
  runs.pop_back();
  EXPECT_FALSE(precise_enough(runs, options));  // too few
  runs = kRuns;
  runs[2].decode *= 1.2;
  EXPECT_FALSE(precise_enough(runs, options));  // decode varies
  runs = kRuns;
  runs[2].ttft *= 1.2;
  EXPECT_FALSE(precise_enough(runs, options));  // ttft varies
}

TEST(Measure, IsWarmOnceARunIsNoFasterThanThoseBefore) {
  const auto warm = [](std::vector<double> seconds) { return is_warm(seconds); };
  EXPECT_FALSE(warm({}));
  EXPECT_FALSE(warm({9}));
  EXPECT_FALSE(warm({9, 5}));
  EXPECT_FALSE(warm({9, 5, 4.9}));
  EXPECT_TRUE(warm({9, 5, 4.9, 4.89}));
  EXPECT_TRUE(warm({5, 5.5}));
}

TEST(Measure, AScheduleCountsAsTorchsDoes) {
  const auto recorded = [](const Schedule& schedule) {
    std::string runs;
    for (int64_t i = 0; i < schedule.total(); ++i) runs += schedule.records(i) ? 'R' : '.';
    return runs;
  };
  EXPECT_EQ(recorded({1, 1, 3, 5, 0}), ".....RRRRR");  // the shipped configs
  EXPECT_EQ(recorded({1, 2, 1, 1, 1}), "....R");
  EXPECT_EQ(recorded({0, 0, 0, 1, 5}), "RRRRR");
  EXPECT_EQ(recorded({1, 0, 1, 2, 2}), "..RR.RR");
}

}  // namespace
}  // namespace lowbit
