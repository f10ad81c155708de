#include "app/options.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/check.h"

namespace lowbit {
namespace {

struct Config {
  std::string model = "m";
  int32_t steps = 3;
  int64_t bytes = int64_t{1} << 40;
  double limit = 0.5;
  bool cold_start = false;
  std::vector<std::string> formats = {"int8"};
  std::vector<int32_t> batch_sizes = {1};
};

template <class Visitor>
void visit(Visitor& v, Config& c) {
  v.field("model", c.model, "what to load");
  v.field("steps", c.steps, "how many");
  v.field("bytes", c.bytes, "how large");
  v.field("limit", c.limit, "how far");
  v.field("cold_start", c.cold_start, "from cold");
  v.field("formats", c.formats, "number formats");
  v.field("batch_sizes", c.batch_sizes, "sequences");
}

class Options : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = ::testing::TempDir() + "lowbit_options_" + std::to_string(::getpid()) + ".yaml";
  }
  void TearDown() override { ::unlink(path_.c_str()); }

  Config yaml(const std::string& text) {
    std::ofstream(path_) << text;
    Config config;
    apply_yaml(path_, config);
    return config;
  }
  std::string yaml_error(const std::string& text) {
    try {
      yaml(text);
    } catch (const Error& error) {
      const std::string message = error.what();
      return message.starts_with(path_) ? "FILE" + message.substr(path_.size()) : message;
    }
    return "no error";
  }
  static Config overridden(const std::vector<std::string>& items) {
    Config config;
    apply_overrides(items, config);
    return config;
  }
  static std::string override_error(const std::string& item) {
    try {
      overridden({item});
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
  static Config flags(const std::vector<std::string>& args) {
    Config config;
    CommandLine line("", "test");
    line.add_flags(config);
    line.parse(args);
    return config;
  }
  static std::string flag_error(const std::vector<std::string>& args) {
    try {
      flags(args);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  std::string path_;
};

TEST_F(Options, YamlSetsWhatItNames) {
  const Config c = yaml(
      "# a comment\nmodel: embedded:prose-7m\nsteps: -7\nlimit: 1e-3\ncold_start: true\n"
      "formats: [int8, 'a,b']\nbatch_sizes:\n  - 1\n  - 8\n");
  EXPECT_EQ(c.model, "embedded:prose-7m");
  EXPECT_EQ(c.steps, -7);
  EXPECT_EQ(c.bytes, int64_t{1} << 40);
  EXPECT_EQ(c.limit, 1e-3);
  EXPECT_TRUE(c.cold_start);
  EXPECT_EQ(c.formats, (std::vector<std::string>{"int8", "a,b"}));
  EXPECT_EQ(c.batch_sizes, (std::vector<int32_t>{1, 8}));
}

TEST_F(Options, YamlScalarsAndNullsWorkAsOverridesDo) {
  const Config c = yaml("formats: int4,bf16\nsteps: null\nbatch_sizes:\nmodel: 'null'\n");
  EXPECT_EQ(c.formats, (std::vector<std::string>{"int4", "bf16"}));
  EXPECT_EQ(c.steps, 3);
  EXPECT_EQ(c.batch_sizes, std::vector<int32_t>{1});
  EXPECT_EQ(c.model, "null");
  EXPECT_EQ(yaml("# nothing\n").steps, 3);
  EXPECT_EQ(yaml("").steps, 3);
}

TEST_F(Options, YamlErrorsNameFileLineAndKey) {
  EXPECT_EQ(yaml_error("steps: 1\nfromats: int8\n"),
            "FILE:2: unknown key `fromats`, did you mean `formats`?");
  EXPECT_EQ(yaml_error("\n\nsteps: many\n"), "FILE:3: `steps`: `many` is not an integer");
  EXPECT_EQ(yaml_error("steps: 1.5\n"), "FILE:1: `steps`: `1.5` is not an integer");
  EXPECT_EQ(yaml_error("cold_start: perhaps\n"),
            "FILE:1: `cold_start`: `perhaps` is neither true nor false");
  EXPECT_EQ(yaml_error("steps: [1, 2]\n"), "FILE:1: `steps`: is a list, expected one value");
  EXPECT_EQ(yaml_error("batch_sizes: [1, x]\n"), "FILE:1: `batch_sizes`: `x` is not an integer");
  EXPECT_EQ(yaml_error("steps: {a: 1}\n"),
            "FILE:1: `steps`: a mapping is not expected here; options are `key: value`");
  EXPECT_EQ(yaml_error("formats: [[a]]\n"), "FILE:1: `formats`: a list is not expected here");
  EXPECT_EQ(yaml_error("steps: 1\nsteps: 2\n"), "FILE:2: key `steps` is given twice");
  EXPECT_EQ(yaml_error("- a\n"), "FILE:1: a list is not expected here");
  EXPECT_EQ(yaml_error("model: &a x\nformats: *a\n"),
            "FILE:2: `formats`: YAML aliases are not supported; write the value out");
  EXPECT_EQ(yaml_error("model: b: c\n"), "FILE:1: is not valid YAML: illegal map value");
  EXPECT_NE(yaml_error(std::string(100000, '[')).find("FILE:1: "), std::string::npos);
}

TEST_F(Options, OverridesParseEveryType) {
  const Config c = overridden({"model=a=b", "steps=9", "bytes=5000000000", "limit=2",
                               "cold_start=True", "formats=int8, int4", "batch_sizes=1,2,3"});
  EXPECT_EQ(c.model, "a=b");
  EXPECT_EQ(c.steps, 9);
  EXPECT_EQ(c.bytes, 5000000000);
  EXPECT_EQ(c.limit, 2);
  EXPECT_TRUE(c.cold_start);
  EXPECT_EQ(c.formats, (std::vector<std::string>{"int8", "int4"}));
  EXPECT_EQ(c.batch_sizes, (std::vector<int32_t>{1, 2, 3}));
  EXPECT_TRUE(overridden({"formats="}).formats.empty());
  EXPECT_EQ(overridden({"steps=9", "steps=null"}).steps, 3);
}

TEST_F(Options, OverrideErrorsNameTheItem) {
  EXPECT_EQ(override_error("step=1"), "unknown key `step`, did you mean `steps`?");
  EXPECT_EQ(override_error("steps=x"), "steps=x: `x` is not an integer");
  EXPECT_EQ(override_error("steps=3000000000"),
            "steps=3000000000: 3000000000 does not fit, must be from -2147483648 to 2147483647");
  EXPECT_EQ(override_error("limit=nan"), "limit=nan: `nan` is not a number");
  EXPECT_EQ(override_error("cold_start=2"), "cold_start=2: `2` is neither true nor false");
  EXPECT_EQ(override_error("steps"), "`steps`: expected key=value");
  EXPECT_EQ(override_error("=1"), "`=1`: expected key=value");
}

TEST_F(Options, FlagsHaveDashesAndKeepCommasOfTexts) {
  const Config c = flags({"--cold-start", "--batch-sizes", "4,5", "--formats", "a,b", "--formats",
                          "c", "--steps=-2", "--model", ""});
  EXPECT_TRUE(c.cold_start);
  EXPECT_EQ(c.batch_sizes, (std::vector<int32_t>{4, 5}));
  EXPECT_EQ(c.formats, (std::vector<std::string>{"a,b", "c"}));
  EXPECT_EQ(c.steps, -2);
  EXPECT_EQ(c.model, "");
}

TEST_F(Options, FlagErrorsAreOneLine) {
  EXPECT_NE(flag_error({"--step", "1"}).find("unexpected argument `--step`, did you mean"),
            std::string::npos);
  EXPECT_EQ(flag_error({"--steps", "x"}), "--steps: `x` is not an integer");
  EXPECT_EQ(flag_error({"--steps", "1", "--steps", "2"}), "--steps is given 2 times");
  EXPECT_NE(flag_error({"--steps"}).find("--steps"), std::string::npos);
  EXPECT_NE(flag_error({"stray"}).find("unexpected argument `stray`"), std::string::npos);
}

TEST_F(Options, JsonEchoKeepsOrderAndTypes) {
  EXPECT_EQ(to_json(Config{}).dump(),
            R"({"model":"m","steps":3,"bytes":1099511627776,"limit":0.5,"cold_start":false,)"
            R"("formats":["int8"],"batch_sizes":[1]})");
}

}  // namespace
}  // namespace lowbit
