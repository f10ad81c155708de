// `lowbit bench` as a user runs it: sweeps, interruptions, the terminal.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <random>
#include <thread>

#include "app/run_lowbit.h"
#include "app/sweep_progress.h"
#include "base/file.h"
#include "base/text.h"
#include "bench/bench_model.h"
#include "bench/metrics.h"

namespace lowbit {
namespace {

using fixtures::Outcome;
using fixtures::run_binary;
using fixtures::run_here;
using fixtures::TempFolder;
using Args = std::vector<std::string>;

// The embedded model, as the files have it; sanitized, quantizing it by every method takes minutes.
#ifdef LB_SANITIZED
constexpr const char* kModel = "synthetic:tiny";
#else
constexpr const char* kModel = "embedded:prose-7m";
#endif

// Twenty cases of a few milliseconds each.
constexpr const char* kSweep = R"(format: [bf16, int8, int4, int2, fp8]
prompt_tokens: [2, 3]
new_tokens: [2, 3]
min_samples: 1
max_seconds: 0
quality: none
)";
constexpr size_t kCases = 20;

// What is the same in every run of a case: the case, its kernels, the bits of its logits and all
// that is counted and not measured.
std::string exact_part(const Record& record) {
  std::string text = record.config.dump() + " " + record.format + " " + record.resident + " " +
                     record.fingerprint.logits_hash;
  for (const KernelChoice& k : record.fingerprint.kernels) text += " " + k.kernel;
  for (const Value& value : record.values) {
    if (find_metric(value.tag).from != From::kCount) continue;
    text += fmt::format(" {}={}", value.tag, value.estimate.median);
  }
  return text;
}

// How often each case has a row in the file.
std::map<std::string, int> rows_of(const std::string& path) {
  std::map<std::string, int> rows;
  const Bytes file = map_file(path);
  for (const std::string_view line : split(file.text(), '\n')) {
    if (!line.empty()) ++rows[exact_part(parse_record(path, line))];
  }
  return rows;
}

int64_t lines_of(const std::string& path) {
  if (!file_exists(path)) return 0;
  const Bytes file = map_file(path);
  return std::count(file.text().begin(), file.text().end(), '\n');
}

// Starts the binary with its output thrown away.
pid_t start(const Args& args) {
  std::vector<const char*> argv = {LB_BINARY};
  for (const std::string& arg : args) argv.push_back(arg.c_str());
  argv.push_back(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    const int null = ::open("/dev/null", O_WRONLY);
    ::dup2(null, STDOUT_FILENO);
    ::dup2(null, STDERR_FILENO);
    ::execv(LB_BINARY, const_cast<char* const*>(argv.data()));
    ::_exit(127);
  }
  return child;
}

TEST(BenchSweep, KilledThreeTimesItEndsCompleteAndEqualToOneThatWasNot) {
  const TempFolder folder;
  const std::string file = folder.write("sweep.yaml", kSweep);
  const std::string killed = folder.path() + "/killed.jsonl",
                    whole = folder.path() + "/whole.jsonl";
  const auto args = [&](const std::string& out) {
    return Args{"bench", file, std::string("model=") + kModel, "out=" + out, "--resume"};
  };
  const unsigned seed = std::random_device()();
  SCOPED_TRACE("seed of the moments: " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int kills = 1; kills <= 3; ++kills) {
    const pid_t child = start(args(killed));
    // Somewhere within the next cases, never after the last one.
    const int64_t until = lines_of(killed) + std::uniform_int_distribution<int>(1, 5)(random);
    while (lines_of(killed) < until) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(
        std::chrono::microseconds(std::uniform_int_distribution<int>(0, 30000)(random)));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "it ended before it was killed";
  }
  EXPECT_LT(lines_of(killed), static_cast<int64_t>(kCases));
  const Outcome end = run_binary(args(killed));
  EXPECT_NE(end.code, 2) << end.err;  // 1: the ceiling, on a machine that is busy
  EXPECT_NE(end.err.find("of 20 cases are done already"), std::string::npos) << end.err;
  run_binary(args(whole));

  const auto rows = rows_of(killed);
  EXPECT_EQ(rows.size(), kCases);
  EXPECT_EQ(rows, rows_of(whole));
  for (const auto& [row, count] : rows) {
    EXPECT_EQ(count, 1) << row;
    EXPECT_NE(row.find(" model_bytes="), std::string::npos) << row;
  }

  const Outcome again = run_binary(args(killed));
  EXPECT_NE(again.err.find("20 of 20 cases are done already"), std::string::npos) << again.err;
  EXPECT_EQ(rows_of(killed), rows);
  EXPECT_NE(again.out.find("prompt 3, 2 new tokens"), std::string::npos) << again.out;
}

TEST(BenchSweep, ListsOfTheCommandLineAndOfTheFileMakeAProduct) {
  const TempFolder folder;
  const std::string out = folder.path() + "/out.jsonl";
  const Outcome run = run_here({"bench", folder.write("s.yaml", kSweep), "model=synthetic:tiny",
                                "format=int8", "kv_format=bf16,int8", "out=" + out});
  EXPECT_NE(run.code, 2) << run.err;
  EXPECT_EQ(rows_of(out).size(), 8u);
}

TEST(BenchSweep, ACaseThatFailsIsARowAndExitCodeOne) {
  const Outcome run = run_here({"bench", "model=synthetic:tiny", "format=bf16", "quality=none",
                                "prompt_tokens=2,4000", "new_tokens=2", "max_seconds=0"});
  EXPECT_EQ(run.code, 1);
  EXPECT_NE(run.out.find("need a context of 4001; the model has 2048"), std::string::npos)
      << run.out;
}

TEST(BenchSweep, ACaseThatTakesTooLongIsARow) {
  const Outcome run = run_here({"bench", "model=synthetic:llama-1.1b", "format=int8",
                                "quality=none", "max_seconds=60", "timeout=0.3", "-o", "json"});
  EXPECT_EQ(run.code, 1);
  EXPECT_EQ(parse_record("line", run.out).reason, "took longer than timeout = 0.3 s");
}

// What a program that draws on a terminal writes to it.
std::string on_terminal(const Args& args) {
  std::vector<const char*> argv = {LB_BINARY};
  for (const std::string& arg : args) argv.push_back(arg.c_str());
  argv.push_back(nullptr);
  int terminal = -1;
  const pid_t child = ::forkpty(&terminal, nullptr, nullptr, nullptr);
  if (child == 0) {
    ::execv(LB_BINARY, const_cast<char* const*>(argv.data()));
    ::_exit(127);
  }
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = ::read(terminal, buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<size_t>(n));
  }
  ::close(terminal);
  ::waitpid(child, nullptr, 0);
  return text;
}

TEST(BenchSweep, ProgressIsShownOnATerminalOnly) {
  const Args args = {"bench",        "model=synthetic:tiny", "format=bf16,int8", "quality=none",
                     "new_tokens=2", "prompt_tokens=2",      "max_seconds=0"};
  const std::string text = on_terminal(args);
  EXPECT_NE(text.find("[1/2] synthetic:tiny "), std::string::npos) << text;
  EXPECT_NE(text.find("measuring"), std::string::npos) << text;
  EXPECT_NE(text.find(" left; last: "), std::string::npos) << text;
  EXPECT_EQ(run_here(args).err, "");
}

TEST(BenchProgress, TheLineHasCaseTimeLeftAndLastResult) {
  SweepProgress progress(5);
  progress.skip(2);
  progress.start("m int8");
  progress.phase("loading");
  EXPECT_EQ(progress.line(), "[3/5] m int8: loading");
  Record record;
  record.format = "int8";
  record.set("decode_tps", exact(100));
  progress.finish(record);
  progress.start("m int4");
  EXPECT_TRUE(progress.line().starts_with("[4/5] m int4, 0 s left; last: int8 100"))
      << progress.line();
  record.status = Status::kFail;
  progress.finish(record);
  progress.start("m int2");
  EXPECT_TRUE(progress.line().ends_with("; last: int8 fail")) << progress.line();
}

const std::string kConfigs = std::string(LB_SOURCE_DIR) + "/configs/";

// One short run of each case of a file.
Outcome run_short(Args args, const Args& more) {
  args.insert(args.begin(), "bench");
  args.insert(args.end(), {std::string("model=") + kModel, "new_tokens=3", "active=1", "warmup=0"});
  args.insert(args.end(), more.begin(), more.end());
  return run_here(args);
}

// Nothing went wrong, in no case.
void expect_all_ran(const Outcome& run, const std::string& what) {
  EXPECT_EQ(run.code, 0) << what << ": " << run.err << run.out;
  for (const char* word : {"(fail)", "(skip)", ": fail: ", ": skip: "}) {
    EXPECT_EQ(run.out.find(word), std::string::npos) << what << ": " << run.out;
  }
}

TEST(BenchSuites, EveryExperimentOfTheLlamaHarnessRuns) {
  const auto folder = open_folder(kConfigs + "torchao-llama");
  EXPECT_GE(folder->names().size(), 7u);
  for (const std::string& name : folder->names()) {
    const Outcome run = run_short({folder->path_of(name)}, {"prompt_tokens=4"});
    expect_all_ran(run, name);
    EXPECT_NE(run.out.find("decode"), std::string::npos) << name << run.out;
  }
}

constexpr const char* kFirst = "Profiling complete. Metrics: tokens per second (tps): ";
constexpr const char* kSecond = "GPU util: FLOPs (total generate flops/latency): ";
const std::string kSuite = kConfigs + "low-bit-inference/";

// The suite's files, which record few and short runs of the embedded model here.
const Args kSmall = {"skip_first=0",
                     "wait=0",
                     "warmup=0",
                     "active=1",
                     "repeat=1",
                     "max_new_tokens=3",
                     std::string("model_id=") + kModel,
                     "tps_only=True"};

// A command line of the suite: what its output must name, beside its own lines.
void expect_suite_line(const std::string& entry, const std::string& file, const Args& overrides,
                       const std::string& named) {
  SCOPED_TRACE(entry + " " + file + " " + join(overrides, " "));
  Args args = {"bench"};
  if (!entry.empty()) args.push_back(entry);
  args.push_back(kSuite + file + ".yaml");
  args.insert(args.end(), kSmall.begin(), kSmall.end());
  args.insert(args.end(), overrides.begin(), overrides.end());
  const Outcome run = run_here(args);
  expect_all_ran(run, file);
  for (const std::string& part :
       {std::string("entry point: "), std::string(kFirst), std::string(kSecond), named}) {
    EXPECT_NE(run.out.find(part), std::string::npos) << part << "\n" << run.out;
  }
  EXPECT_LT(run.out.find(kSecond), run.out.find("median ±")) << "the suite's lines come first";
}

// Each entry point with its file, early names too.
TEST(BenchSuites, EveryCommandLineOfLowBitInferenceRuns) {
  const struct {
    const char *entry, *file;
    Args overrides;
    const char* named;
  } kLines[] = {
      {"", "profile_baseline", {}, "bf16"},
      {"torch_baseline", "profile_baseline", {"tps_only=False"}, "bf16"},
      {"baseline", "profile_baseline", {"compute_dtype=fp16"}, "f16"},
      {"", "profile", {}, "entry point: torch_baseline (by compile_decode)"},
      {"low_bit_inference.torchinductor", "profile_inductor", {}, "bf16"},
      {"torchinductor_tuned", "profile_inductor_tuned", {}, "nothing is tuned"},
      {"", "profile_inductor_tuned", {}, "nothing is tuned"},
      {"torchinductor_int4", "profile_inductor_torchao", {}, "torchao_exp:bf16_int4"},
      {"torchinductor_int8", "profile_inductor_torchao", {}, "torchao_exp:bf16_int8"},
      {"torchinductor_fp8", "profile_inductor_torchao", {}, "torchao_exp:bf16_fp8"},
      {"torchao_exp", "profile_inductor_torchao", {"quantization_method=default"}, "int8-sbf16"},
      {"", "profile_inductor_torchao", {}, "torchao_exp:bf16_fp8"},
      {"gemlite_demo", "profile_inductor_gemlite", {}, "gemlite_exp:bf16_int1"},
      {"gemlite_exp", "profile_inductor_gemlite", {"quantization_method=mxfp8_mxfp8"}, "mxfp8+fp8"},
      {"", "profile_inductor_gemlite", {}, "gemlite_exp:nvfp4_nvfp4"},
  };
  for (const auto& line : kLines) {
    expect_suite_line(line.entry, line.file, line.overrides, line.named);
  }
}

// The runs that its documents recommend, with the overrides that they name.
TEST(BenchSuites, EveryRecipeOfLowBitInferenceRuns) {
  const Args kSteps = {"oom_profile=True", "tps_only=False", "skip_first=0", "warmup=0",
                       "wait=0",           "active=1",       "repeat=5"};
  const struct {
    const char* entry;
    Args overrides;
    const char* named;
  } kRecipes[] = {
      {"torchinductor", {"skip_first=1", "wait=2", "warmup=1", "active=1"}, "iterations: 1\n"},
      {"torchinductor", {"profile_compile=True"}, "not chosen for "},
      {"torchinductor", kSteps, "most memory: "},
      {"torchinductor", {"kernel_profile=True", "tps_only=False"}, "without the trace"},
      {"torchinductor", {"tps_only=False", "tps_only=True"}, "iterations: 1\n"},
  };
  for (const auto& recipe : kRecipes) {
    expect_suite_line(recipe.entry, "profile_inductor", recipe.overrides, recipe.named);
  }
  expect_suite_line("gemlite_exp", "profile_inductor_gemlite",
                    {"tps_only=False", "quantization_method=mxfp8_mxfp8", "kernel_profile=True",
                     "oom_profile=True", "repeat=5"},
                    "iterations: 5\n");
}

TEST(BenchSuites, VariablesOfTheEnvironmentMeanWhatTheyDoThereOrAreAnswered) {
  const auto with = [](const char* name, const char* value, const char* named) {
    ::setenv(name, value, 1);
    expect_suite_line("torchinductor", "profile_inductor", {}, named);
    ::unsetenv(name);
  };
  with("CUDA_LAUNCH_BLOCKING", "1", "the host waited after every op");
  with("TORCH_TRACE", "log/compile",
       "TORCH_TRACE: no effect, nothing is compiled; profile_compile");
  with("TORCH_LOGS", "dynamic,guards", "TORCH_LOGS: no effect, nothing is compiled");
}

TEST(BenchSuites, TheGenericFileHasEveryKeyOfTheSuite) {
  const Bytes file = map_file(kSuite + "profile.yaml");
  for (const char* key : {"device",
                          "compute_dtype",
                          "model_id",
                          "cache_dir",
                          "attn_implementation",
                          "profiling_dir",
                          "skip_first",
                          "wait",
                          "warmup",
                          "active",
                          "repeat",
                          "tps_only",
                          "kernel_profile",
                          "oom_profile",
                          "memory_snapshot_max_entries",
                          "profile_compile",
                          "prompt",
                          "max_new_tokens",
                          "chat_template",
                          "do_sample",
                          "top_k",
                          "top_p",
                          "temperature",
                          "use_cache",
                          "cache_implementation",
                          "compile_decode",
                          "compile_prefill",
                          "quantize",
                          "quantization_method",
                          "padding_side"}) {
    EXPECT_NE(file.text().find(fmt::format("\n{}: ", key)), std::string::npos) << key;
  }
}

TEST(BenchSuites, AFileByTheSuitesOwnPathIsFoundWhereItIsHere) {
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(LB_SOURCE_DIR);
  Args args = {"bench", "gemlite_exp", "configs/profile_inductor_gemlite.yaml"};
  args.insert(args.end(), kSmall.begin(), kSmall.end());
  args.emplace_back("quantization_method=bf16_mxfp8");
  const Outcome run = run_here(args);
  std::filesystem::current_path(before);
  expect_all_ran(run, "configs/");
  EXPECT_NE(run.out.find("configs/profile_inductor_gemlite.yaml: is "
                         "configs/low-bit-inference/profile_inductor_gemlite.yaml here"),
            std::string::npos)
      << run.out;
  const TempFolder folder;
  const Outcome none = run_here({"bench", folder.path() + "/profile_inductor.yaml"});
  EXPECT_EQ(none.code, 2);
  EXPECT_NE(none.err.find("no such file in "), std::string::npos) << none.err;
  EXPECT_NE(none.err.find("configs/low-bit-inference/profile_inductor.yaml"), std::string::npos);
}

TEST(BenchSuites, AutoquantSaysWhatToUse) {
  for (const char* entry : {"torchao_autoquant", "torchinductor_autoquant"}) {
    const Outcome run =
        run_here({"bench", entry, kConfigs + "low-bit-inference/profile_inductor_torchao.yaml"});
    EXPECT_EQ(run.code, 2);
    EXPECT_NE(run.err.find("quantization_method=bf16_int8"), std::string::npos) << run.err;
  }
}

TEST(BenchSuites, ItsMemoryVisualiserIsAnsweredWithWhatDoesThatHere) {
  for (const char* name : {"_memory_viz", "low_bit_inference/utils/_memory_viz.py"}) {
    const Outcome run = run_here({"bench", name, "trace_plot", "-d", "0", "x.pickle"});
    EXPECT_EQ(run.code, 2);
    EXPECT_NE(run.err.find("oom_profile=True"), std::string::npos) << run.err;
  }
}

TEST(BenchSuites, ARunFolderHasTheResultsAndTheErrors) {
  const TempFolder folder;
  const Outcome run =
      run_here({"bench", "torch_baseline", "model_id=synthetic:tiny", "device=cpu",
                "profiling_dir=" + folder.path() + "/log", "max_new_tokens=2,5000"});
  EXPECT_EQ(run.code, 1) << run.err;
  const std::filesystem::path log(folder.path() + "/log");
  ASSERT_EQ(std::distance(std::filesystem::directory_iterator(log), {}), 1);
  const std::string made = std::filesystem::directory_iterator(log)->path();
  EXPECT_EQ(lines_of(made + "/results.jsonl"), 2);
  EXPECT_NE(map_file(made + "/error.txt").text().find("2048"), std::string_view::npos);
}

// The names that users of the suite look for.
TEST(BenchSuites, ProfilesAreInTheRunFolderAndOnStandardOutput) {
  const TempFolder folder;
  const Outcome run = run_here({"bench", "torch_baseline", "model_id=synthetic:tiny", "device=cpu",
                                "profiling_dir=" + folder.path() + "/log", "max_new_tokens=3,4",
                                "kernel_profile=True", "oom_profile=True", "profile_compile=True",
                                "memory_snapshot_max_entries=1000"});
  EXPECT_EQ(run.code, 0) << run.err;
  const std::filesystem::path log(folder.path() + "/log");
  const std::filesystem::path made = std::filesystem::directory_iterator(log)->path();
  for (const char* name : {"01_bf16", "02_bf16"}) {
    std::string names;
    for (const auto& entry : std::filesystem::directory_iterator(made / name)) {
      names += entry.path().filename().string() + " ";
    }
    for (const char* begin : {"trace.json", "chrome_trace_", "kernel_profile_",
                              "memory_snapshot_0_", "memory_snapshot_1_", "profile_compile_"}) {
      EXPECT_NE(names.find(begin), std::string::npos) << begin << " is not in " << names;
    }
  }
  for (const char* part : {"quantize ", "decode at ", "most memory: ", "not chosen for "}) {
    EXPECT_NE(run.out.find(part), std::string::npos) << part << run.out;
  }
  EXPECT_LT(run.out.find("most memory: "), run.out.find(kFirst)) << "the suite's lines come after";
}

TEST(BenchSuites, ProfilesGoWithOurOwnKeysToo) {
  const TempFolder folder;
  const std::string log = folder.path() + "/log";
  std::vector<std::string> args = {"bench",        "synthetic:tiny", "format=int4",
                                   "new_tokens=3", "max_seconds=0",  "profiling_dir=" + log};
  const Outcome none = run_here(args);
  EXPECT_EQ(none.code, 0) << none.err;
  EXPECT_NE(none.out.find("profiling_dir: no effect without"), std::string::npos) << none.out;
  EXPECT_FALSE(std::filesystem::exists(log));
  args.push_back("kernel_profile=True");
  const Outcome run = run_here(args);
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.out.find(kFirst), std::string::npos) << "the suite's lines are not asked for";
  EXPECT_LT(run.out.find("decode at "), run.out.find("int4  ")) << run.out;
  const std::filesystem::path made = std::filesystem::directory_iterator(log)->path();
  EXPECT_TRUE(std::filesystem::exists(made / "trace.json"));
}

TEST(BenchSuites, AnUnknownKeyOfAFileIsAnErrorWithASuggestion) {
  const TempFolder folder;
  const std::string file = folder.write("x.yaml", "model_id: m\nmax_new_token: 3\n");
  const Outcome run = run_here({"bench", file});
  EXPECT_EQ(run.code, 2);
  EXPECT_NE(run.err.find("x.yaml:2: unknown key `max_new_token`, did you mean `max_new_tokens`"),
            std::string::npos)
      << run.err;
}

}  // namespace
}  // namespace lowbit
