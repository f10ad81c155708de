// lowbit quantize: what it writes loads to the same numbers as quantizing at load.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <regex>
#include <thread>

#include "app/progress.h"
#include "app/run_lowbit.h"
#include "base/check.h"
#include "base/file.h"
#include "engine/loaded_model.h"
#include "load/checkpoint.h"
#include "load/safetensors_writer.h"
#include "models/export.h"
#include "ref/backend.h"

namespace lowbit {
namespace {

using fixtures::Outcome;
using fixtures::run_here;
using fixtures::TempFolder;
using nlohmann::json;

const std::string kSource = LB_SOURCE_DIR;
const std::string kModel = kSource + "/tests/golden/llama/gqa4";
const std::string kTied = kSource + "/tests/golden/llama/tied";
const std::string kProse = kSource + "/models/prose-7m";
constexpr const char* kDown = "model.layers.0.mlp.down_proj.weight";

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string ids_of(const std::string& model, std::vector<std::string> more = {}) {
  std::vector<std::string> args = {"generate",     "--model", model,   "--device",         "ref",
                                   "--prompt-ids", "1,5,9,2", "--ids", "--max-new-tokens", "12"};
  args.insert(args.end(), more.begin(), more.end());
  const Outcome run = run_here(args);
  EXPECT_EQ(run.code, 0) << run.err;
  return run.out;
}

void expect_one_line(const Outcome& run, const std::vector<std::string>& parts) {
  EXPECT_EQ(run.code, 2) << run.out;
  EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1) << run.err;
  for (const std::string& part : parts) EXPECT_TRUE(contains(run.err, part)) << run.err;
}

class QuantizeFormats : public testing::TestWithParam<const char*> {};

TEST_P(QuantizeFormats, TheFolderHoldsTheCodesThatALoadWouldChoose) {
  const TempFolder temp;
  const std::string out = temp.path() + "/q";
  const Format format = parse_format(GetParam());
  const bool whole = format.outer == Outer::kSuper;  // K must be a multiple of 256
  const std::string& folder = whole ? kProse : kModel;
  const std::string head = whole ? "stored" : "same";
  const Outcome run =
      run_here({"quantize", folder, "--format", GetParam(), "--head", head, "--out", out});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_TRUE(contains(run.out, "bits each")) << run.out;
  EXPECT_EQ(ids_of(out), ids_of(folder, {"--format", GetParam(), "--head", head}));

  const auto source = open_checkpoint(folder), written = open_checkpoint(out);
  EXPECT_EQ(written->tensor_names(), source->tensor_names());
  LoadOptions options;
  options.plan_only = true;
  options.policy.all.format = format;
  options.policy.head = parse_tensor_policy(head);
  const auto model = load_model(*source, ref_backend(), options);
  for (const TensorUse& use : model->tensors()) {
    const QTensor original = source->tensor(use.tensor, use.n, use.k);
    const QTensor expected =
        use.choice.format ? quantizers()[0].run(original, format, {use.tensor}) : original;
    const QTensor stored = written->tensor(use.tensor, use.n, use.k);
    ASSERT_EQ(stored.format, expected.format) << use.tensor;
    for (const Plane plane : kPlanes) {
      EXPECT_TRUE(std::ranges::equal(stored.plane(plane).data, expected.plane(plane).data))
          << use.tensor << " " << name(plane);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, QuantizeFormats,
                         testing::Values("int8", "int4", "int3-g32-asym", "int4-g128-sym-sf16-24",
                                         "int1", "ternary", "ternary5-row", "fp8-b128x128",
                                         "fp6-e2m3", "mxfp8", "mxfp6", "mxfp4-even", "nvfp4",
                                         "q4_1", "tq1_0", "q6_k", "q5_k", "q4_k", "q3_k", "q2_k",
                                         "qqq", "qqq-row", "codebook"),
                         [](const auto& p) {
                           std::string text = p.param;
                           std::replace(text.begin(), text.end(), '-', '_');
                           return text;
                         });

TEST(Quantize, SaysWhatHeadAndEmbeddingAre) {
  const TempFolder temp;
  const auto wrote = [&](const std::string& format) {
    const Outcome run = run_here(
        {"quantize", "embedded:prose-7m", "--format", format, "--out", temp.path() + "/" + format});
    EXPECT_EQ(run.code, 0) << run.err;
    return run.out;
  };
  EXPECT_TRUE(contains(wrote("int4"), "formats     layers: int4; head: int4; embedding: bf16\n"));
  EXPECT_TRUE(contains(wrote("bf16_int8"),
                       "formats     layers: int8-sbf16; head: bf16; embedding: bf16\n"));
}

TEST(Quantize, ATiedHeadOfItsOwnFormatIsUntied) {
  const TempFolder temp;
  const std::string out = temp.path() + "/q";
  const std::vector<std::string> flags = {"--format", "int4-g32", "--head", "int8"};
  ASSERT_EQ(
      run_here({"quantize", kTied, flags[0], flags[1], flags[2], flags[3], "--out", out}).code, 0);
  EXPECT_EQ(ids_of(out), ids_of(kTied, flags));
  const auto written = open_checkpoint(out);
  EXPECT_FALSE(written->config().boolean_or("tie_word_embeddings", true));
  EXPECT_TRUE(written->has("lm_head.weight"));
}

TEST(Quantize, AQuantizedEmbeddingKeepsATiedHeadAsStored) {
  const TempFolder temp;
  const std::string out = temp.path() + "/q";
  const std::vector<std::string> flags = {"--embedding", "int8-g64"};
  ASSERT_EQ(run_here({"quantize", kTied, flags[0], flags[1], "--out", out}).code, 0);
  EXPECT_EQ(ids_of(out), ids_of(kTied, flags));
  const json inspect = json::parse(run_here({"inspect", out, "-o", "json"}).out);
  EXPECT_EQ(inspect["linears"].back()["format"], "f16");
}

TEST(Quantize, GgufFilesBecomeFoldersWithTheirTokenizer) {
  const TempFolder temp;
  const std::string gguf = kSource + "/tests/golden/gguf/q4_0-untied-spm.gguf";
  const std::string out = temp.path() + "/q";
  ASSERT_EQ(run_here({"quantize", gguf, "--format", "int8", "--out", out}).code, 0);
  const auto generate = [](const std::string& model, std::vector<std::string> more) {
    std::vector<std::string> args = {"generate",         "--model", model,      "--prompt", "a b",
                                     "--max-new-tokens", "8",       "--device", "ref"};
    args.insert(args.end(), more.begin(), more.end());
    return run_here(args).out;
  };
  const std::string text = generate(out, {});
  EXPECT_FALSE(text.empty());
  EXPECT_EQ(text, generate(gguf, {"--format", "int8"}));
}

// One text, one result: from a folder, at load, by the suite's flag, and spelled out.
TEST(Quantize, AwqByItsNameIsTheSameEverywhere) {
  const TempFolder temp;
  const std::string model = kSource + "/tests/golden/gguf/q4_0-untied-spm.gguf";
  const std::string text = temp.write("text.txt", "a b a c a b d a a b c a d b a c b a d c a b");
  const auto generate = [&](std::vector<std::string> args) {
    args.insert(args.begin(), "generate");
    for (const char* more : {"--prompt", "a b", "--device", "ref"}) args.emplace_back(more);
    const Outcome run = run_here(args);
    EXPECT_EQ(run.code, 0) << run.err;
    return run.out;
  };
  const auto by_load = [&](const std::vector<std::string>& format) {
    std::vector<std::string> args = {"--model",          model, "--calibration", text,
                                     "--max-new-tokens", "12"};
    args.insert(args.end(), format.begin(), format.end());
    return generate(args);
  };
  const std::string named = by_load({"--format", "awq-uint2-32"});
  EXPECT_EQ(named, by_load({"--format", "uintx-2-32", "--prepare", "awq"}));
  EXPECT_NE(named,
            generate({"--model", model, "--max-new-tokens", "12", "--format", "uintx-2-32"}));
  const std::string out = temp.path() + "/q";
  ASSERT_EQ(
      run_here({"quantize", model, "--format", "awq-uint2-32", "--calibration", text, "--out", out})
          .code,
      0);
  EXPECT_EQ(named, generate({"--model", out, "--max-new-tokens", "12"}));
  const std::string harness =
      generate({"--checkpoint_path", model, "-q", "awq-uint2-32", "--calibration", text,
                "--num_samples", "1", "--max_new_tokens", "12", "--temperature", "0"});
  EXPECT_TRUE(contains(harness, "quant: awq-uint2-32")) << harness;
  const Outcome bench =
      run_here({"bench", "model=" + model, "format=awq-uint2-32", "calibration=" + text,
                "prompt_tokens=2", "new_tokens=2", "quality=none"});
  EXPECT_EQ(bench.code, 0) << bench.out << bench.err;
}

// A rotated folder has a head of its own and says what a load would have made.
TEST(Quantize, SpinquantFoldersAreWhatALoadMakes) {
  const TempFolder temp;
  const std::string out = temp.path() + "/q";
  const char* format = "spinquant-int4-g32";
  ASSERT_EQ(run_here({"quantize", kTied, "--format", format, "--out", out}).code, 0);
  EXPECT_EQ(ids_of(out), ids_of(kTied, {"--format", format}));
  EXPECT_EQ(ids_of(out), ids_of(kTied, {"--format", "int4-g32", "--prepare", "spinquant"}));
  EXPECT_NE(ids_of(out), ids_of(kTied, {"--format", "int2-g32"}));
  const auto written = open_checkpoint(out);
  EXPECT_FALSE(written->config().boolean_or("tie_word_embeddings", true));
  EXPECT_TRUE(written->has("lm_head.weight"));
}

TEST(Quantize, MixturesSayWhichLayersGotWhat) {
  const TempFolder temp;
  const Outcome run = run_here({"quantize", kModel, "--format", "Q4_K_M", "--out",
                                temp.path() + "/q"});  // rows of 128 and 64: no super-block
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_TRUE(
      contains(run.out, "formats     q5_0: down of layer 0; embedding; gate of layers 0-1; k of "))
      << run.out;
  EXPECT_TRUE(contains(run.out, "formats     q8_0: down of layer 1; head; v of layer 1"))
      << run.out;
  EXPECT_EQ(ids_of(temp.path() + "/q"), ids_of(kModel, {"--format", "Q4_K_M"}));
}

TEST(Quantize, WhatWasQuantizedBeforeIsSaidAndKept) {
  const TempFolder temp;
  const std::string first = temp.path() + "/first", second = temp.path() + "/second";
  const auto config_of = [](const std::string& folder) {
    return json::parse(map_file(folder + "/config.json").text())["quantization_config"];
  };
  ASSERT_EQ(
      run_here({"quantize", kModel, "--format", "int4-g32", "--quantizer", "hqq", "--out", first})
          .code,
      0);
  EXPECT_FALSE(config_of(first).contains("decoded_from"));
  const std::string rules = temp.write("mixed.yaml",
                                       "version: 1\nformat: stored\nlayers:\n"
                                       "  - {match: \"layers.*.down\", format: int8}\n");
  const Outcome run = run_here({"quantize", first, "--mixed", rules, "--out", second});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_TRUE(contains(run.out, "requantized 2 tensors: int4-g32 decoded, then int8; the errors"))
      << run.out;
  const json config = config_of(second);
  const char* kOut = "model.layers.0.self_attn.o_proj.weight";
  EXPECT_EQ(config["decoded_from"].size(), 2u);
  EXPECT_EQ(config["decoded_from"][kDown], "int4-g32");
  EXPECT_EQ(config["quantizers"][kDown], "rtn");
  EXPECT_EQ(config["quantizers"][kOut], "hqq");
  const Outcome loaded = run_here({"inspect", first, "--format", "int8"});
  EXPECT_TRUE(contains(loaded.err, "quantized already: 15 tensors: int4-g32 decoded, then int8"))
      << loaded.err;
  EXPECT_FALSE(contains(run_here({"inspect", second}).err, "quantized already"));
}

TEST(Quantize, TheSourceIsCountedOnceAndItsDescriptionStaysThere) {
  const TempFolder source, target;
  std::filesystem::copy(kTied, source.path(), std::filesystem::copy_options::recursive);
  source.write("README.md", "Its perplexity is 3.");
  source.write("reference.json", "{}");
  source.write("LICENSE", "free");
  const std::string out = target.path() + "/q";
  const Outcome run =
      run_here({"quantize", source.path(), "--format", "int8", "--out", out, "-o", "json"});
  ASSERT_EQ(run.code, 0) << run.err;
  const json report = json::parse(run.out);
  const auto weights = std::filesystem::file_size(kTied + "/model.safetensors");
  EXPECT_LE(report["source_bytes"], weights);
  EXPECT_GT(report["source_bytes"], weights * 9 / 10);
  EXPECT_EQ(report["left_out"], json({"README.md", "reference.json"}));
  EXPECT_FALSE(std::filesystem::exists(out + "/README.md"));
  EXPECT_FALSE(std::filesystem::exists(out + "/reference.json"));
  EXPECT_TRUE(std::filesystem::exists(out + "/LICENSE"));
}

TEST(Quantize, RulesGiveLayersTheirOwnFormats) {
  const TempFolder temp;
  const std::string rules = temp.write("mixed.yaml",
                                       "version: 1\nformat: int4-g32\nhead: stored\nlayers:\n"
                                       "  - {match: \"layers.*.down\", format: int8}\n"
                                       "  - {match: \"layers.0.*\", format: stored}\n");
  const std::string out = temp.path() + "/q";
  ASSERT_EQ(run_here({"quantize", kModel, "--mixed", rules, "--out", out}).code, 0);
  EXPECT_EQ(ids_of(out), ids_of(kModel, {"--mixed", rules}));
  const auto written = open_checkpoint(out);
  const auto format_of_layer = [&](const std::string& tensor) {
    LoadOptions plan;
    plan.plan_only = true;
    const auto model = load_model(*written, ref_backend(), plan);
    for (const TensorUse& use : model->tensors()) {
      if (use.tensor == tensor) return name(use.stored);
    }
    return std::string("absent");
  };
  EXPECT_EQ(format_of_layer(kDown), "int8");
  EXPECT_EQ(format_of_layer("model.layers.0.self_attn.o_proj.weight"), "bf16");
  EXPECT_EQ(format_of_layer("model.layers.1.self_attn.o_proj.weight"), "int4-g32");
  EXPECT_EQ(format_of_layer("lm_head.weight"), "bf16");
}

TEST(Quantize, RulesTakeNamesOfOtherToolsWithTheirQuantizers) {
  const TempFolder temp;
  const std::string rules =
      temp.write("mixed.yaml",
                 "version: 1\nformat: int4\nquantizer: hqq\nhead: int8wo\nlayers:\n"
                 "  - {match: \"layers.*.down\", format: Q8_0}\n"
                 "  - {match: \"layers.0.*\", format: uintx-4-64, quantizer: mse}\n");
  const std::string out = temp.path() + "/q";
  ASSERT_EQ(run_here({"quantize", kModel, "--mixed", rules, "--out", out}).code, 0);
  const json config = json::parse(map_file(out + "/config.json").text())["quantization_config"];
  const auto made = [&](const char* tensor) {
    return config["formats"][tensor].get<std::string>() + " by " +
           config["quantizers"][tensor].get<std::string>();
  };
  EXPECT_EQ(made("lm_head.weight"), "int8-sbf16 by torchao-0.9.0");
  EXPECT_EQ(made(kDown), "q8_0 by gguf-0.19.0");
  EXPECT_EQ(made("model.layers.0.self_attn.o_proj.weight"), "int4-asym by mse");
  EXPECT_EQ(made("model.layers.1.self_attn.o_proj.weight"), "int4 by hqq");
}

TEST(Quantize, BadRulesNameFileAndEntry) {
  const TempFolder temp;
  const auto run = [&](const std::string& text) {
    const std::string rules = temp.write("mixed.yaml", text);
    return run_here({"quantize", kModel, "--mixed", rules, "--out", temp.path() + "/q"});
  };
  expect_one_line(run("format: int4\n"), {"mixed.yaml", "version", "absent"});
  expect_one_line(run("version: 9\n"), {"version: is 9", "reads version 1"});
  expect_one_line(run("version: 1\nfromat: int4\n"), {"`fromat`", "did you mean `format`"});
  expect_one_line(run("version: 1\nformat: int44\n"), {"format", "`int44`"});
  expect_one_line(run("version: 1\nlayers:\n  - {match: x}\n"),
                  {"layers[0]", "`format` is missing"});
  expect_one_line(run("version: 1\nlayers:\n  - {match: \"blk.*\", format: int8}\n"),
                  {"layers[0]", "no layer matches `blk.*`", "embedding", "head"});
  const std::pair<const char*, const char*> meant[] = {
      {"layer.0.down", "did you mean `layers.0.down`"},
      {"layer.*", "did you mean `layers.*`"},
      {"layers.*.dwn", "did you mean `layers.*.down`"},
      {"layers.*.q_proj", "did you mean `layers.*.qkv`?"},
      {"model.layers.1.mlp.up_proj", "did you mean `layers.1.gate_up`?"},
      {"model.layers.*.mlp.down_proj.weight", "did you mean `layers.*.down`?"}};
  for (const auto& pair : meant) {
    expect_one_line(
        run(fmt::format("version: 1\nlayers:\n  - {{match: \"{}\", format: int8}}\n", pair.first)),
        {pair.second});
  }
  expect_one_line(run("version: 1\nlayers: 3\n"), {"layers", "list"});
  expect_one_line(run("version: 1\nlayers:\n  - {match: \"layers.*\", format: int8}\n"
                      "  - {match: \"layers.*.down\", format: int4}\n"),
                  {"layers[1] (`layers.*.down`) decides nothing", "layers[0] (`layers.*`)"});
  expect_one_line(run("version: 1\nlayers:\n  - {match: \"*.down\", format: int8dq}\n"),
                  {"layers[0]", "`int8dq` is weights and activations", "write int8-sbf16"});
  expect_one_line(run("version: 1\nhead: embed-int8wo\nformat: int8\n"),
                  {"head", "other formats for other layers", "write int8-g64-sbf16"});
}

// A Llama whose down projections have K = 10 and all others K = 12.
std::string write_awkward_model(const TempFolder& temp) {
  constexpr int64_t kHidden = 12, kInner = 10, kVocab = 8;
  const std::string layer = "model.layers.0.";
  std::vector<SafetensorsEntry> entries;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    const int64_t bytes = 2 * shape[0] * (shape.size() > 1 ? shape[1] : 1);
    entries.push_back({name, "BF16", std::move(shape), bytes});
  };
  add("model.embed_tokens.weight", {kVocab, kHidden});
  add("model.norm.weight", {kHidden});
  add(layer + "input_layernorm.weight", {kHidden});
  add(layer + "post_attention_layernorm.weight", {kHidden});
  for (const char* part : {"q", "k", "v", "o"}) {
    add(fmt::format("{}self_attn.{}_proj.weight", layer, part), {kHidden, kHidden});
  }
  add(layer + "mlp.gate_proj.weight", {kInner, kHidden});
  add(layer + "mlp.up_proj.weight", {kInner, kHidden});
  add(layer + "mlp.down_proj.weight", {kHidden, kInner});
  SafetensorsWriter writer(temp.path() + "/model.safetensors", entries);
  for (const SafetensorsEntry& entry : entries) {
    writer.write(std::vector<std::byte>(static_cast<size_t>(entry.bytes), std::byte{0x3c}));
  }
  writer.finish();
  temp.write("config.json",
             R"({"architectures": ["LlamaForCausalLM"], "hidden_size": 12,
                 "intermediate_size": 10, "num_hidden_layers": 1, "num_attention_heads": 3,
                 "num_key_value_heads": 3, "vocab_size": 8, "rms_norm_eps": 1e-5,
                 "max_position_embeddings": 64, "tie_word_embeddings": true})");
  return temp.path();
}

TEST(Quantize, LayersThatTheFormatCannotTakeAreListed) {
  const TempFolder temp, target;
  const std::string model = write_awkward_model(temp), out = target.path() + "/q";
  std::vector<std::string> args = {"quantize", model, "--format", "int8-24", "--out", out};
  expect_one_line(run_here(args), {"1 tensor cannot", "layers.0.down (", kDown, "--allow-skip",
                                   "multiple of 4", "it is 10"});
  EXPECT_FALSE(std::filesystem::exists(out));
  expect_one_line(run_here({"inspect", model, "--format", "int8-24"}), {kDown, "multiple of 4"});
  args.push_back("--allow-skip");
  const Outcome skipped = run_here(args);
  ASSERT_EQ(skipped.code, 0) << skipped.err;
  EXPECT_TRUE(contains(skipped.out, "as stored   layers.0.down (" + std::string(kDown)))
      << skipped.out;
  const Outcome inspected = run_here({"inspect", model, "--format", "int8-24", "--allow-skip"});
  EXPECT_EQ(inspected.code, 0) << inspected.err;
  EXPECT_TRUE(contains(inspected.err, "as stored: layers.0.down (" + std::string(kDown)))
      << inspected.err;
}

// One a line, the first few and how many more; a row of a table has one line.
TEST(Quantize, ManyLayersAreAListOfTheFirst) {
  const TempFolder temp;
  const std::string model = write_awkward_model(temp);
  const Outcome run = run_here(
      {"eval", "--model", model, "--token-ids", model + "/config.json", "--format", "q4_k"});
  EXPECT_EQ(run.code, 2);
  EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 6) << run.err;
  EXPECT_TRUE(contains(run.err, "8 tensors cannot have the format asked for (--allow-skip keeps"))
      << run.err;
  EXPECT_TRUE(
      contains(run.err, ":\n  layers.0.qkv (model.layers.0.self_attn.q_proj.weight [12, 12]): "))
      << run.err;
  EXPECT_TRUE(contains(run.err, "\n  and 4 more\n")) << run.err;
  const Outcome bench =
      run_here({"bench", "model=" + model, "format=q4_k", "prompt_tokens=2", "new_tokens=2"});
  EXPECT_EQ(bench.code, 1) << bench.err;
  EXPECT_TRUE(
      contains(bench.out, "q4_k: fail: 8 tensors cannot have the format asked for: layers.0.qkv ("))
      << bench.out;
  EXPECT_FALSE(contains(bench.out + bench.err, "allow-skip")) << bench.out << bench.err;
}

TEST(Quantize, ShortBlocksAreReported) {
  const TempFolder temp, target;
  const std::string model = write_awkward_model(temp);
  const Outcome run =
      run_here({"quantize", model, "--format", "int4-g8", "--out", target.path() + "/q"});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_TRUE(contains(run.out, "K = 10, the last block of 8 holds 2")) << run.out;
}

TEST(Quantize, NothingIsOverwrittenOrLeftBehind) {
  const TempFolder temp;
  const std::string out = temp.path() + "/q";
  std::filesystem::create_directory(out);
  expect_one_line(run_here({"quantize", kModel, "--format", "int8", "--out", out}),
                  {"exists", "nothing was changed"});
  EXPECT_TRUE(std::filesystem::is_empty(out));
  std::filesystem::remove(out);
  const Outcome refused = run_here({"quantize", kModel, "--format", "q4_k", "--out", out});
  EXPECT_EQ(refused.code, 2);
  EXPECT_TRUE(contains(refused.err, "super-blocks need K to be a multiple of 256")) << refused.err;
  expect_one_line(run_here({"quantize", kModel, "--out", out}), {"nothing to do"});
  expect_one_line(run_here({"quantize", kModel, "--format", "int8"}), {"--out is missing"});
  const TempFolder empty;
  expect_one_line(
      run_here({"quantize", kModel, "--format", "int8", "--out", empty.path() + "/no/such/q"}),
      {"/no/such/q: there is no folder", "/no/such to put it in"});
  EXPECT_TRUE(std::filesystem::is_empty(empty.path()));
  expect_one_line(run_here({"quantize", "synthetic:tiny", "--format", "int8", "--out", out}),
                  {"random weights"});
  EXPECT_TRUE(std::filesystem::is_empty(temp.path()));
}

// Whatever ends the process: nothing under the name that was asked for.
TEST(Quantize, AKilledWriteLeavesNoFolder) {
  const TempFolder temp;
  const std::string out = temp.path() + "/q";
  const pid_t child = fork();
  if (child == 0) {
    std::freopen("/dev/null", "w", stderr);
    ::execl(LB_BINARY, LB_BINARY, "quantize", kProse.c_str(), "--format", "int4", "--quantizer",
            "mse", "--threads", "1", "--out", out.c_str(), nullptr);
    ::_exit(127);
  }
  for (int i = 0; i < 20000 && std::filesystem::is_empty(temp.path()); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status)) << "it was done before it could be killed";
  EXPECT_FALSE(std::filesystem::exists(out));
  EXPECT_FALSE(std::filesystem::is_empty(temp.path()));  // it was in the middle
  EXPECT_EQ(run_here({"quantize", kProse, "--format", "int4", "--out", out}).code, 0);
  EXPECT_EQ(run_here({"inspect", out}).code, 0);
}

TEST(Quantize, EveryTensorIsAStepOfTheProgress) {
  const TempFolder temp;
  ExportOptions options;
  options.policy.all.format = parse_format("int8");
  int64_t last = 0, steps = 0;
  options.progress = [&](int64_t done, int64_t total, const std::string& tensor) {
    EXPECT_EQ(done, ++last);
    EXPECT_FALSE(tensor.empty());
    steps = total;
  };
  export_model(*open_checkpoint(kModel), ref_backend(), options, temp.path() + "/q");
  EXPECT_EQ(last, steps);
  EXPECT_GT(steps, 10);
}

TEST(Quantize, ProgressSaysHowLongIsLeft) {
  Progress progress("quantizing m");
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // it says nothing before a second
  testing::internal::CaptureStderr();
  progress.update(1, 4, "a.weight");
  const std::string shown = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(std::regex_search(shown, std::regex("quantizing m.* 1/4, [0-9]+ s left, a.weight")))
      << shown;
}

// A container that was changed by hand.
TEST(Quantize, DamagedContainersAreRefusedByName) {
  const TempFolder temp;
  const std::string out = temp.path() + "/q";
  ASSERT_EQ(run_here({"quantize", kModel, "--format", "int4-g32", "--out", out}).code, 0);
  const std::string good(map_file(out + "/config.json").text());
  const auto with = [&](const auto& change) {
    json config = json::parse(good);
    change(config["quantization_config"]);
    write_file_atomically(out + "/config.json", config.dump());
    return run_here({"inspect", out});
  };
  expect_one_line(with([](json& q) { q["version"] = 2; }), {"version: is 2", "reads version 1"});
  expect_one_line(with([](json& q) { q.erase("version"); }), {"version"});
  expect_one_line(with([](json& q) { q["formats"][kDown] = "int44"; }), {kDown, "`int44`"});
  expect_one_line(with([](json& q) { q["formats"][kDown] = 7; }), {kDown});
  expect_one_line(with([](json& q) { q["formats"][kDown] = "int8"; }), {kDown, "codes"});
  expect_one_line(with([](json& q) { q["formats"][kDown] = "int4-g64"; }), {kDown, "scales"});
  expect_one_line(with([](json& q) { q["formats"].erase(kDown); }), {kDown});
  expect_one_line(with([](json& q) { q["formats"][kDown] = "int4-g32-sym"; }),
                  {"model.safetensors", kDown + std::string("_zeros: is not used by int4-g32-sym"),
                   "put quantization_config.formats back", "quantize the original model again"});
  expect_one_line(with([](json& q) { q["formats"]["model.norm.weight"] = "int8"; }),
                  {"config.json", "no tensor model.norm.weight_codes"});
  expect_one_line(with([](json& q) { q["formats"] = nullptr; }), {"formats"});
}

}  // namespace
}  // namespace lowbit
