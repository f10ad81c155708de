#include "bench/config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "app/options.h"
#include "base/check.h"
#include "base/file.h"

namespace lowbit {
namespace {

using Strings = std::vector<std::string>;

std::string error_of(const BenchConfig& config) {
  try {
    check(config);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(BenchConfig, DefaultsAreValid) { EXPECT_EQ(error_of({}), ""); }

TEST(BenchConfig, AllStandsForEveryWeightFormatThatIsNotOnlyRead) {
  const Strings all = expand_formats({"all"});
  size_t weights = 0;
  for (const FormatRow& row : kFormats) {
    weights += row.params.weights;
  }
  EXPECT_EQ(all.size(), weights);
  EXPECT_EQ(all.front(), "f32");
}

TEST(BenchConfig, FormatsAreCanonicalAndListedOnce) {
  EXPECT_EQ(expand_formats({"fp16", "f16", "int4-g64", "stored", "int4-g32"}),
            (Strings{"f16", "int4", "stored", "int4-g32"}));
}

TEST(BenchConfig, NamesOfOtherToolsStayAsTheyAre) {
  EXPECT_EQ(expand_formats({"int8wo", "int8", "int4wo-64", "fp6"}),
            (Strings{"int8wo", "int8", "int4wo-64", "fp6"}));
}

TEST(BenchConfig, EveryBadValueNamesItsKey) {
  const struct {
    const char* key;
    void (*spoil)(BenchConfig&);
  } kRows[] = {
      {"threads",
       [](BenchConfig& c) {
         c.threads = {2, -1};
       }},
      {"prompt_tokens", [](BenchConfig& c) { c.prompt_tokens = {0}; }},
      {"new_tokens",
       [](BenchConfig& c) {
         c.new_tokens = {4, 0};
       }},
      {"ctx", [](BenchConfig& c) { c.ctx = {1}; }},
      {"seed", [](BenchConfig& c) { c.seed = -1; }},
      {"min_samples", [](BenchConfig& c) { c.min_samples = 0; }},
      {"max_seconds", [](BenchConfig& c) { c.max_seconds = -1; }},
      {"ci_width", [](BenchConfig& c) { c.ci_width = -0.1; }},
      {"quality_tokens", [](BenchConfig& c) { c.quality_tokens = -5; }},
      {"quality", [](BenchConfig& c) { c.quality = "slef"; }},
      {"output", [](BenchConfig& c) { c.output = "xml"; }},
      {"kv_format",
       [](BenchConfig& c) {
         c.kv_format = {"bf16", "fp8-tensor"};
       }},
      {"format", [](BenchConfig& c) { c.format = {"int44"}; }},
      {"format", [](BenchConfig& c) { c.format = {}; }},
      {"threads", [](BenchConfig& c) { c.threads = {}; }},
      {"active", [](BenchConfig& c) { c.warmup = 1; }},
      {"repeat", [](BenchConfig& c) { c.repeat = -1; }},
      {"temperature", [](BenchConfig& c) { c.temperature = -1; }},
      {"top_p", [](BenchConfig& c) { c.top_p = 0; }},
      {"timeout", [](BenchConfig& c) { c.timeout = -1; }},
      {"text", [](BenchConfig& c) { c.quality = "text"; }},
      {"text", [](BenchConfig& c) { c.quality = "none", c.text = "x"; }},
  };
  for (const auto& row : kRows) {
    BenchConfig config;
    row.spoil(config);
    EXPECT_NE(error_of(config).find(row.key), std::string::npos) << row.key << error_of(config);
  }
  BenchConfig config;
  config.quality = "slef";
  EXPECT_NE(error_of(config).find("did you mean `self`"), std::string::npos);
}

TEST(BenchConfig, EveryExampleFileIsAccepted) {
  const auto folder = open_folder(std::string(LB_SOURCE_DIR) + "/configs/sweeps");
  EXPECT_GE(folder->names().size(), 3u);
  for (const std::string& name : folder->names()) {
    BenchConfig config;
    apply_yaml(folder->path_of(name), config);
    EXPECT_EQ(error_of(config), "") << name;
  }
}

TEST(BenchConfig, AnUnknownKeyIsAnErrorWithASuggestion) {
  BenchConfig config;
  try {
    apply_overrides(std::vector<std::string>{"new_token=3"}, config);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("did you mean `new_tokens`"), std::string::npos)
        << error.what();
  }
}

TEST(BenchConfig, CasesAreEveryCombinationOnce) {
  BenchConfig config;
  config.model = {"a", "b"};
  config.format = {"int8", "int4-g64", "int4"};  // the last two are one
  config.prompt_tokens = {8, 16, 8};
  const std::vector<BenchCase> cases = cases_of(config);
  std::vector<std::string> names;
  for (const BenchCase& c : cases) {
    names.push_back(fmt::format("{} {} {}", c.model, c.prompt_tokens, c.format));
  }
  EXPECT_EQ(names, (Strings{"a 8 int8", "a 8 int4", "a 16 int8", "a 16 int4", "b 8 int8",
                            "b 8 int4", "b 16 int8", "b 16 int4"}));
}

TEST(BenchConfig, EveryKeyOfACaseIsAKeyOfItsCombinations) {
  BenchConfig config;
  config.model = {"m"};
  config.format = {"int8"};
  config.device = {"ref"};
  config.threads = {3};
  config.new_tokens = {5};
  config.ctx = {7};
  config.kv_format = {"int8"};
  config.seed = 11;
  config.quality = "none";
  const auto echo = to_json(config);
  const auto json = case_json(cases_of(config).at(0));
  for (const auto& [key, value] : json.items()) {
    EXPECT_EQ(value, echo[key].is_array() ? echo[key][0] : echo[key]) << key;
  }
}

TEST(BenchConfig, ACasesJsonHasNoOutputAndIsReadBack) {
  BenchCase c;
  c.model = "b";
  c.format = "int8";
  c.ci_width = 0.125;
  const auto json = case_json(c);
  EXPECT_EQ(json["model"], "b");
  EXPECT_EQ(json["prompt_tokens"], 128);
  EXPECT_FALSE(json.contains("out"));
  EXPECT_FALSE(json.contains("timeout"));
  EXPECT_EQ(case_json(parse_case(case_text(c))), json);
}

TEST(BenchConfig, JsonThatIsNoCaseIsAnError) {
  auto json = case_json({});
  EXPECT_NO_THROW(parse_case(json.dump()));
  json["more"] = 1;
  EXPECT_THROW(parse_case(json.dump()), Error);
  json.erase("more");
  json["threads"] = "two";
  EXPECT_THROW(parse_case(json.dump()), Error);
  json.erase("threads");
  EXPECT_THROW(parse_case(json.dump()), Error);
  EXPECT_THROW(parse_case("[1]"), Error);
  BenchCase c;
  c.model = "\xff";
  EXPECT_THROW(case_text(c), Error);
}

// The words of a command, as a shell without variables would split them.
std::vector<std::string> shell_words(const std::string& command) {
  std::vector<std::string> words(1);
  bool quoted = false;
  for (size_t i = 0; i < command.size(); ++i) {
    if (command[i] == '\'') {
      quoted = !quoted;
    } else if (command[i] == '\\' && !quoted) {
      words.back() += command[++i];
    } else if (command[i] == ' ' && !quoted) {
      words.emplace_back();
    } else {
      words.back() += command[i];
    }
  }
  return words;
}

TEST(BenchCase, ItsCommandGivesTheSameCase) {
  BenchCase c;
  c.model = "embedded:prose-7m";
  c.format = "bf16";
  EXPECT_EQ(repro_command(c), "lowbit bench model=embedded:prose-7m format=bf16");
  c.model = "/models/it's one";
  c.format = "int4-g32";
  c.threads = 3;
  c.ci_width = 0.02;
  c.prompt = "Why $HOME \\ \"?";
  c.active = 5;
  const std::vector<std::string> words = shell_words(repro_command(c));
  BenchConfig config;
  apply_overrides(std::span(words).subspan(2), config);
  ASSERT_EQ(cases_of(config).size(), 1u);
  EXPECT_EQ(case_text(cases_of(config)[0]), case_text(c));
}

}  // namespace
}  // namespace lowbit
