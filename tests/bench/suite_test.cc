// What configs of low-bit-inference mean here.
#include "bench/suite.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "app/options.h"
#include "base/check.h"
#include "bench/bench_model.h"

namespace lowbit {
namespace {

using Strings = std::vector<std::string>;

SuiteConfig config_of(const Strings& overrides) {
  SuiteConfig config, nulls = suite_nulls();
  Strings all = {"model_id=synthetic:tiny", "device=cpu"};
  all.insert(all.end(), overrides.begin(), overrides.end());
  apply_override_fields(all, fields_of(config), fields_of(nulls));
  return config;
}

SuitePlan plan_of(const std::string& entry, const Strings& overrides,
                  const std::string& file = "") {
  return plan_suite(entry, file, config_of(overrides));
}

std::string error_of(const std::string& entry, const Strings& overrides,
                     const std::string& file = "") {
  try {
    plan_of(entry, overrides, file);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

const Strings kQuantized = {"compile_decode=True", "quantize=True"};

Strings quantized(const std::string& more) {
  Strings all = kQuantized;
  all.push_back(more);
  return all;
}

TEST(Suite, TheEntryPointDecidesWhatAMethodIs) {
  const auto formats = [](const std::string& entry) {
    return plan_of(entry, quantized("quantization_method=bf16_int4")).bench.format;
  };
  EXPECT_EQ(formats("torchao_exp"), Strings{"torchao_exp:bf16_int4"});
  EXPECT_EQ(formats("gemlite_exp"), Strings{"gemlite_exp:bf16_int4"});
  EXPECT_EQ(formats("low_bit_inference.gemlite_exp"), Strings{"gemlite_exp:bf16_int4"});
  EXPECT_EQ(plan_of("gemlite_demo", {}).bench.format, Strings{"gemlite_exp:default"});
  EXPECT_EQ(plan_of("torchinductor_int4", {}).bench.format, Strings{"torchao_exp:bf16_int4"});
  EXPECT_EQ(plan_of("torchinductor_fp8", {}).bench.format, Strings{"torchao_exp:bf16_fp8"});
}

TEST(Suite, WithoutOneTheFileOrTheKeysDecideAndItIsSaid) {
  const SuitePlan plan = plan_of("", kQuantized, "configs/profile_inductor_gemlite.yaml");
  EXPECT_EQ(plan.entry, "gemlite_exp");
  EXPECT_EQ(plan.remarks.at(0), "entry point: gemlite_exp (by the name of the file)");
  EXPECT_EQ(plan_of("", kQuantized, "profile_inductor_torchao.yml").entry, "torchao_exp");
  EXPECT_EQ(plan_of("", {}, "x.yaml").entry, "torch_baseline");
  EXPECT_EQ(plan_of("", {"compile_decode=True"}, "x.yaml").entry, "torchinductor");
  EXPECT_NE(error_of("", kQuantized, "x.yaml").find("put one of them before the file"),
            std::string::npos);
}

TEST(Suite, ProfilesAreTakenUnlessOnlySpeedIsWanted) {
  const auto profile = [](const Strings& overrides) {
    return plan_of("torch_baseline", overrides).profile;
  };
  EXPECT_FALSE(profile({}).any());
  const Strings all = {"kernel_profile=True", "oom_profile=True", "profile_compile=True",
                       "memory_snapshot_max_entries=7"};
  EXPECT_EQ(profile(all), (ProfileKeys{true, true, true, 7, ""}));
  Strings speed = all;
  speed.emplace_back("tps_only=True");
  EXPECT_EQ(profile(speed), (ProfileKeys{false, false, true, 7, ""}));
  const Strings remarks = plan_of("torch_baseline", speed).remarks;
  EXPECT_NE(std::find(remarks.begin(), remarks.end(), "oom_profile: no effect with tps_only=True"),
            remarks.end());
}

TEST(Suite, EveryWrongStateOrValueNamesItsKey) {
  const struct {
    const char* entry;
    Strings overrides;
    const char* expected;
  } kRows[] = {
      {"torch_baseline", {"compile_decode=True"}, "compile_decode = true: torch_baseline needs"},
      {"torch_baseline", {"compile_prefill=True"}, "compile_prefill = true"},
      {"baseline", {"quantize=True"}, "quantize = true: baseline needs quantize=false"},
      {"torch_baseline", {"memory_snapshot_max_entries=0"}, "max_entries = 0: must be at least 1"},
      {"torchinductor", {}, "compile_decode = false: torchinductor needs"},
      {"torchinductor", kQuantized, "quantize = true"},
      {"torchao_exp", {"compile_decode=True"}, "quantize = false"},
      {"gemlite_exp", {"quantize=True"}, "compile_decode = false"},
      {"torchao_autoquant", kQuantized, "not there yet; torchao_exp with"},
      {"torchinductor_autoquant", kQuantized, "not there yet; torchao_exp with"},
      {"torchao_exp", quantized("quantization_method=bf16_mxfp4"), "is a value of gemlite_exp"},
      {"gemlite_exp", quantized("quantization_method=bf16_int44"), "did you mean `bf16_int4`"},
      {"gemlite_exp", quantized("quantization_method=zzzzzzzz"), "quantization_method"},
      {"torch_baseline", {"quantization_method=bf16_int4"}, "torch_baseline quantizes nothing"},
      {"torch_baseline", {"compute_dtype=nvfp4"}, "compute_dtype = `nvfp4`"},
      {"torch_baseline", {"use_cache=False"}, "use_cache = false"},
      {"torch_baseline", {"active=0"}, "active = 0"},
      {"torch_baseline", {"device=cuda:1"}, "CUDA_VISIBLE_DEVICES=1"},
      {"torch_baseline", {"model_id=unsloth/none", "cache_dir=/c"}, "cache_dir /c"},
  };
  for (const auto& row : kRows) {
    const std::string error = error_of(row.entry, row.overrides);
    EXPECT_NE(error.find(row.expected), std::string::npos) << row.expected << "\n" << error;
  }
}

TEST(Suite, KeysHaveTheMeaningThatTheyHadThere) {
  const BenchConfig bench =
      plan_of("torchinductor", {"compile_decode=True", "compute_dtype=fp16", "skip_first=1",
                                "wait=2", "warmup=3", "active=4", "repeat=5", "top_k=7",
                                "max_new_tokens=9,11", "prompt=Hello, my name is", "out=x"})
          .bench;
  EXPECT_EQ(bench.format, Strings{"f16"});
  EXPECT_EQ(bench.kv_format, Strings{"f16"});
  EXPECT_EQ(bench.device, Strings{"cpu"});
  EXPECT_EQ(bench.new_tokens, (std::vector<int32_t>{9, 11}));
  EXPECT_EQ(bench.prompt, "Hello, my name is");
  EXPECT_EQ(bench.skip_first, 1);
  EXPECT_EQ(bench.wait, 2);
  EXPECT_EQ(bench.warmup, 3);
  EXPECT_EQ(bench.active, 4);
  EXPECT_EQ(bench.repeat, 5);
  EXPECT_EQ(bench.out, "x");
  EXPECT_EQ(bench.plan, Strings{"auto"});
  EXPECT_EQ(plan_of("torch_baseline", {}).bench.plan, Strings{"eager"});
  EXPECT_EQ(plan_of("torch_baseline", {"plan=graph"}).bench.plan, Strings{"graph"});
  EXPECT_EQ(bench.temperature, 0);  // do_sample is off: greedy, whatever the keys say
  EXPECT_EQ(bench.top_k, 0);
  EXPECT_EQ(bench.top_p, 1);

  const BenchConfig drawn = plan_of("torch_baseline", {"do_sample=True", "top_p=null"}).bench;
  EXPECT_EQ(drawn.temperature, 0.6);
  EXPECT_EQ(drawn.top_k, 5);
  EXPECT_EQ(drawn.top_p, 1);
}

TEST(Suite, AHuggingFaceIdIsFoundInItsCache) {
  const std::string cache = testing::TempDir() + "lowbit_hub_" + std::to_string(::getpid());
  const std::string folder = cache + "/models--org--some-model";
  std::filesystem::create_directories(folder + "/refs");
  std::filesystem::create_directories(folder + "/snapshots/abc");
  std::ofstream(folder + "/refs/main") << "abc";
  EXPECT_EQ(
      plan_of("torch_baseline", {"model_id=org/some-model", "cache_dir=" + cache}).bench.model,
      Strings{folder + "/snapshots/abc"});
  std::filesystem::remove_all(cache);
}

TEST(Suite, ValuesWithoutEffectAreCheckedAllTheSame) {
  EXPECT_EQ(error_of("torch_baseline", {"attn_implementation=flash_attention_2",
                                        "cache_implementation=dynamic", "padding_side=right"}),
            "");
  EXPECT_NE(error_of("torch_baseline", {"attn_implementation=flash_atention_2"})
                .find("did you mean `flash_attention_2`"),
            std::string::npos);
  EXPECT_NE(error_of("torch_baseline", {"cache_implementation=statik"}).find("`static`"),
            std::string::npos);
  EXPECT_NE(error_of("torch_baseline", {"padding_side=up"}).find("known: left, right"),
            std::string::npos);
}

TEST(Suite, AnUnknownKeyIsAnErrorWithASuggestion) {
  try {
    config_of({"max_new_token=3"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("did you mean `max_new_tokens`"), std::string::npos);
  }
}

// The figures of the suite's own table: P = 6, N = 200, a static cache of 256 on Llama 3.1 8B are
// 3.09917 TFLOP by torch's counter.
TEST(Suite, ItsLinesFollowItsDefinitions) {
  BenchCase c;
  c.model = "synthetic:llama3.1-8b";
  c.new_tokens = 200;
  Record record = blank_record(c);
  record.llama_bench.n_prompt = 6;
  // Two runs: prefill 0.5 s and 0.25 s, all of it 2.5 s and 1.25 s.
  record.set("prefill_tps", std::vector<double>{12, 24});
  record.set("tps", std::vector<double>{80, 160});
  const double step = 15.0098e9, state = 131072;
  record.set("bytes_per_token", exact(step + state * (6 + 100)));
  const std::string lines = suite_lines(record);
  EXPECT_TRUE(lines.starts_with(
      "Profiling complete. Metrics: tokens per second (tps): 120.0, time to first token (ttft): "
      "0.375, time per output token (tpot): 0.0075, prefill throughput: 18.0, decode throughput: "
      "150.0, latency: 1.875, iterations: 2\n"
      "GPU util: FLOPs (total generate flops/latency): 1.652"))
      << lines;
  EXPECT_NE(lines.find(" TFLOPs, FLOP per token used (FLOPs/tps): 0.01377"), std::string::npos)
      << lines;
  EXPECT_NE(lines.find("Bandwidth used (tps*model_size): 1801.176 GB/s, Power used in last "
                       "sample period: nan W.\n"),
            std::string::npos)
      << lines;
  EXPECT_EQ(suite_lines(blank_record(c)), "");
}

}  // namespace
}  // namespace lowbit
