// What a user can get wrong, through the whole command line: each is exit code 2, one line on
// standard error that names the culprit, and nothing on standard output.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>

#include "app/run_lowbit.h"
#include "base/file.h"
#include "load/files.h"
#include "load/hostile_files.h"
#include "tokenizer/bad_files.h"

namespace lowbit {
namespace {

using fixtures::Outcome;
using fixtures::TempFolder;
using Args = std::vector<std::string>;

const std::string kGolden = std::string(LB_SOURCE_DIR) + "/tests/golden/llama/";
const std::string kModel = kGolden + "gqa4";  // no tokenizer, 128 tokens of context
const std::string kProse = std::string(LB_SOURCE_DIR) + "/models/prose-7m";

void expect_one_error_line(const Outcome& outcome, const Args& expected) {
  EXPECT_EQ(outcome.code, 2);
  EXPECT_EQ(outcome.out, "");
  EXPECT_TRUE(outcome.err.starts_with("lowbit: error: ")) << outcome.err;
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  EXPECT_TRUE(outcome.err.ends_with('\n'));
  for (const std::string& part : expected) {
    EXPECT_NE(outcome.err.find(part), std::string::npos) << part << "\n  in " << outcome.err;
  }
}

struct BadInput {
  std::string name;
  std::function<Args(const TempFolder&)> args;
  Args expected;
};

Args join_args(Args args, const Args& more) {
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

BadInput plain(const std::string& name, const Args& args, const Args& expected) {
  return {name, [=](const TempFolder&) { return args; }, expected};
}
BadInput generate_case(const std::string& name, const Args& more, const Args& expected) {
  return plain("generate_" + name,
               join_args({"generate", "--model", kModel, "--prompt-ids", "1,2", "--ids"}, more),
               expected);
}
// `more` after a model with a tokenizer.
BadInput prose_case(const std::string& name, const Args& more, const Args& expected) {
  return plain("generate_" + name, join_args({"generate", "--model", kProse}, more), expected);
}
// eval of a token-id file with this content.
BadInput eval_case(const std::string& name, const std::string& content, const Args& more,
                   const Args& expected) {
  return {"eval_" + name,
          [=](const TempFolder& folder) {
            const std::string ids = folder.write("ids.txt", content);
            return join_args({"eval", "--model", kModel, "--token-ids", ids}, more);
          },
          expected};
}

std::vector<BadInput> command_cases() {
  return {
      plain("no_command", {}, {"no command", "--help"}),
      plain("unknown_command", {"generat"}, {"unknown command `generat`, did you mean `generate`"}),
      plain("control_characters", {"a\nb\x1b[31m"}, {"unknown command `a\\x0ab\\x1b[31m`"}),
      plain("unknown_flag", {"generate", "--modle", "x"}, {"`--modle`, did you mean `--model`"}),
      plain("stray_argument", {"generate", "hello"},
            {"unexpected argument `hello`, is it the model? Write --model hello"}),
      plain("flag_without_value", {"generate", "--model"}, {"--model"}),
      plain("no_model", {"generate", "--prompt-ids", "1"}, {"--model is missing"}),
      plain("inspect_nothing", {"inspect"}, {"--model is missing"}),
      plain("inspect_twice", {"inspect", kModel, "--model", kModel}, {"give the model once"}),
      plain("inspect_quantizer_refuses",
            {"inspect", kModel, "--format", "int8", "--quantizer", "hqq"},
            {"layers.0.qkv (model.layers.0.self_attn.q_proj.weight): hqq moves the zero",
             "int8 has none"}),
      plain("inspect_tool_refuses",
            {"inspect", kModel, "--format", "int4-rzero", "--quantizer", "gguf-0.19.0"},
            {"gguf-0.19.0 does not do int4-rzero"}),
      plain("inspect_calibration",
            {"inspect", kModel, "--format", "int4", "--quantizer", "gptq-mse"},
            {"q_proj.weight): gptq-mse", "`lowbit quantize --quantizer gptq-mse --calibration"}),
      plain("generate_calibration",
            {"generate", "--model", kModel, "--prompt-ids", "1", "--ids", "--format",
             "int4wo-64-gptq"},
            {"gptq: has to know", "give --calibration TEXT"}),
      plain("generate_calibration_for_nothing",
            {"generate", "--model", kModel, "--prompt-ids", "1", "--ids", "--format", "int4",
             "--calibration", "text.txt"},
            {"--calibration text.txt: nothing asked for uses it"}),
      plain("generate_prepare_unknown",
            {"generate", "--model", kModel, "--prompt-ids", "1", "--ids", "--format", "int4",
             "--prepare", "awk"},
            {"--prepare: `awk`: unknown, did you mean `awq`"}),
      plain("generate_prepare_alone",
            {"generate", "--model", kModel, "--prompt-ids", "1", "--ids", "--prepare", "awq"},
            {"--prepare awq: no format is asked for"}),
      plain("inspect_output", {"inspect", kModel, "-o", "xml"}, {"-o xml", "json"}),
      plain("formats_unknown", {"formats", "int9"},
            {"unknown format `int9`, did you mean `int8`, `int7` or `int6`"}),
      plain("formats_upper_case", {"formats", "INT4-g32"}, {"did you mean `int4`"}),
      plain("formats_parameter", {"formats", "fp8-asym"}, {"unknown parameter `-asym`"}),
      plain("formats_group", {"formats", "int4-g48"}, {"group size `g48`", "power of two"}),
      plain("formats_activations", {"formats", "int8+int3"}, {"cannot hold activations"}),
      plain("formats_empty", {"formats", ""}, {"unknown format ``"}),
      plain("formats_two", {"formats", "int8", "int4"}, {"unexpected argument `int4`"}),
      plain("formats_markdown_name", {"formats", "int8", "--markdown"}, {"--markdown"}),
      plain("lockstep_nothing", {"lockstep", "--model", kModel}, {"--against is missing"}),
      plain("lockstep_plan", {"lockstep", "--model", kModel, "--against", "cpu", "--plan", "graph"},
            {"--plan graph", "op by op"}),
      plain("lockstep_device", {"lockstep", "--model", kModel, "--against", "gpu"},
            {"--against: unknown device `gpu`"}),
      plain("lockstep_same", {"lockstep", "--model", kModel, "--against", "ref"},
            {"--against ref: is --device too"}),
      plain("lockstep_step", {"lockstep", "--model", kModel, "--against", "cpu", "--step", "0"},
            {"--step 0"}),
      plain("lockstep_prompt", {"lockstep", "--model", kModel, "--against", "cpu", "--prompt", "x"},
            {"has no tokenizer"}),
  };
}

std::vector<BadInput> model_cases() {
  const auto with_model = [](const std::string& name, const std::string& model,
                             const Args& expected) {
    return plain("model_" + name, {"generate", "--model", model, "--prompt-ids", "1", "--ids"},
                 expected);
  };
  return {
      with_model("empty", "", {"--model is missing"}),
      with_model("missing", "/no/such/model", {"/no/such/model", "no such file or folder"}),
      with_model("hub_id", "meta-llama/Llama-3.2-1B", {"does not download", "--local-dir"}),
      with_model("device_file", "/dev/null", {"/dev/null"}),
      with_model("synthetic_unknown", "synthetic:llama3.1-8c", {"did you mean `llama3.1-8b`"}),
      with_model("synthetic_seed", "synthetic:tiny@x", {"seed `x`"}),
      with_model("synthetic_none", "synthetic:", {"unknown shape ``", "known: "}),
      with_model("embedded_unknown", "embedded:prose-8m", {"embedded:prose-8m"}),
      {"model_empty_folder",
       [](const TempFolder& folder) -> Args {
         return {"inspect", folder.path()};
       },
       {"has no config.json"}},
      {"model_empty_gguf",
       [](const TempFolder& folder) -> Args {
         return {"inspect", folder.write("x.gguf", "")};
       },
       {"x.gguf: "}},
  };
}

std::vector<BadInput> generate_cases() {
  return {
      generate_case("format", {"--format", "in8"}, {"--format: unknown format `in8`"}),
      generate_case("pair", {"--format", "int8+q9"}, {"--format int8+q9: unknown format `q9`"}),
      generate_case("half_a_pair", {"--format", "int4+"},
                    {"--format int4+: a side of the pair `int4+` is empty"}),
      generate_case("device", {"--device", "tpu"}, {"--device: unknown device `tpu`", "ref"}),
      generate_case("plan", {"--plan", "grph"}, {"--plan grph: unknown", "`graph`"}),
      generate_case("plan_cpu", {"--plan", "graph"},
                    {"error: --plan graph: device cpu", "use eager or auto"}),
      generate_case("kv_format", {"--kv-format", "nvfp4"},
                    {"--kv-format: format `nvfp4` cannot hold keys and values"}),
      generate_case("kv_unknown", {"--kv-format", "b16"}, {"--kv-format: unknown format `b16`"}),
      generate_case("threads", {"--threads", "-1"}, {"--threads", "1 to 1024"}),
      generate_case("threads_many", {"--threads", "100000"}, {"threads = 100000"}),
      generate_case("not_a_number", {"--max-new-tokens", "ten"},
                    {"--max-new-tokens: `ten` is not an integer"}),
      generate_case("no_tokens", {"--max-new-tokens", "0"}, {"--max-new-tokens 0"}),
      generate_case("overflow", {"--max-new-tokens", "99999999999"}, {"does not fit"}),
      generate_case("temperature", {"--temperature", "-1"}, {"--temperature -1"}),
      generate_case("temperature_nan", {"--temperature", "nan"}, {"`nan` is not a number"}),
      generate_case("top_k", {"--top-k", "-3"}, {"--top-k -3"}),
      generate_case("top_p", {"--top-p", "0"}, {"--top-p 0"}),
      generate_case("top_p_large", {"--top-p", "1.5"}, {"--top-p 1.5"}),
      generate_case("seed", {"--seed", "-1"}, {"--seed -1"}),
      generate_case("stop_empty", {"--stop", ""}, {"--stop: the text is empty"}),
      generate_case("stop_no_tokenizer", {"--stop", "x"}, {"no tokenizer", "--stop"}),
      generate_case("two_prompts", {"--prompt", "x"}, {"give one of --prompt"}),
      generate_case("twice", {"--seed", "1", "--seed", "2"}, {"--seed is given 2 times"}),
      generate_case("chat_ids", {"--chat"}, {"--chat needs a text prompt"}),
      generate_case("system", {"--system", "x"}, {"--system needs --chat"}),
      generate_case("context", {"--max-context", "4096"}, {"context of 4096", "128"}),
      generate_case("context_huge", {"--max-context", "2147483647"}, {"context of 2147483647"}),
      generate_case("context_negative", {"--max-context", "-5"}, {"--max-context -5"}),
      generate_case("context_small", {"--max-context", "1"}, {"2 tokens", "context of 1"}),
      plain("generate_no_prompt", {"generate", "--model", kModel}, {"no prompt"}),
      plain("generate_text_without_tokenizer", {"generate", "--model", kModel, "--prompt", "x"},
            {"has no tokenizer", "--prompt-ids"}),
      plain("generate_ids_as_text", {"generate", "--model", kModel, "--prompt-ids", "1"},
            {"no tokenizer to print text with", "--ids"}),
      plain("generate_id_outside",
            {"generate", "--model", kModel, "--ids", "--prompt-ids", "1,256"},
            {"token id 256", "vocabulary of 256"}),
      plain("generate_id_negative",
            {"generate", "--model", kModel, "--ids", "--prompt-ids", "1,-1"}, {"token id -1"}),
      plain("generate_ids_broken", {"generate", "--model", kModel, "--ids", "--prompt-ids", "1,x"},
            {"--prompt-ids: `x` is not an integer"}),
      plain("generate_ids_none", {"generate", "--model", kProse, "--prompt-ids", ""},
            {"--prompt-ids: no ids"}),
      plain("generate_ids_empty_item",
            {"generate", "--model", kModel, "--ids", "--prompt-ids", "1,,2"}, {"--prompt-ids"}),
      {"generate_prompt_too_long",
       [](const TempFolder&) -> Args {
         std::string ids = "1";
         for (int i = 0; i < 128; ++i) ids += ",1";
         return {"generate", "--model", kModel, "--ids", "--prompt-ids", ids};
       },
       {"the prompt has 129 tokens", "context of 128"}},
      prose_case("prompt_file_missing", {"--prompt-file", "/no/such/file"}, {"/no/such/file"}),
      prose_case("prompt_file_folder", {"--prompt-file", "/tmp"}, {"/tmp: is a folder"}),
      prose_case("chat_without_template", {"--prompt", "x", "--chat"}, {"chat"}),
      prose_case("chat_parse_special", {"--prompt", "x", "--chat", "--parse-special"},
                 {"--parse-special"}),
      {"generate_text_too_long",
       [](const TempFolder& folder) -> Args {
         std::string text;
         for (int i = 0; i < 2000; ++i) text += "word ";
         return {"generate", "--model", kProse, "--prompt-file", folder.write("long.txt", text)};
       },
       {"the prompt has", "context of 512"}},
  };
}

std::vector<BadInput> eval_cases() {
  return {
      plain("eval_nothing", {"eval", "--model", kModel}, {"give --text FILE or --token-ids FILE"}),
      plain("eval_missing", {"eval", "--model", kModel, "--token-ids", "/no/file"}, {"/no/file"}),
      plain("eval_folder", {"eval", "--model", kModel, "--token-ids", "/tmp"}, {"is a folder"}),
      plain("eval_text_no_tokenizer",
            {"eval", "--model", kModel, "--text", kModel + "/config.json"},
            {"has no tokenizer", "--token-ids"}),
      plain("eval_synthetic", {"eval", "--model", "synthetic:tiny", "--token-ids", "/dev/null"},
            {"synthetic:tiny", "random weights"}),
      plain("eval_synthetic_reference",
            {"eval", "--model", kModel, "--reference", "synthetic:tiny", "--token-ids", "/x"},
            {"random weights"}),
      eval_case("empty", "", {"--ctx", "8"}, {"ids.txt", "0 tokens"}),
      eval_case("one_token", "5\n", {"--ctx", "8"}, {"ids.txt", "1 tokens"}),
      eval_case("not_an_id", "1 2\n3 four", {"--ctx", "8"}, {"ids.txt:2: `four`"}),
      eval_case("negative_id", "1 -2", {"--ctx", "8"}, {"ids.txt:1: `-2`"}),
      eval_case("binary", std::string("\x00\xff\x01", 3), {"--ctx", "8"}, {"\\x00\\xff\\x01"}),
      eval_case("id_outside", "1 2 256", {"--ctx", "8"}, {"token id 256", "vocabulary of 256"}),
      eval_case("ctx_large", "1 2 3", {"--ctx", "129"}, {"--ctx 129", "128"}),
      eval_case("ctx_default_too_large", "1 2 3", {}, {"--ctx 512", "128"}),
      eval_case("ctx_one", "1 2 3", {"--ctx", "1"}, {"--ctx 1: must be at least 2"}),
      eval_case("ctx_text", "1 2 3", {"--ctx", "all"}, {"--ctx: `all` is not an integer"}),
      eval_case("score", "1 2 3", {"--ctx", "8", "--score", "half"}, {"--score half"}),
      eval_case("bos", "1 2 3", {"--ctx", "8", "--bos", "yes"}, {"--bos yes"}),
      eval_case("output", "1 2 3", {"--ctx", "8", "-o", "yaml"}, {"-o yaml"}),
      eval_case("both", "1 2 3", {"--text", "x"}, {"not both"}),
      eval_case("too_short_for_half", "1 2 3", {"--ctx", "16", "--score", "second-half"},
                {"shorter than half a window"}),
      eval_case("reference_missing", "1 2 3", {"--ctx", "8", "--reference", "/no/model"},
                {"reference: /no/model"}),
      eval_case("reference_vocabulary", "1 2 3", {"--ctx", "8", "--reference", kGolden + "odd"},
                {"vocabulary of 257", "256"}),
      eval_case("reference_format", "1 2 3", {"--ctx", "8", "--reference-format", "x"},
                {"--reference-format: unknown format `x`"}),
      eval_case("one_scored", "1 2", {"--ctx", "8"}, {"ids.txt", "one token was scored"}),
  };
}

// bench that appends to a file with this content.
BadInput out_case(const std::string& name, const std::string& content) {
  return {"bench_out_" + name,
          [=](const TempFolder& folder) -> Args {
            return {"bench", "model=synthetic:tiny", "out=" + folder.write("out", content)};
          },
          {"out = ", "is not a file of JSON lines"}};
}

std::vector<BadInput> bench_cases() {
  return {
      out_case("safetensors", std::string("\x7b\0\0\0\0\0\0\0{\"x\":1}\n", 16)),
      out_case("text", "Once upon a time\n"),
      out_case("half_a_line", "{\"schema_version\":1}\n{\"schema"),
      out_case("config", "{\n  \"hidden_size\": 64\n}\n"),
      plain("bench_out_folder", {"bench", "model=synthetic:tiny", "out=/tmp"},
            {"out = /tmp: cannot be written"}),
      plain("bench_plan", {"bench", "model=synthetic:tiny", "plan=graph"},
            {"error: plan = graph: device cpu", "use eager or auto"}),
      plain("bench_ctx", {"bench", "model=" + kProse, "ctx=100000"},
            {"ctx = 100000: ", "prose-7m was made for 512 tokens"}),
      plain("bench_prompt", {"bench", "model=" + kProse, "prompt_tokens=600", "new_tokens=4"},
            {"prose-7m: prompt_tokens = 600 and new_tokens = 4 need a context of 603", "has 512"}),
      plain("bench_ctx_second_model", {"bench", "model=synthetic:tiny," + kModel, "ctx=129"},
            {"ctx = 129: ", "gqa4 was made for 128 tokens"}),
  };
}

class BadInputs : public testing::TestWithParam<BadInput> {};

TEST_P(BadInputs, OneLineAndExitCodeTwo) {
  const TempFolder folder;
  expect_one_error_line(fixtures::run_here(GetParam().args(folder)), GetParam().expected);
}

const auto kName = [](const auto& info) { return info.param.name; };
INSTANTIATE_TEST_SUITE_P(Command, BadInputs, testing::ValuesIn(command_cases()), kName);
INSTANTIATE_TEST_SUITE_P(Model, BadInputs, testing::ValuesIn(model_cases()), kName);
INSTANTIATE_TEST_SUITE_P(Generate, BadInputs, testing::ValuesIn(generate_cases()), kName);
INSTANTIATE_TEST_SUITE_P(Eval, BadInputs, testing::ValuesIn(eval_cases()), kName);
INSTANTIATE_TEST_SUITE_P(Bench, BadInputs, testing::ValuesIn(bench_cases()), kName);

TEST(BenchOut, AFileThatIsNotJsonLinesStaysAsItIs) {
  const TempFolder folder;
  const std::string content = "weights\n", path = folder.write("model.safetensors", content);
  fixtures::run_here({"bench", "model=synthetic:tiny", "out=" + path});
  EXPECT_EQ(map_file(path).text(), content);
}

// Every broken model file of the loaders' own table, through generate.
class HostileModels : public testing::TestWithParam<fixtures::HostileFile> {};

TEST_P(HostileModels, OneLineAndExitCodeTwo) {
  const TempFolder folder;
  const std::string model = GetParam().write(folder.path());
  Args expected = GetParam().expected;
  // Two are met earlier here than in the loaders' own test.
  if (GetParam().name == "name_empty") expected = {"--model is missing"};
  if (GetParam().name == "gguf_odd_head_size") expected = {"head_dim: 1 is odd"};
  expect_one_error_line(
      fixtures::run_here({"generate", "--model", model, "--prompt-ids", "1", "--ids"}), expected);
}
INSTANTIATE_TEST_SUITE_P(All, HostileModels, testing::ValuesIn(fixtures::hostile_files()), kName);

// Every broken tokenizer file, in a folder whose model is fine.
class BadTokenizers : public testing::TestWithParam<BadTokenizerFile> {};

TEST_P(BadTokenizers, OneLineAndExitCodeTwo) {
  const BadTokenizerFile& bad = GetParam();
  const TempFolder folder;
  fixtures::write_valid_hf(folder.path());
  folder.write(bad.file, bad.content);
  const std::string prompt = bad.text.empty() ? "x" : bad.text;
  expect_one_error_line(
      fixtures::run_here({"generate", "--model", folder.path(), "--prompt", prompt}),
      {folder.path() + "/" + bad.file, bad.message});
}
INSTANTIATE_TEST_SUITE_P(All, BadTokenizers, testing::ValuesIn(bad_tokenizer_files()), kName);

// A copy of a golden model (f32) with all bits of some numbers set: NaN.
std::string model_with_nan(const TempFolder& folder, size_t offset, size_t count) {
  for (const char* file : {"config.json", "model.safetensors"}) {
    std::filesystem::copy_file(kGolden + "mha/" + file, folder.path() + "/" + file);
  }
  std::string bytes(map_file(folder.path() + "/model.safetensors").text());
  std::fill_n(bytes.begin() + static_cast<int64_t>(offset), count * 4, '\xff');
  folder.write("model.safetensors", bytes);
  return folder.path();
}

TEST(NanWeights, AreRefusedByAQuantizedFormatAndNamed) {
  const TempFolder folder;
  const size_t size = map_file(kGolden + "mha/model.safetensors").data.size();
  const std::string model = model_with_nan(folder, size / 2 / 8 * 8, 64);
  expect_one_error_line(fixtures::run_here({"generate", "--model", model, "--prompt-ids", "1",
                                            "--ids", "--format", "int8"}),
                        {"NaN", "tensor model.layers."});
}

TEST(NanWeights, AreRefusedInNormVectors) {
  const TempFolder folder;
  const size_t size = map_file(kGolden + "mha/model.safetensors").data.size();
  const std::string model = model_with_nan(folder, size - 64 * 4, 64);
  expect_one_error_line(
      fixtures::run_here({"generate", "--model", model, "--prompt-ids", "1", "--ids"}),
      {"NaN", "model.norm.weight"});
}

// The real process, for what the process does: signals, streams, exit codes.
TEST(Process, ErrorsAreOneLineAndExitCodeTwo) {
  expect_one_error_line(
      fixtures::run_binary({"generate", "--model", "/no/such/model", "--prompt-ids", "1", "--ids"}),
      {"/no/such/model"});
  expect_one_error_line(fixtures::run_binary({}), {"no command"});
  expect_one_error_line(fixtures::run_binary({"formats", "int9"}),
                        {"did you mean `int8`, `int7` or `int6`"});
  expect_one_error_line(fixtures::run_binary({"eval", "--model", "synthetic:tiny", "--text", "/x"}),
                        {"random weights"});
  expect_one_error_line(fixtures::run_binary({"bench", "model=/no/such/model"}), {});
}

TEST(Process, AFullDiskIsAnError) {
  const Outcome outcome = fixtures::run_binary({"formats"}, "/dev/full");
  expect_one_error_line(outcome, {"standard output: cannot write: No space left on device"});
}

TEST(Process, AClosedPipeEndsQuietly) {
  const TempFolder folder;
  const std::string command = std::string(LB_BINARY) + " generate --model " + kModel +
                              " --prompt-ids 1 --ids --ignore-eos --max-new-tokens 100 2> " +
                              folder.path() + "/err | head -c 1 > /dev/null; exit ${PIPESTATUS[0]}";
  const int status = std::system(("bash -c '" + command + "'").c_str());
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(map_file(folder.path() + "/err").text().find("error"), std::string::npos);
}

}  // namespace
}  // namespace lowbit
