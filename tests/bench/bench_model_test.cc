#include "bench/bench_model.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/build_info.h"
#include "base/check.h"
#include "base/file.h"
#include "base/text.h"
#include "bench/quality.h"
#include "bench/report.h"
#include "cpu/backend.h"
#include "load/checkpoint.h"
#include "ref/backend.h"

namespace lowbit {
namespace {

BenchCase tiny_case(const std::string& format = "bf16") {
  BenchCase c;
  c.model = "synthetic:tiny";
  c.format = format;
  c.device = "ref";
  c.prompt_tokens = 3;
  c.new_tokens = 3;
  c.min_samples = 2;
  c.max_seconds = 0.01;
  return c;
}

BenchCase prose_case(const std::string& format) {
  BenchCase c = tiny_case(format);
  c.model = std::string(LB_SOURCE_DIR) + "/models/prose-7m";
  return c;
}

void expect_every_field(const Record& record) {
  ASSERT_EQ(record.status, Status::kOk) << record.reason;
  for (const char* tag : {"prefill_tps",
                          "decode_tps",
                          "tps",
                          "ttft",
                          "tpot",
                          "load_time",
                          "model_bytes",
                          "kv_bytes",
                          "kv_bytes_per_token",
                          "bits_per_weight",
                          "bytes_per_token",
                          "bandwidth",
                          "ceiling",
                          "ceiling_fraction",
                          "prefill_bandwidth",
                          "prefill_ceiling",
                          "prefill_ceiling_fraction",
                          "latency",
                          "token_p50",
                          "token_p90",
                          "token_p99",
                          "flops_per_token",
                          "flop_rate",
                          "flop_ceiling",
                          "flop_fraction",
                          "prefill_bytes",
                          "prefill_flops",
                          "prefill_flop_rate",
                          "prefill_flop_ceiling",
                          "prefill_flop_fraction"}) {
    const Estimate* value = record.find(tag);
    ASSERT_NE(value, nullptr) << tag;
    EXPECT_GT(value->lo, 0) << tag;
    EXPECT_LE(value->lo, value->median) << tag;
    EXPECT_LE(value->median, value->hi) << tag;
  }
  const LlamaBenchFields& f = record.llama_bench;
  EXPECT_EQ(f.n_prompt, 3);
  EXPECT_EQ(f.n_gen, 2);
  EXPECT_EQ(f.model_filename, "synthetic:tiny");
  EXPECT_FALSE(f.model_type.empty());
  EXPECT_FALSE(f.cpu_info.empty());
  EXPECT_FALSE(f.samples_ns.empty());
  EXPECT_GT(f.model_n_params, 1'000'000);
  EXPECT_FALSE(record.fingerprint.commit.empty());
  EXPECT_FALSE(record.fingerprint.compiler.empty());
  EXPECT_EQ(record.fingerprint.device, "ref");
  EXPECT_EQ(record.fingerprint.logits_hash.size(), 16u);
  EXPECT_EQ(record.fingerprint.model_hash, open_checkpoint("synthetic:tiny")->hash());
  EXPECT_EQ(record.fingerprint.cuda_toolkit.empty(), !build_info().cuda);
  ASSERT_EQ(record.fingerprint.kernels.size(), 5u);  // qkv, o, gate_up, down, head; one bucket
  EXPECT_EQ(record.fingerprint.kernels[0].linear, "qkv");
  EXPECT_EQ(record.fingerprint.kernels[0].kernel, "ref.linear.any");
  EXPECT_EQ(parse_record("line", to_json_line(record)), record);
}

TEST(BenchModel, EveryPromisedFieldIsThere) {
  const Record bf16 = run_case(tiny_case(), ref_backend());
  const Record int4 = run_case(tiny_case("int4"), ref_backend());
  expect_every_field(bf16);
  expect_every_field(int4);
  EXPECT_NE(bf16.fingerprint.logits_hash, int4.fingerprint.logits_hash);
  EXPECT_EQ(bf16.find("bits_per_weight")->median, 16);
  EXPECT_EQ(bf16.find("kv_bytes_per_token")->median, 2 * 4 * 2 * 64 * 2);
  EXPECT_EQ(int4.find("bits_per_weight")->median, 4.5);
}

TEST(BenchModel, TheTimeOfLoadingIsThatOfTheModelFromItsFirstFileOn) {
  LoadedModel loaded = load("synthetic:tiny", ref_backend(), {});
  EXPECT_GT(loaded.load_seconds, 0);
  loaded.load_seconds = 1.25;
  const Stepper stepper(*loaded.model, ref_backend(), {.max_context = 8});
  Record record;
  describe(&record, loaded, stepper);
  EXPECT_DOUBLE_EQ(record.find("load_time")->median, 1.25);
}

TEST(BenchModel, ThePeakIsTheLargestResidentMemorySinceItWasReset) {
  const std::string status = testing::TempDir() + "lowbit_status_" + std::to_string(::getpid());
  write_file_atomically(status, "Name:\tlowbit\nVmPeak:\t  9999 kB\nVmHWM:\t   1234 kB\n");
  EXPECT_EQ(peak_memory(status.c_str()), 1234 * 1024);
  std::filesystem::remove(status);
  if (!reset_peak_memory()) GTEST_SKIP() << "/proc/self/clear_refs cannot be written here";
  const int64_t before = peak_memory();
  constexpr int64_t kBytes = 64 << 20;
  {
    const std::vector<char> touched(kBytes, 'x');
    const volatile char* last = &touched.back();  // so that it is there
    EXPECT_EQ(*last, 'x');
  }
  EXPECT_GE(peak_memory(), before + kBytes / 2);
}

TEST(BenchModel, TimesOfStepsThatWaitedAfterEveryOpSaySo) {
  const auto waited = [](const Record& record) {
    return join(record.unstable, "; ").find("the host waited after every op") != std::string::npos;
  };
  EXPECT_FALSE(waited(run_case(tiny_case(), ref_backend())));
  ::setenv("LOWBIT_LAUNCH_BLOCKING", "1", 1);
  const Record record = run_case(tiny_case(), ref_backend());
  ::unsetenv("LOWBIT_LAUNCH_BLOCKING");
  EXPECT_TRUE(waited(record)) << record.reason;
}

TEST(BenchModel, DepthIsContextThatIsReadButNotTimed) {
  BenchCase c = tiny_case();
  c.depth = 40;
  const Record deep = run_case(c, ref_backend());
  ASSERT_EQ(deep.status, Status::kOk) << deep.reason;
  const Record flat = run_case(tiny_case(), ref_backend());
  EXPECT_EQ(deep.llama_bench.n_depth, 40);
  EXPECT_EQ(deep.llama_bench.n_prompt, 3);
  EXPECT_EQ(deep.fingerprint.logits_hash, flat.fingerprint.logits_hash);
  const LoadedModel loaded = load("synthetic:tiny", ref_backend(), load_options(c, ref_backend()));
  const Stepper stepper(*loaded.model, ref_backend(), {.max_context = 8});
  EXPECT_EQ(deep.find("bytes_per_token")->median - flat.find("bytes_per_token")->median,
            40.0 * static_cast<double>(stepper.state().bytes_per_token()));
  c.depth = 1 << 20;
  EXPECT_NE(run_case(c, ref_backend()).reason.find("context"), std::string::npos);
}

TEST(BenchModel, ARunLeavesTheDepthForTheNextOne) {
  const LoadedModel loaded = load("synthetic:tiny", ref_backend(), {});
  SpeedOptions options{.prompt_tokens = 3, .new_tokens = 3, .depth = 10};
  Stepper stepper(*loaded.model, ref_backend(), stepper_options(options, StepPlan::kEager));
  const RunTiming first = time_run(stepper, options);
  EXPECT_EQ(first.decode_steps, 2);
  EXPECT_EQ(stepper.length(0), 10);
  time_run(stepper, options);
  EXPECT_EQ(stepper.length(0), 10);
  options.depth = 0;
  time_run(stepper, options);
  EXPECT_EQ(stepper.length(0), 0);
}

int32_t loaded_vocab() {
  const LoadedModel loaded = load("synthetic:tiny", ref_backend(), {});
  return loaded.model->vocab_size();
}

// Draws of sequence `s` of a batch, step by step.
std::vector<int32_t> drawn_by(const SpeedOptions& options, int32_t s) {
  const LoadedModel loaded = load("synthetic:tiny", ref_backend(), {});
  Stepper stepper(*loaded.model, ref_backend(), stepper_options(options, StepPlan::kEager));
  prefill_all(stepper, options);
  start_decode_all(stepper, options);
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < options.new_tokens; ++i) {
    if (i > 0) stepper.decode();
    ids.push_back(stepper.drawn()[static_cast<size_t>(s)]);
  }
  return ids;
}

TEST(BenchModel, SequencesOfABatchHavePromptsOfTheirOwnAndDoNotChangeEachOther) {
  const SpeedOptions three{.prompt_tokens = 5, .new_tokens = 6, .batch = 3, .seed = 4};
  const SpeedOptions one{.prompt_tokens = 5, .new_tokens = 6, .seed = 4};
  EXPECT_EQ(drawn_by(three, 0), drawn_by(one, 0));
  EXPECT_NE(prompt_ids(100, three, 1), prompt_ids(100, three, 0));
  SpeedOptions second = one;
  second.prompt = prompt_ids(loaded_vocab(), three, 1);
  EXPECT_EQ(drawn_by(three, 1), drawn_by(second, 0));
}

TEST(BenchModel, ABatchReadsItsWeightsOnceAndItsCachesAllAndCountsEveryToken) {
  BenchCase c = tiny_case();
  c.batch = 4;
  c.cache_size = 128;
  const Record four = run_case(c, ref_backend());
  ASSERT_EQ(four.status, Status::kOk) << four.reason;
  const Record one = run_case(tiny_case(), ref_backend());
  const auto median = [](const Record& r, const char* tag) { return r.find(tag)->median; };
  EXPECT_NEAR(median(four, "decode_tps"), 4 / median(four, "tpot"),
              0.5 * median(four, "decode_tps"));
  EXPECT_EQ(median(four, "kv_bytes"), 8 * median(one, "kv_bytes"));  // and two pages each, not one
  const double alone = median(one, "bytes_per_token");
  EXPECT_LT(median(four, "bytes_per_token"), alone / 2);
  EXPECT_GT(median(four, "bytes_per_token"), alone / 4);
  EXPECT_NEAR(median(four, "flops_per_token"), median(one, "flops_per_token"), 1);
  EXPECT_NE(report_table(std::vector{four}).find(", batch 4,"), std::string::npos);
  EXPECT_NE(four.repro.find("batch=4 cache_size=128"), std::string::npos) << four.repro;
}

TEST(BenchModel, TheHeadMayHaveAFormatOfItsOwn) {
  BenchCase c = tiny_case("int4");
  c.head = "int8";
  const Record own = run_case(c, ref_backend()), same = run_case(tiny_case("int4"), ref_backend());
  EXPECT_EQ(own.format, "int4,int8");
  EXPECT_EQ(own.head, "int8");
  EXPECT_EQ(same.head, "int4");
  EXPECT_GT(own.find("bits_per_weight")->median, same.find("bits_per_weight")->median);
}

TEST(BenchModel, PhasesAreToldAsTheyBegin) {
  std::vector<std::string> phases;
  const auto on_phase = [&](std::string_view phase) { phases.emplace_back(phase); };
  run_case(tiny_case(), ref_backend(), {on_phase, ""});
  EXPECT_EQ(phases, (std::vector<std::string>{"loading", "measuring", "measuring the ceiling"}));
}

TEST(BenchModel, TheSameCaseHasTheSameLogitsHash) {
  const Record bf16 = run_case(tiny_case(), ref_backend());
  const Record stored = run_case(tiny_case("stored"), ref_backend());
  EXPECT_EQ(bf16.fingerprint.logits_hash, stored.fingerprint.logits_hash);
  EXPECT_EQ(stored.format, "bf16");
}

TEST(BenchModel, AScheduleAndAPromptAreFollowed) {
  BenchCase c = prose_case("bf16");
  c.quality = "none";
  c.prompt = "Hello, my name is";
  c.skip_first = 1;
  c.active = 2;
  c.repeat = 2;
  const Record record = run_case(c, cpu_backend());
  EXPECT_EQ(record.llama_bench.samples_ns.size(), 4u) << record.reason;
  const auto tokenizer = open_checkpoint(c.model)->tokenizer();
  EXPECT_EQ(record.llama_bench.n_prompt, static_cast<int>(tokenizer->encode(c.prompt).size()));
  c = tiny_case();  // no tokenizer
  c.prompt = "Hello, my name is";
  EXPECT_EQ(run_case(c, ref_backend()).llama_bench.n_prompt, 3);
}

TEST(BenchModel, RandomWeightsCarryNoQualityFigureEvenWhenAskedFor) {
  BenchCase c = tiny_case();
  c.quality = "self";
  const Record record = run_case(c, ref_backend());
  EXPECT_TRUE(record.random_weights);
  EXPECT_FALSE(record.quality);
  for (const char* tag : {"perplexity", "kl_mean", "kl_p99", "top1_agreement"}) {
    EXPECT_EQ(record.find(tag), nullptr) << tag;
  }
  EXPECT_NE(report_table(std::vector<Record>{record}).find("random weights"), std::string::npos);
}

TEST(BenchModel, ACaseThatCannotRunIsOneRow) {
  BenchCase c = tiny_case();
  c.prompt_tokens = 4000;  // the shape's context is 2048
  const Record record = run_case(c, ref_backend());
  EXPECT_EQ(record.status, Status::kFail);
  EXPECT_NE(record.reason.find("2048"), std::string::npos) << record.reason;
  EXPECT_EQ(record.llama_bench.n_prompt, 4000);
  EXPECT_EQ(record.llama_bench.n_gen, 2);
  EXPECT_NE(report_table(std::vector<Record>{record}).find("prompt 4000, 3 new tokens"),
            std::string::npos);
}

TEST(BenchModel, WeightsThatDoNotFitInMemoryAreSkippedBeforeLoading) {
  BenchCase c = tiny_case("f32");
  c.model = "synthetic:llama3.1-70b";
  if (available_memory() == 0 || available_memory() > int64_t{280} << 30) {
    GTEST_SKIP() << "this machine has room for 282 GB of weights, or does not say";
  }
  const Record record = run_case(c, ref_backend());
  EXPECT_EQ(record.status, Status::kSkip);
  EXPECT_NE(record.reason.find("needs about 282"), std::string::npos) << record.reason;
}

TEST(BenchModel, ARequestThatMakesNoSenseIsAnErrorAtOnce) {
  BenchCase c = tiny_case();
  EXPECT_NO_THROW(check_case(c));
  c.model = "synthetic:tinny";
  EXPECT_THROW(check_case(c), Error);
  c = tiny_case();
  c.text = "/nonexistent";
  EXPECT_THROW(check_case(c), Error);
}

// The numbers mean nothing here, the mechanism does: a model against itself, and a coarser copy.
TEST(Quality, SelfTextIsReproducibleAndCutIntoItsSequences) {
  const LoadedModel model = load("synthetic:tiny", ref_backend(), {});
  const SelfTextOptions options{.sequences = 2, .tokens = 4, .seed = 7};
  const ScoredText text = self_text(model, options);
  EXPECT_EQ(text.bos, 1);
  EXPECT_EQ(text.ctx, 5);
  EXPECT_EQ(text.ids.size(), 8u);
  EXPECT_EQ(text.ids, self_text(model, options).ids);
  EXPECT_NE(text.ids, self_text(model, {.sequences = 2, .tokens = 4, .seed = 8}).ids);
  EXPECT_NE(std::vector(text.ids.begin(), text.ids.begin() + 4),
            std::vector(text.ids.begin() + 4, text.ids.end()));
}

TEST(Quality, StoredWeightsAgreeWithThemselvesAndCoarserFormatsDivergeMore) {
  std::vector<Record> records;
  for (const char* format : {"stored", "int8", "int4"}) {
    BenchCase c = prose_case(format);
    c.quality_tokens = 128;
    records.push_back(run_case(c, cpu_backend()));
  }
  double last = -1;
  for (const Record& record : records) {
    ASSERT_EQ(record.status, Status::kOk) << record.reason;
    EXPECT_GT(record.find("kl_mean")->median, last) << record.format;
    last = record.find("kl_mean")->median;
    EXPECT_EQ(record.quality->tokens, 128);
    EXPECT_EQ(record.quality->reference, "bf16 as stored");
    EXPECT_GT(record.find("perplexity")->median, 1);
  }
  EXPECT_EQ(records[0].find("kl_mean")->median, 0);
  EXPECT_EQ(records[0].find("top1_agreement")->median, 1);
  EXPECT_LT(records[1].find("kl_mean")->median, 0.01);
}

TEST(Quality, CasesOfOneSweepScoreTheTextThatTheFirstOneMade) {
  const std::string scratch = testing::TempDir() + "lowbit_scratch_" + std::to_string(::getpid());
  std::filesystem::create_directories(scratch);
  BenchCase c = prose_case("int8");
  c.quality_tokens = 64;
  const Record alone = run_case(c, cpu_backend());
  const Record first = run_case(c, cpu_backend(), {[](std::string_view) {}, scratch});
  const auto files = open_folder(scratch)->names();
  ASSERT_EQ(files.size(), 1u);
  const std::string left(open_folder(scratch)->open(files[0]).text());
  const Record second = run_case(c, cpu_backend(), {[](std::string_view) {}, scratch});
  for (const Record* record : {&first, &second}) {
    EXPECT_EQ(record->quality, alone.quality);
    EXPECT_EQ(*record->find("kl_mean"), *alone.find("kl_mean"));
  }
  ScoredText shorter = parse_text(left);
  shorter.ids.resize(32);
  write_file_atomically(scratch + "/" + files[0], to_json(shorter));
  EXPECT_EQ(run_case(c, cpu_backend(), {[](std::string_view) {}, scratch}).quality->tokens, 32);
  std::filesystem::remove_all(scratch);
}

TEST(Quality, AGivenTextIsScoredAndNamed) {
  BenchCase c = prose_case("bf16");
  c.text = std::string(LB_SOURCE_DIR) + "/LICENSE";
  c.ctx = 32;
  c.quality_tokens = 62;  // two windows of BOS and 31 tokens
  const Record record = run_case(c, cpu_backend());
  ASSERT_EQ(record.status, Status::kOk) << record.reason;
  EXPECT_TRUE(record.quality->text.starts_with("LICENSE (first 62 tokens, hash "))
      << record.quality->text;
  EXPECT_EQ(record.quality->ctx, 32);
  EXPECT_EQ(record.quality->tokens, 62);
}

}  // namespace
}  // namespace lowbit
