#include "app/run_lowbit.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "app/app.h"
#include "bench/machine_ceilings.h"

namespace lowbit::fixtures {
namespace {

std::string read_all(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

}  // namespace

Outcome run_here(const std::vector<std::string>& args) {
  Outcome outcome;
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  outcome.code = run(args);
  std::fflush(stdout);
  outcome.out = testing::internal::GetCapturedStdout();
  outcome.err = testing::internal::GetCapturedStderr();
  return outcome;
}

Outcome run_binary(const std::vector<std::string>& args, const std::string& out) {
  const TempFolder folder;
  const std::string out_path = out.empty() ? folder.path() + "/out" : out;
  const std::string err_path = folder.path() + "/err";
  std::vector<const char*> argv = {LB_BINARY};
  for (const std::string& arg : args) argv.push_back(arg.c_str());
  argv.push_back(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    const int out_fd = ::open(out_path.c_str(), O_WRONLY | O_CREAT, 0644);
    const int err_fd = ::open(err_path.c_str(), O_WRONLY | O_CREAT, 0644);
    ::dup2(out_fd, STDOUT_FILENO);
    ::dup2(err_fd, STDERR_FILENO);
    ::execv(LB_BINARY, const_cast<char* const*>(argv.data()));
    ::_exit(127);
  }
  int status = 0;
  struct rusage usage = {};
  ::wait4(child, &status, 0, &usage);
  Outcome outcome;
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (out.empty()) outcome.out = read_all(out_path);
  outcome.err = read_all(err_path);
  outcome.peak_bytes = usage.ru_maxrss * 1024;
  return outcome;
}

TempFolder::TempFolder() {
  static std::atomic<int> count{0};
  path_ = testing::TempDir() + "lowbit_app_" + std::to_string(::getpid()) + "_" +
          std::to_string(count++);
  std::filesystem::create_directories(path_);
}

TempFolder::~TempFolder() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

CeilingsFolder::CeilingsFolder() {
  const char* before = std::getenv("XDG_CACHE_HOME");
  before_ = before ? before : "";
  ::setenv("XDG_CACHE_HOME", folder_.path().c_str(), 1);
}

CeilingsFolder::~CeilingsFolder() {
  before_.empty() ? ::unsetenv("XDG_CACHE_HOME") : ::setenv("XDG_CACHE_HOME", before_.c_str(), 1);
}

void store_endless_ceilings() {
  const Ceilings endless = {.levels = {{"memory", 0, 1e18}},
                            .float_flops = 1e21,
                            .integer_flops = 1e21,
                            .measured = "2026-01-01T00:00:00Z"};
  const auto most = static_cast<int32_t>(std::max(4U, std::thread::hardware_concurrency()));
  for (int32_t threads = 1; threads <= most; ++threads) {
    Fingerprint machine = machine_fingerprint();
    machine.threads = threads;
    store_ceilings(ceilings_path(), ceilings_record(endless, machine));
  }
}

std::string TempFolder::write(const std::string& name, const std::string& content) const {
  const std::string file = path_ + "/" + name;
  std::ofstream(file, std::ios::binary) << content;
  return file;
}

}  // namespace lowbit::fixtures
