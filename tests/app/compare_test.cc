// lowbit compare on files that lowbit bench wrote, and on configurations that it runs itself.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "app/run_lowbit.h"
#include "base/file.h"

namespace lowbit {
namespace {

using fixtures::Outcome;
using fixtures::run_here;
using fixtures::TempFolder;

const std::string kTiny =
    "synthetic:tiny format=bf16 prompt_tokens=2 new_tokens=3 min_samples=8 max_seconds=0.1";

Outcome compare(std::vector<std::string> args) {
  args.insert(args.begin(), "compare");
  return run_here(args);
}

TEST(Compare, ReadsWhatBenchWrote) {
  const TempFolder folder;
  const std::string path = folder.path() + "/a.jsonl";
  run_here({"bench", "synthetic:tiny", "format=bf16,int8", "prompt_tokens=2", "new_tokens=1",
            "min_samples=8", "max_seconds=0.1", "out=" + path});
  const Outcome same = compare({path, path, "--fail"});
  EXPECT_EQ(same.code, 0) << same.out << same.err;
  EXPECT_NE(same.out.find("no difference"), std::string::npos) << same.out;
  EXPECT_NE(same.out.find("the fingerprints and configs are equal"), std::string::npos);
  const Outcome bytes = compare({path, path, "--metric", "model_bytes", "-o", "json"});
  EXPECT_EQ(nlohmann::json::parse(bytes.out)["cases"].size(), 2u);
}

TEST(Compare, FailMeansExitCodeOneWhereBIsWorse) {
  const TempFolder folder;
  const std::string a = folder.path() + "/a.jsonl", b = folder.path() + "/b.jsonl";
  for (const auto& [path, format] : {std::pair{a, "int4"}, std::pair{b, "int8"}}) {
    run_here({"bench", "synthetic:tiny", std::string("format=") + format, "prompt_tokens=2",
              "new_tokens=1", "min_samples=1", "max_seconds=0", "out=" + path});
  }
  const std::vector<std::string> args = {a, b, "--ignore", "format", "--metric", "model_bytes"};
  EXPECT_EQ(compare(args).code, 0);
  std::vector<std::string> strict = args;
  strict.emplace_back("--fail");
  EXPECT_EQ(compare(strict).code, 1);
  std::swap(strict[0], strict[1]);
  EXPECT_EQ(compare(strict).code, 0);
}

TEST(Compare, LiveRunsBothAndStoresTheirRecords) {
  const TempFolder folder;
  const std::string path = folder.path() + "/live.jsonl";
  const Outcome run =
      compare({"--live", kTiny, kTiny + " kv_format=int8", "--max-seconds", "0.2", "--out", path});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_NE(run.out.find("config.kv_format differs: bf16 | int8"), std::string::npos) << run.out;
  const Bytes records = map_file(path);
  EXPECT_EQ(std::count(records.text().begin(), records.text().end(), '\n'), 2);
}

TEST(Compare, SaysWhatIsWrongWithARequest) {
  const TempFolder folder;
  const std::string text = folder.write("text.jsonl", "hello\n"), empty = folder.write("e", "\n");
  const struct {
    std::vector<std::string> args;
    const char* error;
  } kCases[] = {
      {{text}, "compare takes two files, not 1"},
      {{text, text}, "text.jsonl:1: is not valid JSON"},
      {{empty, empty}, "holds no records"},
      {{text, text, "--confidence", "2"}, "--confidence = 2: must be 0.5 to 0.9999"},
      {{text, text, "-o", "xml"}, "-o xml: must be table, md or json"},
      {{text, text, "--out", "x"}, "without --live nothing is measured"},
      {{"--live", kTiny}, "compare takes two configurations, not 1"},
      {{"--live", kTiny, kTiny + " format=int8,int4"}, "B: 2 cases; a live"},
      {{"--live", kTiny, "synthetic:tiny"}, "B: 12 cases; a live"},
      {{"--live", kTiny, kTiny + " device=ref"}, "the same device and threads"},
      {{"--live", kTiny, kTiny + " fromat=int4"}, "B: "},
      {{"--live", kTiny, kTiny + " new_tokens=1"}, "no decode step to compare"},
  };
  for (const auto& c : kCases) {
    const Outcome run = compare(c.args);
    EXPECT_EQ(run.code, 2) << c.error;
    EXPECT_NE(run.err.find(c.error), std::string::npos) << run.err;
  }
}

}  // namespace
}  // namespace lowbit
