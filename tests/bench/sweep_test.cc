// Sweeps of cases that a shell script pretends to run: order, failures, resuming.
#include "bench/sweep.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "base/check.h"
#include "base/file.h"
#include "bench/bench_model.h"
#include "bench/result_file.h"

namespace lowbit {
namespace {

using Strings = std::vector<std::string>;

class Listener final : public SweepListener {
 public:
  void on_resume(int64_t done, int64_t) override { resumed = done; }
  void on_case(const BenchCase& c) override { ran.push_back(c.format); }
  void on_phase(std::string_view phase) override { phases.emplace_back(phase); }
  void on_tick() override {}
  void on_record(const Record& record) override { finished.push_back(record.format); }
  int64_t resumed = -1;
  Strings ran, phases, finished;
};

class Sweep : public testing::Test {
 protected:
  Sweep() {
    folder_ = testing::TempDir() + "lowbit_sweep_" + std::to_string(::getpid());
    std::filesystem::create_directories(folder_);
    options_.out = folder_ + "/out.jsonl";
    use("printf 'phase measuring\\n'; sed 's/^/record /' \"$dir/$format\"");
  }
  ~Sweep() override { std::filesystem::remove_all(folder_); }

  // Cases of these formats, with the record that the script finds for each.
  std::vector<BenchCase> cases(const Strings& formats) {
    std::vector<BenchCase> all;
    for (const std::string& format : formats) {
      BenchCase c;
      c.model = "m";
      c.format = format;
      all.push_back(c);
      std::ofstream(folder_ + "/" + format) << to_json_line(blank_record(c)) << "\n";
    }
    return all;
  }

  // `script` runs a case; $format is its format and $dir where its record lies.
  void use(const std::string& script) {
    const std::string path = folder_ + "/run.sh";
    std::ofstream(path)
        << "dir=" << folder_
        << "\nformat=$(printf %s \"$1\" | sed 's/.*\"format\":\"\\([^\"]*\\).*/\\1/')\n"
        << script << "\n";
    options_.command = {"/bin/sh", path};
  }

  std::vector<Record> stored() { return ResultFile(options_.out, true).recover(); }

  std::string folder_;
  SweepOptions options_;
};

TEST_F(Sweep, RowsComeInTheOrderOfTheCasesAndRunInARandomOne) {
  const Strings formats = {"bf16", "int8", "int4", "int3", "int2", "int1", "fp8", "fp6"};
  const auto all = cases(formats);
  Listener first, again, other;
  const auto rows = run_sweep(all, options_, first);
  ASSERT_EQ(rows.size(), formats.size());
  for (size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(rows[i].format, formats[i]);
  EXPECT_EQ(std::set(first.ran.begin(), first.ran.end()).size(), formats.size());
  EXPECT_NE(first.ran, formats);
  EXPECT_EQ(first.phases, Strings(formats.size(), "measuring"));
  EXPECT_EQ(first.finished, first.ran);

  options_.out.clear();
  run_sweep(all, options_, again);
  EXPECT_EQ(again.ran, first.ran);
  options_.seed = 1;
  run_sweep(all, options_, other);
  EXPECT_NE(other.ran, first.ran);
}

TEST_F(Sweep, WhatGoesWrongInOneCaseIsOneFailedRow) {
  const auto all = cases({"ok", "segv", "killed", "hangs", "silent", "noise", "code", "late"});
  use("case $format in segv) kill -SEGV $$;; killed) kill -KILL $$;; hangs) exec sleep 60;; "
      "silent) exit 0;; noise) echo hello; exit 0;; code) echo 'no such GPU' >&2; exit 2;; "
      "late) sed 's/^/record /' \"$dir/ok\"; kill -ABRT $$;; "
      "*) sed 's/^/record /' \"$dir/$format\";; esac");
  options_.timeout = 1;
  Listener listener;
  const auto rows = run_sweep(all, options_, listener);
  const Strings reasons = {"",
                           "crashed: Segmentation fault",
                           "killed (SIGKILL): out of memory",
                           "took longer than timeout = 1 s",
                           "ended without a result",
                           "ended without a result",
                           "exit code 2: no such GPU",
                           "crashed: Aborted"};
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i].status, i == 0 ? Status::kOk : Status::kFail);
    EXPECT_NE(rows[i].reason.find(reasons[i]), std::string::npos) << rows[i].reason;
    EXPECT_EQ(rows[i].config, case_json(all[i]));
    EXPECT_FALSE(rows[i].fingerprint.cpu.empty());
  }
  EXPECT_EQ(stored().size(), all.size());
}

TEST_F(Sweep, ResumingLeavesOutWhatHasARow) {
  const auto all = cases({"a", "b", "c", "d"});
  Listener listener;
  run_sweep(std::span(all).first(2), options_, listener);
  listener = {};
  options_.resume = true;
  const auto rows = run_sweep(all, options_, listener);
  EXPECT_EQ(listener.resumed, 2);
  std::sort(listener.ran.begin(), listener.ran.end());
  EXPECT_EQ(listener.ran, (Strings{"c", "d"}));
  EXPECT_EQ(rows.size(), 4u);
  EXPECT_EQ(stored().size(), 4u);

  // Another setting is another case.
  auto longer = all;
  for (BenchCase& c : longer) c.new_tokens = 65;
  listener = {};
  run_sweep(longer, options_, listener);
  EXPECT_EQ(listener.ran.size(), 4u);
}

// Whatever part of the last line a killed process has left.
TEST_F(Sweep, ALineWithoutAnEndIsNoResult) {
  const auto all = cases({"a", "b"});
  Listener listener;
  run_sweep(all, options_, listener);
  const std::string whole(map_file(options_.out).text());
  const size_t second = whole.find('\n') + 1;
  options_.resume = true;
  for (const size_t cut : {size_t{0}, size_t{1}, size_t{30}, second - 1, second, second + 1,
                           second + 40, whole.size() - 1, whole.size()}) {
    write_file_atomically(options_.out, whole.substr(0, cut));
    const auto lines = std::count(whole.begin(), whole.begin() + static_cast<long>(cut), '\n');
    listener = {};
    run_sweep(all, options_, listener);
    EXPECT_EQ(listener.resumed, lines) << cut;
    EXPECT_EQ(listener.ran.size(), 2u - static_cast<size_t>(lines)) << cut;
    EXPECT_EQ(stored().size(), 2u) << cut;
  }
}

TEST_F(Sweep, AnotherKindOfFileIsNeverCut) {
  options_.resume = true;
  for (const char* content : {"{\"hidden_size\": 64}", "weights", "{\n}\n", "[]\n"}) {
    write_file_atomically(options_.out, content);
    Listener listener;
    EXPECT_THROW(run_sweep(cases({"a"}), options_, listener), Error) << content;
    EXPECT_EQ(map_file(options_.out).text(), content);
  }
}

TEST_F(Sweep, TwoSweepsCannotWriteOneFile) {
  const auto all = cases({"a"});
  const ResultFile first(options_.out, false);
  Listener listener;
  try {
    run_sweep(all, options_, listener);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("another bench is writing"), std::string::npos);
  }
}

TEST_F(Sweep, ResumingNeedsAFile) {
  options_.out.clear();
  options_.resume = true;
  Listener listener;
  EXPECT_THROW(run_sweep(cases({"a"}), options_, listener), Error);
}

}  // namespace
}  // namespace lowbit
