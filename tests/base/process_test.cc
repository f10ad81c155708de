#include "base/process.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <thread>

#include "base/check.h"
#include "base/timer.h"

namespace lowbit {
namespace {

using Strings = std::vector<std::string>;

Strings shell(const std::string& script) { return {"/bin/sh", "-c", script}; }

TEST(Process, LinesComeOneByOneAndErrorsAtTheEnd) {
  Strings lines;
  const ChildResult result =
      run_child(shell("echo one; echo two; echo wrong >&2; exit 3"),
                {.on_line = [&](std::string_view line) { lines.emplace_back(line); }});
  EXPECT_EQ(lines, (Strings{"one", "two"}));
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_EQ(failure(result, 0), "ended with exit code 3: wrong");
  EXPECT_EQ(failure(run_child(shell("true"), {}), 0), "");
}

TEST(Process, ACrashIsNamedBySignal) {
  const ChildResult result = run_child(shell("kill -SEGV $$"), {});
  EXPECT_EQ(result.signal, SIGSEGV);
  EXPECT_EQ(failure(result, 0), "crashed: Segmentation fault (signal 11)");
  EXPECT_NE(failure(run_child(shell("kill -KILL $$"), {}), 0).find("out of memory"),
            std::string::npos);
}

TEST(Process, WhatHangsIsKilledAfterTheTimeout) {
  const Timer timer;
  const ChildResult result = run_child({"/bin/sleep", "30"}, {.timeout = 0.2});
  EXPECT_TRUE(result.timed_out);
  EXPECT_EQ(failure(result, 0.2), "took longer than timeout = 0.2 s");
  EXPECT_LT(timer.seconds(), 20);
}

TEST(Process, MuchOutputDoesNotBlock) {
  size_t bytes = 0;
  run_child(shell("i=0; while [ $i -lt 20000 ]; do echo 0123456789; echo e >&2; i=$((i+1)); done"),
            {.on_line = [&](std::string_view line) { bytes += line.size(); }});
  EXPECT_EQ(bytes, 200000u);
}

TEST(Process, WhatCannotBeRunIsAnError) {
  EXPECT_THROW(run_child({"/no/such/program"}, {}), Error);
}

// A killed sweep must not leave a case behind that keeps the machine busy.
TEST(Process, ItDiesWithTheProcessThatStartedIt) {
  const std::string path = testing::TempDir() + "lowbit_pid_" + std::to_string(::getpid());
  const pid_t middle = ::fork();
  if (middle == 0) {
    run_child(shell("echo $$ > " + path + ".new; mv " + path + ".new " + path + "; exec sleep 60"),
              {});
    ::_exit(0);
  }
  const Timer timer;
  pid_t child = 0;
  while (child == 0 && timer.seconds() < 30) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::ifstream(path) >> child;
  }
  ASSERT_GT(child, 0);
  ::kill(middle, SIGKILL);
  ::waitpid(middle, nullptr, 0);
  const auto running = [&] {  // a dead one may wait to be reaped by init
    std::ifstream stat("/proc/" + std::to_string(child) + "/stat");
    std::string id, name, state;
    return (stat >> id >> name >> state) && state != "Z";
  };
  while (running() && timer.seconds() < 30) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_FALSE(running());
  ::unlink(path.c_str());
}

}  // namespace
}  // namespace lowbit
