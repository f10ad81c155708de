// Every command line of suite_commands.txt, by the words that users of those suites know.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "app/microbench_options.h"
#include "app/run_lowbit.h"
#include "base/file.h"
#include "base/text.h"
#include "bench/harness_line.h"

namespace lowbit::fixtures {
namespace {

using Args = std::vector<std::string>;

const std::string kProse = LB_SOURCE_DIR "/models/prose-7m";

struct Line {
  Args args;
  std::string expected;  // "": nothing in particular
};

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at; (at = text.find(from)) != std::string::npos;) text.replace(at, from.size(), to);
  return text;
}

std::vector<Line> lines_of(const std::string& file, const std::string& out) {
  std::vector<Line> lines;
  std::ifstream stream(file);
  for (std::string text; std::getline(stream, text);) {
    if (text.empty() || text[0] == '#') continue;
    const size_t arrow = text.find(" => ");
    Line line;
    if (arrow != std::string::npos) line.expected = text.substr(arrow + 4);
    const std::string command = text.substr(0, arrow);
    for (const std::string_view word : split(command, ' ')) {
      line.args.push_back(replaced(replaced(std::string(word), "$MODEL", kProse), "$OUT", out));
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

bool has(const Args& args, const std::string& flag) {
  return std::find(args.begin(), args.end(), flag) != args.end();
}

// A config of torchao's microbenchmarks: two small Linears.
constexpr const char* kMicrobench =
    "quantization_config_recipe_names: [\"int8wo\", \"int8dq\"]\n"
    "sparsity_config_recipe_names: [\"semi-structured\"]\n"
    "output_dir: null\n"
    "model_params:\n"
    "  - name: \"micro\"\n"
    "    matrix_shapes:\n"
    "      - name: \"custom\"\n"
    "        shapes: [[1, 64, 64], [2, 64, 96]]\n"
    "    high_precision_dtype: \"torch.bfloat16\"\n"
    "    torch_compile_mode: \"max-autotune\"\n"
    "    device: \"cuda\"\n"
    "    model_type: \"linear\"\n";

bool is_micro(const Args& args) {
  return args[0] == "microbench" || (args.size() > 1 && args[1].ends_with("benchmark_runner"));
}

// The line with few and short runs, where it does not say how many.
Args shortened(Args args) {
  if (args[0] == "eval") return args;
  if (is_micro(args)) {
    for (const char* key : {"max_seconds=0", "device=cpu"}) args.emplace_back(key);
    return args;
  }
  const Args small =
      args[0] == "generate" ? Args{"--num_samples", "1", "--max_new_tokens", "3"} : Args{"-r", "1"};
  for (size_t i = 0; i < small.size(); i += 2) {
    if (has(args, small[i])) continue;
    args.insert(args.end(), {small[i], small[i + 1]});
  }
  return args;
}

std::string last_line(const std::string& text) {
  const std::string_view trimmed = trim(text);
  return std::string(trimmed.substr(trimmed.rfind('\n') + 1));
}

TEST(SuiteCommands, EveryLineRunsOrSaysWhyNot) {
  const TempFolder folder;
  folder.write("prompt.txt", "A man of the sea");
  folder.write("micro.yml", kMicrobench);
  folder.write("wiki.test.raw",
               " = One = \n \n A man @-@ made sea . \n = Two = \n \n The sea . \n");
  const auto lines = lines_of(LB_SOURCE_DIR "/tests/app/suite_commands.txt", folder.path());
  ASSERT_GE(lines.size(), 90u);
  for (const Line& line : lines) {
    SCOPED_TRACE(join(line.args, " "));
    const Outcome run = run_here(shortened(line.args));
    const std::string all = run.out + run.err;
    EXPECT_NE(all.find(line.expected), std::string::npos) << all;
    if (run.code != 0) {  // a refusal is one line that was foreseen
      EXPECT_EQ(run.code, 2) << all;
      EXPECT_FALSE(line.expected.empty()) << all;
      EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1) << run.err;
    } else if (line.args[0] == "generate") {
      const HarnessLine record = parse_harness_line("stdout", last_line(run.out));
      EXPECT_GT(record.tokens_per_second, 0);
      EXPECT_EQ(record.model, "prose-7m");
      EXPECT_TRUE(record.repro.starts_with("lowbit generate ")) << record.repro;
    }
  }
}

TEST(SuiteCommands, FilesThatTheHarnessWritesAreThere) {
  const TempFolder folder;
  const std::string out = folder.path();
  const Outcome run =
      run_here({"generate", "--checkpoint_path", kProse, "--num_samples", "2", "--max_new_tokens",
                "3", "--profile", out + "/trace", "--write_result", out + "/results.txt",
                "--output_json_path", out + "/dash.json", "--output_json_local"});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(trim(map_file(out + "/results.txt").text()), last_line(run.out));
  const auto trace = nlohmann::json::parse(map_file(out + "/trace.json").text());
  EXPECT_GT(trace["traceEvents"].size(), 3u * 8 * 5);  // 3 steps of 8 layers, several ops each
  EXPECT_GE(trace["traceEvents"][1]["ts"], trace["traceEvents"][0]["dur"]);
  const auto rows = nlohmann::json::parse(map_file(out + "/dash.json").text());
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[1]["metric"], "tok/s");
  EXPECT_GT(rows[1]["actual"], 0);
}

// The text that a harness command has generated, with how often each line of it came.
std::string samples_of(const std::string& output) {
  std::string text;
  for (const std::string_view line : split(output, '\n')) {
    const bool figures = line.starts_with("Sample ") || line.starts_with("Bandwidth achieved") ||
                         line.starts_with("Time to load");
    if (line.starts_with("==========")) break;
    if (!figures) text += std::string(line) + "\n";
  }
  return text;
}

TEST(SuiteCommands, TheReproCommandRepeatsTheRun) {
  const std::string prompt = "It's a \"test\", $HOME;\nof the 'quotes' \\ here";
  const Outcome run =
      run_here({"generate", "-q", "int8wo", "--checkpoint_path", kProse, "--num_samples", "2",
                "--max_new_tokens", "6", "--prompt", prompt, "--seed", "7"});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_NE(samples_of(run.out).find(prompt), std::string::npos) << run.out;
  const std::string repro = parse_harness_line("stdout", last_line(run.out)).repro;
  const std::string binary = LB_BINARY;
  const std::string command =
      "PATH=" + shell_quoted(binary.substr(0, binary.rfind('/'))) + ":$PATH; " + repro;
  std::FILE* pipe = ::popen(("bash -c " + shell_quoted(command) + " 2>/dev/null").c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string again;
  for (int c; (c = std::fgetc(pipe)) != EOF;) again += static_cast<char>(c);
  EXPECT_EQ(::pclose(pipe), 0);
  EXPECT_EQ(samples_of(again), samples_of(run.out));
  EXPECT_EQ(parse_harness_line("again", last_line(again)).repro, repro);
}

TEST(SuiteCommands, RecordLinesAreReadBackAndCompared) {
  const TempFolder folder;
  const std::string head = "20240908170222, tok/s=";
  const std::string tail =
      ", mem/s=1418.93 GB/s, peak_mem=13.88 GB, model_size=13.21 GB quant: None, mod: "
      "Llama-2-7b-chat-hf, kv_quant: False, compile: True, compile_prefill: False, dtype: "
      "torch.bfloat16, device: cuda repro: python generate.py --checkpoint_path x/model.pth "
      "--device cuda --compile --num_samples 5 --max_new_tokens 200 --top_k 200 \n";
  std::string a = "OTHER BENCHMARKS\n\n", b;
  for (const char* rate : {"107.1", "107.2", "107.3", "107.4", "107.5", "107.6"}) {
    a += head + rate + tail;
  }
  for (const char* rate : {"117.1", "117.2", "117.3", "117.4", "117.5", "117.6"}) {
    b += head + rate + tail;
  }
  const std::string out_a = folder.path() + "/a.jsonl", out_b = folder.path() + "/b.jsonl";
  const Outcome first = run_here({"bench", "--import", folder.write("a.txt", a), "--out", out_a});
  EXPECT_EQ(first.code, 0) << first.err;
  EXPECT_NE(first.err.find("1 lines are none"), std::string::npos) << first.err;
  EXPECT_NE(first.out.find("Llama-2-7b-chat-hf"), std::string::npos) << first.out;
  run_here({"bench", "--import=" + folder.write("b.txt", b), "out=" + out_b});
  const Outcome compared = run_here({"compare", out_a, out_b});
  EXPECT_EQ(compared.code, 0) << compared.err;
  EXPECT_NE(compared.out.find("better"), std::string::npos) << compared.out;
  EXPECT_NE(compared.out.find("1.09"), std::string::npos) << compared.out;  // 117 / 107
  const Outcome none = run_here({"bench", "--import", folder.write("n.txt", "nothing\n")});
  EXPECT_EQ(none.code, 2);
  EXPECT_NE(none.err.find("n.txt: holds no line of the llama harness"), std::string::npos);
}

TEST(SuiteCommands, HarnessFlagsAreCheckedByName) {
  const std::pair<Args, const char*> cases[] = {
      {{"--num_samples", "0"}, "--num_samples 0: must be at least 1"},
      {{"--precision", "torch.int8"}, "--precision `torch.int8`"},
      {{"--cache_size", "3"}, "--cache_size 3: the prompt and the new tokens are"},
      {{"--max_new_tokens", "600", "--num_samples", "1"}, "the model was made for 512"},
      {{"--num_samples", "1", "--compil"}, "--compil"},
      {{"--compile", "--checkpoint_path", "/nowhere/model.pth"}, "/nowhere/model.pth: no such"},
      {{"--batch_size", "2", "--interactive"}, "--interactive takes one prompt"},
      {{"--write_result", "/nowhere/x", "--compile"}, "/nowhere"},
  };
  for (const auto& [flags, expected] : cases) {
    Args args = {"generate"};
    if (!has(flags, "--checkpoint_path")) args.insert(args.end(), {"--checkpoint_path", kProse});
    args.insert(args.end(), flags.begin(), flags.end());
    const Outcome run = run_here(args);
    EXPECT_EQ(run.code, 2) << expected;
    EXPECT_NE(run.err.find(expected), std::string::npos) << run.err;
  }
}

TEST(SuiteCommands, AFolderThatWasNotConvertedIsUsedAsItIs) {
  const Outcome run = run_here({"generate", "--checkpoint_path", kProse + "/model.pth",
                                "--num_samples", "1", "--max_new_tokens", "2"});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_NE(run.out.find("there is no model.pth; the weights of the folder"), std::string::npos);
  EXPECT_EQ(parse_harness_line("stdout", last_line(run.out)).model, "prose-7m");
}

TEST(SuiteCommands, ConfigsOfMicrobenchmarksAreReadWhole) {
  const TempFolder folder;
  const std::string file = folder.write("micro.yml", kMicrobench), out = folder.path() + "/out";
  const Outcome run = run_here({"microbench", "--config", file, "max_seconds=0", "device=cpu",
                                "enable_profiler=true", "enable_memory_profiler=true",
                                "output_dir=" + out, "out=" + folder.path() + "/r.jsonl"});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_NE(run.out.find("Eager vs Compile Speedup"), std::string::npos) << run.out;
  EXPECT_NE(run.out.find("semi-structured (1, 64, 64): skip: 2:4 needs codes"), std::string::npos);
  const auto trace = nlohmann::json::parse(
      map_file(out + "/inference/profiler/micro_2_64_96_quant_int8dq_sparsity_None_profile.json")
          .text());
  EXPECT_EQ(trace["traceEvents"].size(), 6u);  // three calls, each rounds its input first
  const size_t at = run.err.find("results    ");
  ASSERT_NE(at, std::string::npos) << run.err;
  const std::string csv(map_file(std::string(trim(run.err.substr(at + 11)))).text());
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 11);  // a header and 2 shapes of 5 rows
  EXPECT_NE(csv.find("allocated_bytes.all.peak"), std::string::npos);
  const std::string records = folder.path() + "/r.jsonl";
  EXPECT_EQ(run_here({"compare", records, records}).code, 0);
  const Outcome report = run_here({"report", records});
  EXPECT_NE(report.out.find("linear custom, m 1, k 64, n 64, cpu"), std::string::npos)
      << report.out;
}

TEST(SuiteCommands, TheDashboardRunnerWritesRowsOfItsDatabase) {
  const TempFolder folder;
  const std::string path = folder.path() + "/rows.json";
  const Outcome run =
      run_here({"bench", "benchmarks.dashboard.ci_microbenchmark_runner", "--config",
                folder.write("micro.yml", kMicrobench), "--output", path, "max_seconds=0",
                "device=cpu", "sparsity_config_recipe_names="});
  ASSERT_EQ(run.code, 0) << run.err;
  const auto rows = nlohmann::json::parse(map_file(path).text());
  ASSERT_EQ(rows.size(), 24u);  // 2 shapes, 3 recipes, 4 metrics: too small for a cold time
  EXPECT_EQ(rows[0]["model"]["name"], "1-64-64");
  EXPECT_EQ(rows[0]["benchmark"]["dtype"], "baseline");
  EXPECT_EQ(rows[0]["metric"]["name"], "Fwd Speedup (x)");
  EXPECT_EQ(rows[0]["metric"]["benchmark_values"][0], 1.0);
  EXPECT_EQ(rows[3]["metric"]["extra_info"]["unit"], "MB");
}

TEST(SuiteCommands, MistakesInConfigsOfMicrobenchmarksAreNamed) {
  const TempFolder folder;
  const auto replace = [&](const std::string& from, const std::string& to) {
    return folder.write("bad.yml", replaced(kMicrobench, from, to));
  };
  const std::pair<std::string, const char*> cases[] = {
      {"model_type:", "model_params[0]: unknown key `model_tipe`, did you mean `model_type`"},
      {"output_dir:", "unknown key `output_dri`, did you mean `output_dir`"},
      {"shapes: [[1, 64, 64]", "matrix_shapes[0]: shapes[0]: "},
      {"\"int8wo\"", "did you mean `int8wo`"},
      {"device: \"cuda\"", "tpu"},
  };
  const char* wrong[] = {"model_tipe:", "output_dri:", "shapes: [[one, 64, 64]", "\"int8w0\"",
                         "device: \"tpu\""};
  for (size_t i = 0; i < std::size(wrong); ++i) {
    const Outcome run = run_here({"microbench", replace(cases[i].first, wrong[i])});
    EXPECT_EQ(run.code, 2) << run.out;
    EXPECT_NE(run.err.find(cases[i].second), std::string::npos) << run.err;
  }
}

TEST(SuiteCommands, CommittedMicrobenchmarksAreUnderstood) {
  const auto folder = open_folder(LB_SOURCE_DIR "/configs/torchao-microbenchmarks");
  ASSERT_GE(folder->names().size(), 3u);
  for (const std::string& name : folder->names()) {
    const auto request = parse_microbench({folder->path_of(name)});
    ASSERT_TRUE(request);
    EXPECT_GE(microbench_cases(request->config).size(), 4u) << name;
  }
}

}  // namespace
}  // namespace lowbit::fixtures
