#include "bench/microbench.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/text.h"
#include "bench/fake_device.h"
#include "bench/microbench_report.h"
#include "cpu/backend.h"
#include "engine/capturing.h"
#include "ref/backend.h"

namespace lowbit {
namespace {

MicrobenchConfig config_of(std::vector<std::string> recipes, std::vector<int32_t> mkn) {
  MicrobenchConfig config;
  config.quantization_config_recipe_names = std::move(recipes);
  config.output_dir.clear();
  config.sampling.max_seconds = 0;
  config.model_params.emplace_back();
  config.model_params[0].matrix_shapes = {{.name = "custom", .shapes = {std::move(mkn)}}};
  return config;
}

std::string error_of(const MicrobenchConfig& config) {
  try {
    microbench_cases(config);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Microbench, GeneratorsMakeTheShapesOfTheirNames) {
  const std::pair<const char*, size_t> counts[] = {{"llama", 4},
                                                   {"llama4", 6},
                                                   {"deepseek_v3_236b", 4},
                                                   {"deepseek_v3_671b", 4},
                                                   {"qwen3_32b", 4},
                                                   {"gemma3_27b", 4},
                                                   {"pow2", 5},
                                                   {"pow2_extended", 10},
                                                   {"small_sweep", 35},
                                                   {"sweep", 512}};
  for (const auto& row : counts) EXPECT_EQ(shapes_of({.name = row.first}).size(), row.second);
  const NamedShape wqkv = shapes_of({.name = "llama"})[0];
  EXPECT_EQ(wqkv.name, "llama_attn.wqkv");
  EXPECT_EQ((std::vector{wqkv.m, wqkv.k, wqkv.n}), (std::vector{16384, 8192, 1280}));
  const NamedShape kv = shapes_of({.name = "qwen3_32b"})[3];
  EXPECT_EQ((std::vector{kv.m, kv.k, kv.n}), (std::vector{128000, 5120, 640}));
  const std::vector<NamedShape> halves =
      shapes_of({.name = "pow2_extended", .min_power = 10, .max_power = 10});
  EXPECT_EQ(halves[1].name, "pow2_extended_1");
  EXPECT_EQ(halves[1].n, 1536);
  for (const NamedShape& shape : shapes_of({.name = "small_sweep"})) {
    EXPECT_LE(shape.m, shape.k);
    EXPECT_LE(shape.k, shape.n);
  }
}

TEST(Microbench, WhatNamesNothingIsRefusedWithASuggestion) {
  const auto expect = [](const MicrobenchConfig& config, const std::string& part) {
    EXPECT_NE(error_of(config).find(part), std::string::npos) << part << ": " << error_of(config);
  };
  expect(config_of({"int8w0"}, {1, 64, 64}), "did you mean `int8wo`");
  expect(config_of({"autoquant"}, {1, 64, 64}), "autoquant is no format");
  expect(config_of({"embed-int8wo"}, {1, 64, 64}), "only the token table is quantized");
  expect(config_of({"int8wo"}, {1, 64}), "shapes[0]: must be [m, k, n]");
  MicrobenchConfig config = config_of({}, {1, 64, 64});
  config.sparsity_config_recipe_names = {"smei-structured"};
  config.model_params[0].model_type = "linaer";
  expect(config, "model_params[0]: model_type `linaer`: unknown, did you mean `linear`");
  config.model_params[0].model_type = "linear";
  expect(config, "did you mean `semi-structured`");
  config.sparsity_config_recipe_names.clear();
  config.model_params[0].high_precision_dtype = "torch.float64";
  expect(config, "did you mean `torch.float");
  config.model_params[0].torch_compile_mode = "max-autotun";
  expect(config, "did you mean `max-autotune`");
  config.benchmark_mode = "training";
  expect(config, "benchmark_mode = `training`");
  config = config_of({}, {1, 64, 64});
  config.model_params[0].matrix_shapes[0].name = "lama";
  expect(config, "did you mean `llama`");
  config.model_params.clear();
  expect(config, "model_params: is missing");
}

TEST(Microbench, RecipesArePairedWithSparsityAsThere) {
  MicrobenchConfig config = config_of({"int8wo", "int8dq", "marlin"}, {1, 64, 64});
  config.sparsity_config_recipe_names = {"semi-structured", "block"};
  std::vector<std::string> rows;
  for (const MicrobenchCase& c : microbench_cases(config)) {
    rows.push_back(c.quantization + " " + c.sparsity + (c.skip.empty() ? "" : " skip"));
  }
  EXPECT_EQ(rows, (std::vector<std::string>{"baseline None", "baseline semi-structured skip",
                                            "baseline block skip", "int8wo None", "int8dq None",
                                            "int8dq semi-structured", "marlin semi-structured"}));
}

// 1 MB at 10 GB/s takes 100 us, 2e8 operations at 1 TFLOP/s take 200.
TEST(Microbench, OfRoofIsTheLeastTimeThatTheMachineNeedsOverTheTimeTaken) {
  EXPECT_DOUBLE_EQ(least_call_seconds(1e6, 1e6, 10e9, 1e12), 100e-6);
  EXPECT_DOUBLE_EQ(least_call_seconds(1e6, 2e8, 10e9, 1e12), 200e-6);
  Record record;
  add_of_roof(&record, std::vector<double>(6, 400e-6), 100e-6);
  EXPECT_DOUBLE_EQ(record.find("linear_of_roof")->median, 0.25);
  EXPECT_EQ(record.status, Status::kOk);
  Record above;
  add_of_roof(&above, std::vector<double>(6, 80e-6), 100e-6);
  EXPECT_DOUBLE_EQ(above.find("linear_of_roof")->median, 1.25);
  EXPECT_EQ(above.status, Status::kFail);
  EXPECT_NE(above.reason.find("takes 80 % of the least time"), std::string::npos) << above.reason;
  Record noise;
  add_of_roof(&noise, {80e-6, 80e-6, 80e-6, 80e-6, 80e-6, 110e-6}, 100e-6);
  EXPECT_EQ(noise.status, Status::kOk);
}

TEST(Microbench, ACaseHasTimesKernelAndTheSharedBaseline) {
  const MicrobenchConfig config = config_of({"int8wo", "int4wo-32", "int8dq"}, {2, 64, 96});
  const std::vector<MicrobenchCase> cases = microbench_cases(config);
  Microbench bench(config);
  std::vector<Record> records;
  for (const MicrobenchCase& c : cases) records.push_back(bench.run(c, cpu_backend()));
  ASSERT_EQ(records.size(), 4u);
  for (const Record& record : records) {
    ASSERT_EQ(record.status, Status::kOk) << record.reason;
    EXPECT_EQ(record.kind, "linear");
    EXPECT_GT(record.find("linear_time_warm")->median, 0);
    EXPECT_TRUE(record.fingerprint.kernels.at(0).kernel.starts_with("cpu."));
    EXPECT_EQ(record.find_value("linear_baseline_warm")->samples,
              records[0].find_value("linear_time_warm")->samples);
    EXPECT_EQ(parse_record("test", to_json_line(record)), record);
  }
  EXPECT_EQ(records[0].format, "bf16");
  EXPECT_EQ(records[0].find("linear_speedup_warm")->median, 1);
  EXPECT_EQ(records[1].find("model_bytes")->median, 96 * 64 + 96 * 2);
  EXPECT_EQ(records[2].format, "int4-g32");
  EXPECT_EQ(records[3].format, "int8-sbf16+int8");
}

// With one sample of each, medians are what the formulas make of them.
TEST(Microbench, RatesAndSpeedupsFollowFromTheTimeByTheStatedFormulas) {
  const MicrobenchConfig config = config_of({"int8wo"}, {2, 2048, 2048});
  const std::vector<MicrobenchCase> cases = microbench_cases(config);
  ASSERT_EQ(cases.size(), 2u);  // the baseline comes first
  const Record record = Microbench(config).run(cases[1], cpu_backend());
  const auto value = [&](const char* tag) {
    const Estimate* estimate = record.find(tag);
    return estimate ? estimate->median : std::nan("");
  };
  const double time = value("linear_time"), warm = value("linear_time_warm");
  EXPECT_GT(time, 0) << record.reason;
  EXPECT_NEAR(value("linear_speedup") * time / value("linear_baseline"), 1, 1e-9);
  EXPECT_NEAR(value("linear_speedup_warm") * warm / value("linear_baseline_warm"), 1, 1e-9);
  EXPECT_NEAR(value("linear_bandwidth") * time / value("model_bytes"), 1, 1e-9);
  EXPECT_NEAR(value("linear_flop_rate") * time / (2.0 * 2 * 2048 * 2048), 1, 1e-9);
  EXPECT_GT(value("linear_memory"), value("model_bytes") + 2 * 2 * 2048 * sizeof(float));
}

TEST(Microbench, OneTokenOfAMixedRecipeReadsUnquantizedActivations) {
  for (const int32_t m : {1, 2}) {
    const MicrobenchConfig config =
        config_of({"int8wo", "int8dq", "int8dq_prefill_wo_decode"}, {m, 64, 64});
    Microbench bench(config);
    std::vector<std::string> kernels;
    for (const MicrobenchCase& c : microbench_cases(config)) {
      const Record record = bench.run(c, cpu_backend());
      ASSERT_EQ(record.status, Status::kOk) << record.reason;
      kernels.push_back(record.fingerprint.kernels.at(0).kernel);
    }
    EXPECT_NE(kernels[1], kernels[2]);
    EXPECT_EQ(kernels[3], m == 1 ? kernels[1] : kernels[2]);
  }
}

TEST(Microbench, WhatCannotBeDoneIsARowWithItsReason) {
  const auto run = [](MicrobenchConfig config) {
    Microbench bench(config);
    return bench.run(microbench_cases(config).back(), cpu_backend());
  };
  MicrobenchConfig block = config_of({}, {16, 64, 64});
  block.model_params[0].model_type = "transformer_block";
  EXPECT_EQ(run(block).status, Status::kSkip);
  EXPECT_NE(run(block).reason.find("lowbit bench"), std::string::npos);
  block.model_params[0].model_type = "ln_linear_gelu";
  EXPECT_NE(run(block).reason.find("no LayerNorm"), std::string::npos);
  EXPECT_NE(run(config_of({"int4wo-64-gptq"}, {1, 64, 64})).reason.find("calibration"),
            std::string::npos);
  EXPECT_EQ(run(config_of({"int4wo-64"}, {1, 65, 64})).status, Status::kOk);  // a short last group
  const Record odd = run(config_of({"int4-24"}, {1, 65, 64}));
  EXPECT_EQ(odd.status, Status::kFail);
  EXPECT_NE(odd.reason.find("int4"), std::string::npos) << odd.reason;
}

TEST(Microbench, ShapesBeyondTheMemoryAreRefusedBeforeAnythingIsMade) {
  const LinearProblem small{.m = 1, .k = 64, .n = 64};
  const LinearProblem large{.m = 128000, .k = 8192, .n = 8192};
  EXPECT_EQ(too_large(small, 1 << 20, int64_t{1} << 30), "");
  EXPECT_EQ(too_large(large, 1 << 20, 0), "");  // not known
  // x twice and y in f32, weights before, after and once more in bf16
  EXPECT_EQ(too_large(large, 1 << 20, int64_t{4} << 30),
            "needs about 13.0 GB of memory; 4.3 GB are free");
}

// The y that a call has written.
class LastOutput final : public Trace {
 public:
  void begin(const OpTag&) override {}
  void end(const OpTag&, std::string_view, const OpCost& cost) override {
    const OutBuffer& y = cost.outputs.at(0);
    const auto* data = static_cast<const float*>(y.values.data);
    values.assign(data, data + y.rows * y.cols);
  }
  std::vector<float> values;
};

TEST(LinearBench, ColdWeightsAreCopiesThatGiveTheSameResult) {
  for (const char* format : {"bf16", "int4-asym", "nvfp4", "int8-24"}) {
    const LinearProblem problem{.m = 1, .k = 128, .n = 32, .choice = {parse_format(format)}};
    LinearBench bench(cpu_backend(), problem);
    const int64_t bytes = static_cast<int64_t>(bench.weights().bytes());
    const std::vector<double> seconds = bench.time_cold({1, 0.0, 0.1}, 5 * bytes - 1);
    EXPECT_FALSE(seconds.empty());
    ASSERT_EQ(bench.sets().size(), 5u);
    LastOutput first;
    bench.call(bench.weights(), &first);
    std::set<const void*> codes, scales;
    for (const Linear& set : bench.sets()) {
      LastOutput output;
      bench.call(set, &output);
      EXPECT_EQ(output.values, first.values) << format;
      codes.insert(set.weight.view.codes);
      scales.insert(set.weight.view.scales);
    }
    EXPECT_EQ(codes.size(), 5u);
    EXPECT_EQ(scales.size(), format == std::string("bf16") ? 1u : 5u);
  }
}

TEST(LinearBench, WeightsThatAlwaysStayInACacheHaveNoColdTime) {
  LinearBench bench(ref_backend(), {.m = 1, .k = 8, .n = 8, .choice = {parse_format("int8")}});
  EXPECT_TRUE(bench.time_cold({1, 0.0, 0.1}, int64_t{1} << 30).empty());
  EXPECT_EQ(bench.sets().size(), 1u);
}

// A device with captured steps, whose Linears take five microseconds of its clock.
Backend slow_linears() {
  static const LinearKernel kernel = [] {
    LinearKernel k = fakes::capturing_backend().linear_kernels[0];
    k.launch = [](const LinearArgs& args, Stream stream) {
      fakes::captured_linear(args, stream);
      fakes::now_or_captured([] { fakes::fake_device().now += 5e-6; });
    };
    return k;
  }();
  Backend backend = fakes::capturing_backend();
  backend.info = fakes::fake_info;
  backend.device = &fakes::fake_device_api();
  backend.linear_kernels = std::span(&kernel, 1);
  return backend;
}

TEST(LinearBench, OnADeviceGraphsOfCallsAreTimedByItsClockAndColdOnesTakeEveryCopyInTurn) {
  fakes::fake_device() = {};
  const Backend backend = slow_linears();
  EXPECT_EQ(cold_bytes(backend), int64_t{256} << 20);
  LinearBench bench(backend, {.m = 1, .k = 16, .n = 8, .choice = {parse_format("int8")}});
  for (const double seconds : bench.time_warm({3, 0.0, 0.1})) EXPECT_NEAR(seconds, 5e-6, 1e-9);
  const auto bytes = static_cast<int64_t>(bench.weights().bytes());
  const int32_t before = fakes::captures().captured;
  const std::vector<double> cold = bench.time_cold({3, 0.0, 0.1}, 30 * bytes);
  EXPECT_EQ(bench.sets().size(), 30u);
  ASSERT_GE(cold.size(), 1u);
  for (const double seconds : cold) EXPECT_NEAR(seconds, 5e-6, 1e-9);
  EXPECT_EQ(fakes::captures().captured, before + 2);  // one to estimate, one of whole turns
  EXPECT_EQ(fakes::fake_device().marks, 0);
}

// The same, but Linears of a capture that follow each other are held back and become one launch,
// which takes as long as one of them alone.
int32_t held_back = 0;

void launch_held_back() {
  if (std::exchange(held_back, 0) == 0) return;
  fakes::now_or_captured([] { fakes::fake_device().now += 5e-6; });
}

Backend chaining_linears() {
  static const GraphApi api = [] {
    GraphApi graph = *fakes::capturing_backend().graph;
    graph.end_capture = [](Stream stream) {
      launch_held_back();
      return fakes::capturing_backend().graph->end_capture(stream);
    };
    return graph;
  }();
  static const LinearKernel kernel = [] {
    LinearKernel k = fakes::capturing_backend().linear_kernels[0];
    k.launch = [](const LinearArgs&, Stream) {
      ++held_back;
      if (!fakes::captures().current) launch_held_back();
    };
    return k;
  }();
  Backend backend = slow_linears();
  backend.op.gather_rows = [](const GatherRowsArgs&, Stream) { launch_held_back(); };
  backend.graph = &api;
  backend.linear_kernels = std::span(&kernel, 1);
  return backend;
}

TEST(LinearBench, CallsThatABackendWouldMakeOneLaunchOfAreTimedEachByItself) {
  fakes::fake_device() = {};
  const Backend backend = chaining_linears();
  LinearBench bench(backend, {.m = 1, .k = 16, .n = 8, .choice = {parse_format("int8")}});
  for (const double seconds : bench.time_warm({3, 0.0, 0.1})) EXPECT_NEAR(seconds, 5e-6, 1e-9);
}

TEST(MicrobenchReport, ColumnsAreTheirsThenOursAndMillisecondsAreMilliseconds) {
  const std::vector<MicrobenchCase> cases = {{.name = "a, b",
                                              .quantization = "int8wo",
                                              .m = 1,
                                              .k = 2,
                                              .n = 3,
                                              .dtype = "torch.bfloat16"}};
  std::vector<Record> records(1);
  records[0].format = records[0].resident = "int8";
  records[0].set("linear_time_warm", std::vector<double>(6, 250e-6));
  records[0].set("linear_baseline_warm", std::vector<double>(6, 500e-6));
  records[0].set("linear_speedup_warm", exact(2));
  const std::string csv = microbench_csv(cases, records);
  const auto lines = split(csv, '\n');
  EXPECT_TRUE(lines[0].starts_with("name,quantization,sparsity,m,k,n,high_precision_dtype,"));
  EXPECT_NE(lines[0].find(",eager vs compile speedup,profiler_json_path,"), std::string::npos);
  EXPECT_NE(lines[0].find(",memory_stats,shape_name,status,"), std::string::npos);
  EXPECT_TRUE(lines[1].starts_with("\"a, b\",int8wo,None,1,2,3,torch.bfloat16,")) << lines[1];
  EXPECT_NE(lines[1].find(",0.500000,0.250000,0.500000,0.250000,2.00,2.00,1.00,"),
            std::string::npos);
  EXPECT_NE(lines[1].find(",250,250,250,500,500,500,2,2,2,"), std::string::npos) << lines[1];
  EXPECT_EQ(microbench_rows(cases, records)[1][5], "250.00 µs");
  records[0].status = Status::kSkip;
  EXPECT_EQ(microbench_rows(cases, records)[1][5], "-");
}

TEST(MicrobenchReport, ADashHasItsReason) {
  std::vector<MicrobenchCase> cases(3);
  std::vector<Record> records(3);
  for (size_t i = 0; i < cases.size(); ++i) {
    cases[i].quantization = "int8wo";
    cases[i].m = cases[i].k = cases[i].n = static_cast<int32_t>(i);
    records[i].not_measured = {{"linear_of_roof", "no roof"}};
  }
  records[1].not_measured.emplace_back("linear_time", "small");
  records[2].unstable = {"other processes kept 1.0 of 2 CPUs busy"};
  EXPECT_EQ(microbench_notes(cases, records),
            (std::vector<std::string>{
                "int8wo (2, 2, 2): unstable: other processes kept 1.0 of 2 CPUs busy",
                "Of roof is `-`: no roof (all cases)", "Cold is `-`: small (int8wo (1, 1, 1))"}));
  const std::string csv = microbench_csv(cases, records);
  EXPECT_NE(csv.find("ok,Of roof: no roof; Cold: small,"), std::string::npos) << csv;
}

}  // namespace
}  // namespace lowbit
