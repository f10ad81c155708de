// The commands on real models, through the whole command line.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

#include "app/run_lowbit.h"
#include "backends.h"
#include "base/file.h"
#include "base/text.h"
#include "models/golden_cases.h"

namespace lowbit {
namespace {

using fixtures::Outcome;
using fixtures::run_here;
using fixtures::TempFolder;
using nlohmann::json;

const std::string kSource = LB_SOURCE_DIR;
const std::string kModel = kSource + "/tests/golden/llama/gqa4";
const std::string kProse = kSource + "/models/prose-7m";

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string ids_text(const std::vector<int32_t>& ids) {
  std::string text;
  for (const int32_t id : ids) text += (text.empty() ? "" : " ") + std::to_string(id);
  return text;
}

std::string comma_ids(const std::vector<int32_t>& ids) {
  std::string text = ids_text(ids);
  std::replace(text.begin(), text.end(), ' ', ',');
  return text;
}

TEST(Help, EveryCommandExplainsItself) {
  const Outcome all = run_here({"--help"});
  EXPECT_EQ(all.code, 0);
  for (const char* name : {"generate", "eval", "inspect", "formats", "lockstep", "bench", "compare",
                           "quantize", "report", "roofline"}) {
    EXPECT_TRUE(contains(all.out, name));
  }
  for (const char* name : {"generate", "eval", "inspect", "formats", "lockstep", "compare",
                           "quantize", "report", "roofline"}) {
    const Outcome help = run_here({name, "--help"});
    EXPECT_EQ(help.code, 0) << name;
    EXPECT_TRUE(contains(help.out, "--help")) << name;
    EXPECT_EQ(help.err, "");
  }
  const Outcome generate = run_here({"generate", "--help"});
  for (const char* flag :
       {"--model",  "--prompt",         "--prompt-file", "--prompt-ids",  "--ids",
        "--chat",   "--system",         "--temperature", "--top-k",       "--top-p",
        "--seed",   "--max-new-tokens", "--stop",        "--ignore-eos",  "--format",
        "--device", "--threads",        "--kv-format",   "--max-context", "--parse-special"}) {
    EXPECT_TRUE(contains(generate.out, flag)) << flag;
  }
}

TEST(Version, SaysWhatWasBuilt) {
  const Outcome version = run_here({"--version"});
  EXPECT_EQ(version.code, 0);
  for (const char* part : {"lowbit ", "commit", "build", "cuda", "backends  ", "ref"}) {
    EXPECT_TRUE(contains(version.out, part)) << version.out;
  }
}

TEST(Generate, IdsWithoutATokenizerAreTheGoldenOnes) {
  const golden::Case golden = golden::read_case("gqa4");
  for (const char* device : {"ref", "cpu"}) {
    const Outcome run = run_here({"generate", "--model", kModel, "--prompt-ids",
                                  comma_ids(golden.prompt), "--ids", "--max-new-tokens", "64",
                                  "--device", device, "--kv-format", "f32", "--ignore-eos"});
    EXPECT_EQ(run.code, 0);
    EXPECT_EQ(run.out, ids_text(golden.greedy) + "\n");
    EXPECT_TRUE(contains(run.err, "64 tokens, 63 decode steps")) << run.err;
    EXPECT_TRUE(contains(run.err, "stopped by max_new_tokens"));
    EXPECT_TRUE(contains(run.err, std::string("bf16 on ") + device)) << run.err;
  }
}

TEST(Generate, TextAndIdsAgree) {
  const std::vector<std::string> base = {"generate",         "--model",          kProse, "--prompt",
                                         "Once upon a time", "--max-new-tokens", "12"};
  std::vector<std::string> with_ids = base;
  with_ids.push_back("--ids");
  const Outcome text = run_here(base), ids = run_here(with_ids);
  EXPECT_EQ(text.code, 0);
  EXPECT_EQ(ids.code, 0);
  std::vector<int32_t> list;
  for (const std::string_view id : split(trim(ids.out), ' ')) {
    list.push_back(static_cast<int32_t>(parse_int(id).value()));
  }
  const LoadedModel loaded = load(kProse, find_backend("cpu"), {});
  EXPECT_EQ(text.out, loaded.tokenizer->decode(list) + "\n");
}

TEST(Generate, APromptFileIsThePrompt) {
  const TempFolder folder;
  const std::string file = folder.write("prompt.txt", "The house");
  const Outcome from_file =
      run_here({"generate", "--model", kProse, "--prompt-file", file, "--max-new-tokens", "6"});
  const Outcome from_flag =
      run_here({"generate", "--model", kProse, "--prompt", "The house", "--max-new-tokens", "6"});
  EXPECT_EQ(from_file.code, 0);
  EXPECT_EQ(from_file.out, from_flag.out);
}

TEST(Generate, ASeedRepeatsItself) {
  const auto draw = [](const char* seed) {
    return run_here({"generate", "--model", kModel, "--prompt-ids", "5", "--ids", "--temperature",
                     "1.5", "--seed", seed, "--max-new-tokens", "20"})
        .out;
  };
  EXPECT_EQ(draw("3"), draw("3"));
  EXPECT_NE(draw("3"), draw("4"));
}

TEST(Generate, SyntheticWeightsSayThatTheyAreRandom) {
  const Outcome run = run_here({"generate", "--model", "synthetic:tiny", "--prompt-ids", "1,2",
                                "--ids", "--max-new-tokens", "3", "--format", "int8"});
  EXPECT_EQ(run.code, 0);
  EXPECT_TRUE(contains(run.err, "random weights")) << run.err;
  EXPECT_TRUE(contains(run.err, "int8 on ")) << run.err;
}

// Ctrl-C in the middle: the text so far, the summary, exit code 0.
TEST(Generate, AnInterruptEndsCleanly) {
  const TempFolder folder;
  const std::string out = folder.write("out", ""), err = folder.write("err", "");
  const pid_t child = fork();
  if (child == 0) {
    std::freopen(out.c_str(), "w", stdout);
    std::freopen(err.c_str(), "w", stderr);
    ::execl(LB_BINARY, LB_BINARY, "generate", "--model", "synthetic:tiny", "--prompt-ids", "1",
            "--ids", "--max-new-tokens", "2000", "--device", "ref", nullptr);
    ::_exit(127);
  }
  for (int i = 0; i < 2000 && map_file(out).data.size() < 5; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ::kill(child, SIGINT);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_TRUE(map_file(out).text().ends_with("\n"));
  EXPECT_TRUE(contains(std::string(map_file(err).text()), "stopped by interrupted"));
}

TEST(Eval, PrintsOneJsonLineWithEveryFigure) {
  const TempFolder folder;
  const std::string ids = folder.write("ids", "1 2 3 4 5 6 7\n8 9 10\t11 12 13 14 15 16 17 18");
  const Outcome run = run_here({"eval", "--model", kModel, "--token-ids", ids, "--ctx", "8",
                                "--format", "int4", "--reference-format", "bf16", "-o", "json"});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(std::count(run.out.begin(), run.out.end(), '\n'), 1);
  const json report = json::parse(run.out);
  for (const char* key :
       {"perplexity", "perplexity_stderr", "mean_nll",   "tokens", "ctx",    "score",
        "kl_mean",    "kl_median",         "kl_p90",     "kl_p95", "kl_p99", "kl_p999",
        "kl_max",     "top1_agreement",    "model",      "format", "device", "resident_bytes",
        "reference",  "reference_format",  "convention", "plan"}) {
    EXPECT_TRUE(report.contains(key)) << key;
  }
  EXPECT_EQ(report["tokens"], 18 - 3);
  EXPECT_EQ(report["format"], "int4; head int4");
  EXPECT_EQ(report["reference_format"], "bf16");
  EXPECT_GT(report["kl_mean"], 0);
  EXPECT_LE(report["kl_median"], report["kl_max"]);
}

TEST(Eval, TextReportHasTheFamiliarWords) {
  const TempFolder folder;
  const std::string text = folder.write("text", "It was the best of times, it was the worst.");
  const Outcome run =
      run_here({"eval", "--model", kProse, "--text", text, "--ctx", "64", "--reference", kProse});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_TRUE(contains(run.out, "Final estimate: PPL = ")) << run.out;
  EXPECT_TRUE(contains(run.out, " +/- "));
  EXPECT_TRUE(contains(run.out, "Mean KLD:      0.000000"));
  EXPECT_TRUE(contains(run.out, "Same top p: 100.000"));
  EXPECT_TRUE(contains(run.out, "BOS 4094 and 63 of text"));
}

TEST(Eval, BosAndScoreChangeWhatIsScored) {
  const TempFolder folder;
  const std::string ids = folder.write("ids", "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16");
  const auto scored = [&](const std::vector<std::string>& more) {
    std::vector<std::string> args = {"eval",  "--model", kModel, "--token-ids", ids,
                                     "--ctx", "8",       "-o",   "json"};
    args.insert(args.end(), more.begin(), more.end());
    return json::parse(run_here(args).out)["tokens"].get<int>();
  };
  EXPECT_EQ(scored({}), 14);
  EXPECT_EQ(scored({"--bos", "always"}), 16);
  EXPECT_EQ(scored({"--score", "second-half"}), 6);
}

TEST(Inspect, ShowsShapesMemoryAndKernels) {
  const Outcome run = run_here({"inspect", kModel, "--format", "int8"});
  ASSERT_EQ(run.code, 0) << run.err;
  for (const char* part : {"safetensors", "LlamaForCausalLM", "num_hidden_layers", "BF16",
                           "layers.0-1.qkv  192x128 int8", "head  256x128 int8", "m=1", "memory"}) {
    EXPECT_TRUE(contains(run.out, part)) << part << "\n" << run.out;
  }
}

// What inspect plans is what a load does, for every format and both kinds of head.
TEST(Inspect, PlansWhatALoadDoes) {
  for (const char* name : {"gqa4", "tied", "sharded"}) {
    for (const char* format : {"", "bf16", "int8", "int8-tensor", "int4", "q4_0"}) {
      const std::string path = kSource + "/tests/golden/llama/" + name;
      LoadOptions options;
      if (*format) options.set_format(parse_format_pair(format));
      const LoadedModel loaded = load(path, find_backend("cpu"), options);
      const json plan = json::parse(
          run_here({"inspect", path, "--format", format, "-o", "json", "--device", "cpu"}).out);
      const MemoryUse& memory = loaded.model->memory();
      EXPECT_EQ(plan["memory"]["linears"], memory.linears) << name << " " << format;
      EXPECT_EQ(plan["memory"]["total"], memory.total()) << name << " " << format;
      EXPECT_EQ(plan["memory"]["read_per_step"], memory.per_step) << name << " " << format;
      EXPECT_EQ(plan["parameters"], loaded.model->parameters());
      EXPECT_EQ(plan["format"], format_summary(*loaded.model));
    }
  }
}

TEST(Inspect, AModelLargerThanThisMachineNeedsNoWeights) {
  const Outcome run =
      run_here({"inspect", "synthetic:llama3.1-70b", "--format", "int4", "-o", "json"});
  ASSERT_EQ(run.code, 0) << run.err;
  const json report = json::parse(run.out);
  EXPECT_EQ(report["parameters"], 70553706496);  // as the model card counts
  EXPECT_TRUE(report["synthetic"]);
  EXPECT_EQ(report["linears"].size(), 5u);
  EXPECT_EQ(report["linears"][0]["count"], 80);
}

TEST(Inspect, SaysWhatAPlanOfADeviceNeedsThatIsNotHere) {
  for (const Backend* backend : backends()) {
    if (backend->name == "cuda") GTEST_SKIP() << "there is a GPU, which has a plan";
  }
  const Outcome run = run_here({"inspect", "synthetic:tiny", "--device", "cuda"});
  EXPECT_EQ(run.code, 2);
  EXPECT_NE(run.err.find("to plan which kernels run, takes a GPU; use cpu or ref"),
            std::string::npos)
      << run.err;
}

TEST(Formats, OneLineEachAndOneResolved) {
  const Outcome all = run_here({"formats"});
  EXPECT_EQ(all.code, 0);
  for (const FormatRow& row : kFormats) {
    EXPECT_TRUE(contains(all.out, std::string(row.name)));
    EXPECT_TRUE(contains(all.out, std::string(row.source))) << row.name;
  }
  const json one = json::parse(run_here({"formats", "int4-g64-fzero", "-o", "json"}).out);
  EXPECT_EQ(one["name"], "int4");
  EXPECT_EQ(one["bits_per_weight"], 4.5);
  EXPECT_TRUE(contains(run_here({"formats", "Q8_0"}).out, "Q8_0 is q8_0"));
  EXPECT_EQ(json::parse(run_here({"formats", "-o", "json"}).out)["formats"].size(),
            std::size(kFormats));
}

// Each device once, and "own" is not said of a kernel for all codes.
TEST(Formats, SayHowEachDeviceRunsThem) {
  std::vector<std::string> devices;
  for (const Backend* backend : backends()) devices.emplace_back(backend->name);
  std::sort(devices.begin(), devices.end());
  const json all = json::parse(run_here({"formats", "-o", "json"}).out)["formats"];
  for (const json& format : all) {
    std::vector<std::string> named;
    for (const auto& [way, list] : format["runs"].items()) {
      for (const json& device : list) named.push_back(device.get<std::string>());
    }
    std::sort(named.begin(), named.end());
    EXPECT_EQ(named, devices) << format;
    const json codes = format["runs"].value("codes", json::array());
    for (const json& name : format["kernels"]) {
      const auto kernel = name.get<std::string>();
      const bool generic = contains(kernel, ".any") || kernel.starts_with("cpu.linear.codes.avx");
      const std::string device = kernel.substr(0, kernel.find('.'));
      EXPECT_EQ(std::count(codes.begin(), codes.end(), device), generic ? 1 : 0) << format;
    }
  }
  const std::string pair = run_here({"formats", "int8+fp8"}).out;
  EXPECT_TRUE(contains(pair, "codes: ref")) << pair;
  EXPECT_TRUE(contains(pair, "ref.linear.any")) << pair;
}

TEST(Formats, ANameOfAnotherToolSaysWhoseRuleItFollows) {
  const std::string out = run_here({"formats", "bf16_int8"}).out;
  for (const char* part : {"bf16_int8 is int8-sbf16 by torchao-0.9.0", "head            bf16",
                           "low-bit-inference", "gemlite_exp:bf16_int8", "bits_per_weight 8"}) {
    EXPECT_TRUE(contains(out, part)) << part << "\n" << out;
  }
  const json pair = json::parse(run_here({"formats", "int8dq", "-o", "json"}).out);
  EXPECT_EQ(pair["name"], "int8-sbf16+int8");
  EXPECT_EQ(pair["quantizer"], "torchao-0.9.0");
  EXPECT_EQ(pair["head"], "same");
  const json all = json::parse(run_here({"formats", "-o", "json"}).out)["methods"];
  EXPECT_GT(all.size(), 100u);
  EXPECT_TRUE(contains(run_here({"formats"}).out, "int4wo-<g>-hqq = int4-<g>"));
}

TEST(Formats, ASourceIsAboutTheDefaultOfItsFamily) {
  const auto source = [](const std::string& name) {
    return json::parse(run_here({"formats", name, "-o", "json"}).out)["source"].get<std::string>();
  };
  for (const char* name : {"int4-g32", "int4-sym", "int8-tensor"}) {
    EXPECT_TRUE(source(name).starts_with("family default: ")) << name;
  }
  for (const FormatRow& row : kFormats) {
    EXPECT_EQ(source(std::string(row.name)), row.source);
  }
}

TEST(Bench, RecordsAreAppendedToRecords) {
  const TempFolder folder;
  const std::string path = folder.path() + "/out.jsonl";
  for (int lines = 1; lines <= 2; ++lines) {
    const Outcome run = run_here({"bench", "model=synthetic:tiny", "format=bf16", "prompt_tokens=2",
                                  "new_tokens=2", "min_samples=1", "max_seconds=0", "out=" + path});
    EXPECT_NE(run.code, 2) << run.err;  // 1: the ceiling, on a machine that is busy
    const Bytes out = map_file(path);
    EXPECT_EQ(std::count(out.text().begin(), out.text().end(), '\n'), lines);
  }
}

TEST(Formats, TheDocumentIsCurrent) {
  EXPECT_EQ(run_here({"formats", "--markdown"}).out, map_file(kSource + "/docs/formats.md").text())
      << "run: lowbit formats --markdown > docs/formats.md";
}

TEST(Lockstep, CpuEqualsRef) {
  for (const char* format : {"", "int8"}) {
    const Outcome run =
        run_here({"lockstep", "--model", kModel, "--against", "cpu", "--format", format});
    EXPECT_EQ(run.code, 0) << run.out << run.err;
    EXPECT_TRUE(run.out.starts_with("equal: ")) << run.out;
  }
}

TEST(Devices, EveryBackendOfThisBuildRuns) {
  for (const Backend* backend : backends()) {
    const Outcome run = run_here({"generate", "--model", kModel, "--prompt-ids", "1", "--ids",
                                  "--max-new-tokens", "2", "--device", std::string(backend->name)});
    EXPECT_EQ(run.code, 0) << run.err;
  }
}

}  // namespace
}  // namespace lowbit
