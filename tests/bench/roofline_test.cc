#include "bench/roofline.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "bench/ceiling.h"
#include "cpu/backend.h"
#include "engine/stepper.h"
#include "ref/backend.h"

namespace lowbit {
namespace {

// 10 GB/s up to 1 MB, 1 GB/s beyond; 100 GFLOP/s, 400 GOP/s.
const Ceilings kMachine = {.levels = {{"L2", 1'000'000, 10e9}, {"memory", 0, 1e9}},
                           .float_flops = 100e9,
                           .integer_flops = 400e9,
                           .measured = "2026-01-02T03:04:05Z"};

std::string temporary(const std::string& name) {
  return (std::filesystem::temp_directory_path() / fmt::format("lowbit-{}-{}", ::getpid(), name))
      .string();
}

Fingerprint host(int32_t threads) {
  Fingerprint print = machine_fingerprint();
  print.threads = threads;
  return print;
}

TEST(Roofline, AWorkingSetLivesInTheSmallestLevelThatHoldsIt) {
  EXPECT_EQ(kMachine.level_of(1).name, "L2");
  EXPECT_EQ(kMachine.level_of(1e6).name, "L2");
  EXPECT_EQ(kMachine.level_of(1e6 + 1).name, "memory");
}

TEST(Roofline, TheSlowerResourceLimits) {
  const Limit in_cache = limit_of({.bytes = 1e6, .float_flops = 1e6}, 1, kMachine);
  EXPECT_EQ(in_cache.resource, "L2");
  EXPECT_DOUBLE_EQ(in_cache.memory_seconds, 1e-4);
  EXPECT_DOUBLE_EQ(in_cache.compute_seconds, 1e-5);
  EXPECT_DOUBLE_EQ(in_cache.tokens_per_second, 1e4);

  const Limit from_memory = limit_of({.bytes = 2e6, .float_flops = 1e6}, 1, kMachine);
  EXPECT_EQ(from_memory.resource, "memory");
  EXPECT_DOUBLE_EQ(from_memory.tokens_per_second, 500);

  const Work busy = {.bytes = 1e6, .float_flops = 1e8, .integer_flops = 4e8};
  const Limit computing = limit_of(busy, 8, kMachine);
  EXPECT_EQ(computing.resource, "compute");
  EXPECT_DOUBLE_EQ(computing.compute_seconds, 2e-3);  // floats, then integers
  EXPECT_DOUBLE_EQ(computing.tokens_per_second, 4000);
}

TEST(Roofline, MachinesAreMeasuredOnceAndFoundAgain) {
  const std::string folder = temporary("ceilings"), path = folder + "/a/roofline.jsonl";
  const Record record = ceilings_record(kMachine, host(3));
  EXPECT_EQ(ceilings_of(parse_record("test", to_json_line(record))), kMachine);
  EXPECT_FALSE(stored_ceilings(path, record.fingerprint));
  store_ceilings(path, record);
  EXPECT_EQ(stored_ceilings(path, record.fingerprint), kMachine);
  Ceilings later = kMachine;
  later.float_flops = 200e9;
  store_ceilings(path, ceilings_record(later, host(3)));
  EXPECT_EQ(stored_ceilings(path, record.fingerprint), later);  // the last one
  Fingerprint other = record.fingerprint;
  other.threads = 2;
  EXPECT_FALSE(stored_ceilings(path, other));
  std::filesystem::remove_all(folder);
}

TEST(Roofline, EachCeilingOfAMachineIsAMetric) {
  Ceilings machine = {.levels = {{"L1", 64 << 10, 4e11},
                                 {"L2", 1 << 20, 2e11},
                                 {"L3", 32 << 20, 8e10},
                                 {"memory", 0, 2e10}},
                      .float_flops = 3e11,
                      .integer_flops = 1.2e12,
                      .measured = "",
                      .float8_flops = 5e11};
  const Record record = ceilings_record(machine, host(2));
  const std::pair<const char*, double> expected[] = {
      {"read_l1", 4e11},       {"read_l2", 2e11},       {"read_l3", 8e10},
      {"read_memory", 2e10},   {"float_ceiling", 3e11}, {"integer_ceiling", 1.2e12},
      {"float8_ceiling", 5e11}};
  for (const auto& [tag, value] : expected) {
    ASSERT_NE(record.find(tag), nullptr) << tag;
    EXPECT_DOUBLE_EQ(record.find(tag)->median, value) << tag;
  }
  EXPECT_EQ(ceilings_record(kMachine, host(2)).find("float8_ceiling"), nullptr);  // has none
}

TEST(Roofline, EachGpuHasResultsOfItsOwnWhateverItsHost) {
  const std::string folder = temporary("gpus"), path = folder + "/roofline.jsonl";
  Ceilings gpu = kMachine;
  gpu.gpu = "NVIDIA H200";
  gpu.float_flops = 650e12;
  gpu.integer_flops = gpu.float8_flops = 1300e12;
  Fingerprint machine = host(3);
  machine.power_limit = 700;
  store_ceilings(path, ceilings_record(kMachine, host(3)));
  store_ceilings(path, ceilings_record(gpu, machine));
  EXPECT_EQ(stored_ceilings(path, host(3)), kMachine);
  Fingerprint other_host = host(2);
  other_host.gpu = "NVIDIA H200";
  EXPECT_EQ(stored_ceilings(path, other_host), gpu);
  other_host.power_limit = 350;
  EXPECT_FALSE(stored_ceilings(path, other_host));
  other_host.gpu = "NVIDIA H100 80GB HBM3";
  EXPECT_FALSE(stored_ceilings(path, other_host));
  EXPECT_NE(ceilings_text(gpu).find("NVIDIA H200: L2 10.0 GB/s"), std::string::npos)
      << ceilings_text(gpu);
  EXPECT_NE(ceilings_text(gpu).find("bf16 650 TFLOP/s, int8 1300 TOP/s, fp8 1300 TFLOP/s"),
            std::string::npos)
      << ceilings_text(gpu);
  const Limit limit = limit_of({.float8_flops = 1300e9}, 1, gpu);
  EXPECT_DOUBLE_EQ(limit.compute_seconds, 1e-3);
  std::filesystem::remove_all(folder);
}

TEST(Roofline, AResultOfABusyMachineDoesNotReplaceAQuietOne) {
  const std::string folder = temporary("busy"), path = folder + "/roofline.jsonl";
  Ceilings busy = kMachine, quiet = kMachine;
  busy.unstable = {"other processes kept 1.5 of 2 CPUs busy"};
  quiet.float_flops = 150e9;
  const Fingerprint machine = ceilings_record(kMachine, host(3)).fingerprint;
  store_ceilings(path, ceilings_record(busy, host(3)));
  EXPECT_EQ(stored_ceilings(path, machine), busy);  // better than nothing
  EXPECT_NE(ceilings_text(busy).find("percentages of it: other processes kept 1.5"),
            std::string::npos);
  store_ceilings(path, ceilings_record(quiet, host(3)));
  EXPECT_EQ(stored_ceilings(path, machine), quiet);
  store_ceilings(path, ceilings_record(busy, host(3)));
  EXPECT_EQ(stored_ceilings(path, machine), quiet);
  EXPECT_EQ(ceilings_text(quiet).find("distrusted"), std::string::npos);
  std::filesystem::remove_all(folder);
}

TEST(Roofline, PassesThatDifferAreSaid) {
  EXPECT_EQ(spread_of("L3", {.bytes_per_second = 100, .bytes = 1, .median = 85}), "");
  EXPECT_EQ(spread_of("L3", {.bytes_per_second = 100, .bytes = 1, .median = 60}),
            "passes over L3 differed: the median was 40 % below the best");
}

TEST(Roofline, ARecordThatLacksALevelIsAnError) {
  Record record = ceilings_record(kMachine, host(3));
  record.config["levels"]["L3"] = 5;
  EXPECT_THROW(ceilings_of(record), Error);
  record.config.erase("levels");
  EXPECT_THROW(ceilings_of(record), Error);
}

TEST(Roofline, CachesOfTheThreadsAreAddedUpAndSharedOnesCountOnce) {
  const std::string root = temporary("cpus");
  const auto cache = [&](int cpu, int index, const char* level, const char* type, const char* size,
                         const char* shared) {
    const std::string folder = fmt::format("{}/cpu{}/cache/index{}", root, cpu, index);
    std::filesystem::create_directories(folder);
    std::ofstream(folder + "/level") << level << "\n";
    std::ofstream(folder + "/type") << type << "\n";
    std::ofstream(folder + "/size") << size << "\n";
    std::ofstream(folder + "/shared_cpu_list") << shared << "\n";
  };
  for (int cpu = 0; cpu < 3; ++cpu) {
    const std::string own = std::to_string(cpu);
    cache(cpu, 0, "1", "Data", "32K", own.c_str());
    cache(cpu, 1, "1", "Instruction", "64K", own.c_str());
    cache(cpu, 2, "2", "Unified", "1M", own.c_str());
    cache(cpu, 3, "3", "Unified", "16384K", "0-2");
  }
  EXPECT_EQ(levels_of_host(root, 2),
            (std::vector<Level>{
                {"L1", 64 << 10, 0}, {"L2", 2 << 20, 0}, {"L3", 16 << 20, 0}, {"memory", 0, 0}}));
  EXPECT_EQ(levels_of_host(root + "/absent", 2), (std::vector<Level>{{"memory", 0, 0}}));
  std::filesystem::remove_all(root);
}

// Twelve equal chains of multiply-adds can be computed once: such a figure would be too high by
// that factor. No core does over 64 float multiply-adds a cycle, none runs at 8 GHz.
TEST(Ceiling, MultiplyAddsAreNeitherOptimizedAwayNorSlow) {
  const auto cores = static_cast<double>(machine_fingerprint().cores);
  const double floats = compute_ceiling(Products::kFloat, 0.05);
  const double integers = compute_ceiling(Products::kInteger, 0.05);
  EXPECT_GT(floats, 1e8);
  EXPECT_LT(floats, cores * 128 * 8e9);
  EXPECT_GT(integers, 1e8);
  EXPECT_LT(integers, cores * 512 * 8e9);
}

// Adds up what the ops say that they cost.
class Sum final : public Trace {
 public:
  void begin(const OpTag&) override {}
  void end(const OpTag& tag, std::string_view, const OpCost& cost) override {
    if (std::string_view(tag.name) == "attention") attention += cost.flops;
    if (!cost.inputs.empty()) linears += cost.flops;
  }
  double linears = 0, attention = 0;
};

class WorkOf : public testing::Test {
 protected:
  LoadedModel loaded_ = load("synthetic:tiny", ref_backend(), {});
  WorkCounter counter_{loaded_};
  Stepper stepper_{*loaded_.model, ref_backend(), {.max_context = 64}};
};

TEST_F(WorkOf, ADecodeStepIsWhatItsOpsAddUpTo) {
  const std::vector<int32_t> prompt = {1, 2, 3, 4, 5, 6, 7};
  stepper_.prefill(0, prompt);
  Sum sum;
  stepper_.set_trace(&sum);
  const int32_t id = 1;
  const Chunk chunk{0, std::span(&id, 1), 1};
  stepper_.step(std::span(&chunk, 1));
  ASSERT_GT(sum.attention, 0);
  const Work work = counter_.decode(1, 8);
  EXPECT_DOUBLE_EQ(work.flops(), sum.linears + sum.attention);
  EXPECT_EQ(work.integer_flops, 0);  // the oracle multiplies doubles
  EXPECT_DOUBLE_EQ(work.bytes, static_cast<double>(loaded_.model->memory().per_step) +
                                   8 * static_cast<double>(stepper_.state().bytes_per_token()));
  EXPECT_DOUBLE_EQ(counter_.decode(4, 8).flops(), 4 * work.flops());
}

TEST_F(WorkOf, APromptIsWhatItsOpsAddUpTo) {
  Sum sum;
  stepper_.set_trace(&sum);
  const std::vector<int32_t> prompt = {1, 2, 3, 4, 5};
  stepper_.prefill(0, prompt);
  EXPECT_DOUBLE_EQ(counter_.prefill(5).flops(), sum.linears + sum.attention);
  EXPECT_DOUBLE_EQ(counter_.prefill(5).bytes, counter_.decode(1, 5).bytes);
}

TEST_F(WorkOf, ALongPromptReadsTheWeightsOncePerStepAndTheHeadOnce) {
  const Work one = counter_.prefill(512), two = counter_.prefill(1024);
  const double head =
      2.0 * loaded_.model->vocab_size() * static_cast<double>(loaded_.model->linears().back()->k);
  EXPECT_EQ(loaded_.model->linears().back()->name, "head");
  EXPECT_LT(two.bytes, 2 * one.bytes + 512 * counter_.state_bytes_per_token());
  EXPECT_GT(two.flops(), 2 * (one.flops() - head));
}

TEST_F(WorkOf, TheWorkingSetOfALongPromptIsThatOfAStep) {
  const Work one = counter_.prefill(512), two = counter_.prefill(1024);
  EXPECT_DOUBLE_EQ(one.working_set(), one.bytes);
  const double head = one.bytes - counter_.prefill(512, 0).bytes;
  EXPECT_DOUBLE_EQ(two.working_set(), one.bytes + 512 * counter_.state_bytes_per_token());
  EXPECT_DOUBLE_EQ(two.bytes, two.working_set() + one.bytes - head);
  // A cache that holds a step holds it for the next one.
  const Ceilings machine = {
      .levels = {{"L3", static_cast<int64_t>(two.working_set()), 10e9}, {"memory", 0, 1e9}},
      .float_flops = 1e30,
      .integer_flops = 1e30,
      .measured = ""};
  EXPECT_EQ(limit_of(two, 1024, machine).resource, "L3");
  EXPECT_DOUBLE_EQ(counter_.prefill_all(3, 5).working_set(), counter_.decode(3, 5).bytes);
}

TEST_F(WorkOf, PromptsOfABatchShareOneStepForTheirLastTokens) {
  const Work one = counter_.prefill(5), three = counter_.prefill_all(3, 5);
  EXPECT_DOUBLE_EQ(counter_.prefill_all(1, 5).bytes, one.bytes);
  EXPECT_NEAR(three.flops(), 3 * one.flops(), 1e-6 * one.flops());
  EXPECT_DOUBLE_EQ(three.bytes, 3 * counter_.prefill(4, 0).bytes + counter_.decode(3, 5).bytes);
}

TEST_F(WorkOf, ComputingTakesOverAtTheFirstBatchWhereItIsSlower) {
  Ceilings machine = kMachine;
  machine.levels = {{"memory", 0, 1e9}};
  const int32_t batch = compute_bound_batch(counter_, 16, machine);
  ASSERT_GT(batch, 1);
  EXPECT_EQ(limit_of(counter_.decode(batch - 1, 16), 1, machine).resource, "memory");
  EXPECT_EQ(limit_of(counter_.decode(batch, 16), 1, machine).resource, "compute");
  machine.float_flops = 1e30;
  EXPECT_EQ(compute_bound_batch(counter_, 16, machine), 0);
}

TEST(Roofline, FewerBitsRaiseTheLimitOfAMemoryBoundStep) {
  RooflineConfig config;
  config.model = "synthetic:llama3.1-8b";
  config.format = {"bf16", "int8", "int4", "int4+int8"};
  config.batch = {1, 64};
  config.context = {64};
  Ceilings h200 = {.levels = {{"memory", 0, 4.56e12}},
                   .float_flops = 800e12,
                   .integer_flops = 800e12,
                   .measured = ""};
  const std::vector<RooflineRow> rows = roofline(config, cpu_backend(), h200);
  ASSERT_EQ(rows.size(), 8u);
  EXPECT_NEAR(rows[0].decode.tokens_per_second, 303, 3);  // 15 GB of bf16
  for (size_t i = 2; i < 6; i += 2) {
    EXPECT_GT(rows[i].decode.tokens_per_second, 1.7 * rows[i - 2].decode.tokens_per_second);
    EXPECT_EQ(rows[i].decode.resource, "memory");
    EXPECT_LT(rows[i].compute_bound_from, rows[i - 2].compute_bound_from);
    EXPECT_GT(rows[i + 1].decode.tokens_per_second, 10 * rows[i].decode.tokens_per_second);
  }
  EXPECT_EQ(roofline_table(rows).size(), 9u);
  EXPECT_EQ(roofline_json(rows, h200)["rows"].size(), 8u);
}

TEST(Roofline, EveryWrongKeyIsRefusedByName) {
  const auto error_of = [](const RooflineConfig& config) -> std::string {
    try {
      check(config);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(error_of({}), "");
  EXPECT_NE(error_of({.batch = {0}}).find("batch = 0"), std::string::npos);
  EXPECT_NE(error_of({.context = {}}).find("context"), std::string::npos);
  EXPECT_NE(error_of({.bandwidth = 100}).find("both are needed"), std::string::npos);
  EXPECT_NE(error_of({.output = "xml"}).find("output"), std::string::npos);
  EXPECT_NE(error_of({.kv_format = "int5x"}).find("kv_format"), std::string::npos);
}

}  // namespace
}  // namespace lowbit
