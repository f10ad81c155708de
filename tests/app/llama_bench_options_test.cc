// llama-bench's flags: which tests they ask for, and what its table shows of them.
#include "app/llama_bench_options.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "app/run_lowbit.h"
#include "base/text.h"

namespace lowbit {
namespace {

using fixtures::Outcome;
using fixtures::run_here;
using Args = std::vector<std::string>;

LlamaCases cases_of_flags(const Args& args) {
  LlamaBenchFlags flags;
  for (size_t i = 0; i < args.size(); ++i) EXPECT_TRUE(flags.take(args, &i)) << args[i];
  BenchConfig config;
  config.model = {"synthetic:tiny"};
  flags.apply(&config, {});
  return flags.cases(config);
}

// "pp8 tg4": every test that is asked for, in order.
std::string names_of(const LlamaCases& asked) {
  Args names;
  for (const auto& [test, at] : asked.tests) {
    names.push_back(llama_test_name(test, asked.cases.at(at).depth));
  }
  return join(names, " ");
}

TEST(LlamaBenchFlags, ATestThatIsAskedForTwiceRunsOnce) {
  const Args kTwice[] = {{"-p", "8,8", "-n", "0"},
                         {"-p", "8", "-p", "8", "-n", "0"},
                         {"-p", "8", "-n", "0", "-pg", "8,0"}};
  for (const Args& args : kTwice) {
    const LlamaCases asked = cases_of_flags(args);
    EXPECT_EQ(names_of(asked), "pp8") << join(args, " ");
    EXPECT_EQ(asked.cases.size(), 1u);
    EXPECT_EQ(asked.remarks,
              Args{"pp8: asked for more than once; it runs once, and -r N repeats it"});
  }
  const LlamaCases deep = cases_of_flags({"-p", "0", "-n", "4", "-d", "16", "-gp", "16,4"});
  EXPECT_EQ(names_of(deep), "tg4 @ d16");
  const LlamaCases product = cases_of_flags({"-p", "8,16,8", "-n", "4", "-t", "1,2"});
  EXPECT_EQ(names_of(product), "pp8 pp8 pp16 pp16 tg4 tg4");  // of one thread and of two
  EXPECT_EQ(product.cases.size(), 6u);
  EXPECT_EQ(product.remarks.size(), 1u);
}

TEST(LlamaBenchFlags, OneTokenOfPromptIsNoTestOfGenerating) {
  const LlamaCases asked = cases_of_flags({"-p", "1", "-n", "1,6", "-pg", "1,5"});
  EXPECT_EQ(names_of(asked), "pp1 tg1 tg6 pp1+tg5");
  EXPECT_EQ(asked.cases.size(), 2u);
  EXPECT_EQ(asked.remarks, (Args{"pp1 and tg1 are one case here: measured once, a row each",
                                 "tg6 and pp1+tg5 are one case here: measured once, a row each"}));
}

TEST(LlamaBenchFlags, ATestOfNoTokensIsLeftOut) {
  EXPECT_EQ(names_of(cases_of_flags({"-p", "8", "-n", "0", "-pg", "0,0", "-gp", "16,0"})), "pp8");
}

// --model, --threads and --device are flags of ours too, which take no ranges.
TEST(LlamaBenchFlags, LongFormsTakeListsAndRangesBesideItsOtherFlags) {
  const Outcome run =
      run_here({"bench", "--model", "synthetic:tiny,synthetic:tiny@1", "--threads=1-2", "--device",
                "none", "-p", "4", "-n", "0", "-r", "1", "-o", "jsonl"});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(std::count(run.out.begin(), run.out.end(), '\n'), 4) << run.out;
  for (const char* part :
       {"\"model_filename\":\"synthetic:tiny@1\"", "\"n_threads\":2", "\"backends\":\"cpu\""}) {
    EXPECT_NE(run.out.find(part), std::string::npos) << part << run.out;
  }
  const Outcome ours = run_here({"bench", "--model", "synthetic:tiny", "--threads=1-2"});
  EXPECT_EQ(ours.code, 2);
  EXPECT_NE(ours.err.find("threads"), std::string::npos) << ours.err;
}

TEST(LlamaBenchFlags, AModelWithoutAFlagIsBenchedToo) {
  const Outcome run = run_here({"bench", "synthetic:tiny", "-m", "synthetic:tiny@1", "-p", "4",
                                "-n", "0", "-r", "1", "-o", "jsonl"});
  EXPECT_EQ(run.code, 0) << run.err;
  for (const char* model : {"\"synthetic:tiny\"", "\"synthetic:tiny@1\""}) {
    EXPECT_NE(run.out.find(model), std::string::npos) << run.out;
  }
}

TEST(LlamaBenchFlags, TheTableHasARowOfEachTest) {
  const Outcome run =
      run_here({"bench", "-m", "synthetic:tiny", "-p", "1,1", "-n", "1", "-r", "1"});
  EXPECT_EQ(run.code, 0) << run.err;
  for (const char* name : {"| pp1 |", "| tg1 |"}) {
    EXPECT_EQ(run.out.find(name), run.out.rfind(name)) << run.out;
    EXPECT_NE(run.out.find(name), std::string::npos) << run.out;
  }
  EXPECT_NE(run.err.find("pp1: asked for more than once"), std::string::npos) << run.err;
}

}  // namespace
}  // namespace lowbit
