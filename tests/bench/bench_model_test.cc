#include "bench/bench_model.h"

#include <gtest/gtest.h>

#include "base/check.h"
#include "bench/quality.h"
#include "bench/report.h"
#include "cpu/backend.h"
#include "ref/backend.h"

namespace lowbit {
namespace {

BenchConfig tiny_config() {
  BenchConfig config;
  config.models = {"synthetic:tiny"};
  config.formats = {"bf16", "int4"};
  config.device = "ref";
  config.prompt_tokens = 3;
  config.new_tokens = 3;
  config.min_samples = 2;
  config.max_seconds = 0.01;
  return config;
}

class Listener final : public BenchListener {
 public:
  void on_case(int64_t index, int64_t total, const std::string& what) override {
    events.push_back(fmt::format("{}/{} {}", index, total, what));
  }
  void on_phase(std::string_view) override {}
  void on_record(const Record& record) override { events.push_back("done " + record.format); }
  std::vector<std::string> events;
};

TEST(BenchModel, EveryPromisedFieldIsThere) {
  Listener listener;
  const std::vector<Record> records = bench_models(tiny_config(), ref_backend(), &listener);
  ASSERT_EQ(records.size(), 2u);
  for (const Record& record : records) {
    ASSERT_EQ(record.status, Status::kOk) << record.reason;
    for (const char* tag : {"prefill_tps", "decode_tps", "tps", "ttft", "tpot", "load_time",
                            "model_bytes", "kv_bytes", "bits_per_weight", "bytes_per_token",
                            "bandwidth", "ceiling", "ceiling_fraction"}) {
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
    ASSERT_EQ(record.fingerprint.kernels.size(), 5u);  // qkv, o, gate_up, down, head; one bucket
    EXPECT_EQ(record.fingerprint.kernels[0].linear, "qkv");
    EXPECT_EQ(record.fingerprint.kernels[0].kernel, "ref.linear.any");
    EXPECT_EQ(parse_record("line", to_json_line(record)), record);
  }
  EXPECT_NE(records[0].fingerprint.logits_hash, records[1].fingerprint.logits_hash);
  EXPECT_EQ(records[0].find("bits_per_weight")->median, 16);
  EXPECT_EQ(records[1].find("bits_per_weight")->median, 4.5);
  EXPECT_EQ(listener.events, (std::vector<std::string>{"0/2 synthetic:tiny bf16", "done bf16",
                                                       "1/2 synthetic:tiny int4", "done int4"}));
}

TEST(BenchModel, TheSameCaseHasTheSameLogitsHash) {
  BenchConfig config = tiny_config();
  config.formats = {"bf16", "stored"};
  const std::vector<Record> records = bench_models(config, ref_backend());
  EXPECT_EQ(records[0].fingerprint.logits_hash, records[1].fingerprint.logits_hash);
  EXPECT_EQ(records[1].format, "bf16");
}

TEST(BenchModel, RandomWeightsCarryNoQualityFigureEvenWhenAskedFor) {
  BenchConfig config = tiny_config();
  config.formats = {"bf16"};
  config.quality = "self";
  const Record record = bench_models(config, ref_backend()).front();
  EXPECT_TRUE(record.random_weights);
  EXPECT_FALSE(record.quality);
  for (const char* tag : {"perplexity", "kl_mean", "kl_p99", "top1_agreement"}) {
    EXPECT_EQ(record.find(tag), nullptr) << tag;
  }
  EXPECT_NE(report_table(std::vector<Record>{record}).find("random weights"), std::string::npos);
}

TEST(BenchModel, ACaseThatCannotRunIsOneRowAndTheRunGoesOn) {
  BenchConfig config = tiny_config();
  config.formats = {"bf16"};
  config.models = {"synthetic:tiny", "synthetic:tiny@1"};
  config.prompt_tokens = 4000;  // the shape's context is 2048
  const std::vector<Record> records = bench_models(config, ref_backend());
  ASSERT_EQ(records.size(), 2u);
  for (const Record& record : records) {
    EXPECT_EQ(record.status, Status::kFail);
    EXPECT_NE(record.reason.find("2048"), std::string::npos) << record.reason;
    EXPECT_EQ(record.llama_bench.n_prompt, 4000);
    EXPECT_EQ(record.llama_bench.n_gen, 2);
  }
  EXPECT_NE(report_table(records).find("prompt 4000, 3 new tokens"), std::string::npos);
}

TEST(BenchModel, WeightsThatDoNotFitInMemoryAreSkippedBeforeLoading) {
  BenchConfig config = tiny_config();
  config.models = {"synthetic:llama3.1-70b"};
  config.formats = {"f32"};
  if (available_memory() == 0 || available_memory() > int64_t{280} << 30) {
    GTEST_SKIP() << "this machine has room for 282 GB of weights, or does not say";
  }
  const Record record = bench_models(config, ref_backend()).front();
  EXPECT_EQ(record.status, Status::kSkip);
  EXPECT_NE(record.reason.find("needs about 282"), std::string::npos) << record.reason;
}

TEST(BenchModel, ARequestThatMakesNoSenseIsAnErrorAtOnce) {
  BenchConfig config = tiny_config();
  config.models = {"synthetic:tinny"};
  EXPECT_THROW(bench_models(config, ref_backend()), Error);
  config = tiny_config();
  config.formats = {"int9"};
  EXPECT_THROW(bench_models(config, ref_backend()), Error);
  config = tiny_config();
  config.text = "/nonexistent";
  EXPECT_THROW(bench_models(config, ref_backend()), Error);
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
  BenchConfig config = tiny_config();
  config.models = {std::string(LB_SOURCE_DIR) + "/models/prose-7m"};
  config.formats = {"stored", "int8", "int4"};
  config.quality_tokens = 128;
  const std::vector<Record> records = bench_models(config, cpu_backend());
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

TEST(Quality, AGivenTextIsScoredAndNamed) {
  BenchConfig config = tiny_config();
  config.models = {std::string(LB_SOURCE_DIR) + "/models/prose-7m"};
  config.formats = {"bf16"};
  config.text = std::string(LB_SOURCE_DIR) + "/LICENSE";
  config.ctx = 32;
  config.quality_tokens = 62;  // two windows of BOS and 31 tokens
  const Record record = bench_models(config, cpu_backend()).front();
  ASSERT_EQ(record.status, Status::kOk) << record.reason;
  EXPECT_EQ(record.quality->text, config.text + ", first 62 tokens");
  EXPECT_EQ(record.quality->ctx, 32);
  EXPECT_EQ(record.quality->tokens, 62);
}

}  // namespace
}  // namespace lowbit
