// `lowbit roofline` through the whole command line.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "app/run_lowbit.h"
#include "base/file.h"

namespace lowbit {
namespace {

using fixtures::CeilingsFolder;
using fixtures::Outcome;
using fixtures::run_here;

class RooflineCommand : public testing::Test {
 protected:
  CeilingsFolder folder_;
};

TEST_F(RooflineCommand, MeasuresOnceAndThenUsesWhatItStored) {
  const std::vector<std::string> args = {"roofline", "synthetic:tiny", "format=bf16,int4",
                                         "batch=1,8", "output=json"};
  const Outcome first = run_here(args), second = run_here(args);
  ASSERT_EQ(first.code, 0) << first.err;
  EXPECT_EQ(first.out, second.out);
  const auto json = nlohmann::json::parse(first.out);
  EXPECT_EQ(json["rows"].size(), 4u);
  EXPECT_EQ(json["levels"].back()["name"], "memory");
  EXPECT_GT(json["float_flops"], 0);
  for (const auto& row : json["rows"]) {
    EXPECT_GT(row["decode"]["tokens_per_second"], 0);
    EXPECT_GT(row["prefill"]["tokens_per_second"], 0);
  }
  EXPECT_TRUE(file_exists(folder_.path() + "/lowbit/roofline.jsonl"));
  const Outcome table = run_here({"roofline", "synthetic:tiny", "format=int4"});
  EXPECT_NE(table.out.find("measured " + json["measured"].get<std::string>()), std::string::npos);
}

TEST_F(RooflineCommand, PredictsForAnotherMachineWithoutMeasuringThisOne) {
  const Outcome outcome = run_here({"roofline", "synthetic:llama3.1-8b", "format=int4",
                                    "bandwidth=4560", "compute=800", "context=6", "-o", "md"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("| int4 | 1 | 6 |"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("as given"), std::string::npos);
  EXPECT_FALSE(file_exists(folder_.path() + "/lowbit/roofline.jsonl"));
}

TEST_F(RooflineCommand, RefusesWhatItDoesNotKnowByName) {
  const auto error_of = [](std::vector<std::string> args) {
    args.insert(args.begin(), "roofline");
    const Outcome outcome = run_here(args);
    EXPECT_EQ(outcome.code, 2);
    return outcome.err;
  };
  EXPECT_NE(error_of({"formt=int4"}).find("did you mean `format`"), std::string::npos);
  EXPECT_NE(error_of({"--fast"}).find("unknown flag --fast"), std::string::npos);
  EXPECT_NE(error_of({"a", "b"}).find("only one model"), std::string::npos);
  EXPECT_NE(error_of({"synthetic:tiny", "format=int17"}).find("int17"), std::string::npos);
  EXPECT_NE(error_of({"synthetic:tiny", "context=100000000"}).find("context"), std::string::npos);
  EXPECT_NE(error_of({"bandwidth=5"}).find("compute"), std::string::npos);
}

TEST_F(RooflineCommand, ABrokenStoreIsNamed) {
  std::string error;
  {
    const CeilingsFolder other;
    std::filesystem::create_directories(other.path() + "/lowbit");
    write_file_atomically(other.path() + "/lowbit/roofline.jsonl", "{}\n");
    error = run_here({"roofline", "synthetic:tiny", "format=int4"}).err;
  }
  EXPECT_NE(error.find("roofline.jsonl:1: schema_version"), std::string::npos) << error;
}

}  // namespace
}  // namespace lowbit
