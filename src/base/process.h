// Child processes: what may crash, hang or run out of memory runs in one.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace lowbit {

struct ChildOptions {
  double timeout = 0;  // seconds until it is killed; 0: none
  std::function<void(std::string_view)> on_line = [](std::string_view) {
  };                                      // each line of its standard output
  std::function<void()> on_tick = [] {};  // several times a second while it runs
};

struct ChildResult {
  int exit_code = -1;  // -1: it did not exit by itself
  int signal = 0;      // that ended it, or 0
  bool timed_out = false;
  std::string errors;  // the end of what it wrote to standard error
};

// Runs `command` (a path and its arguments) and waits for it. The child dies with this process,
// and before it when memory runs out. Error: it cannot be started.
ChildResult run_child(const std::vector<std::string>& command, const ChildOptions& options);

// "" for exit code 0, else what went wrong, in one line.
std::string failure(const ChildResult& result, double timeout);

// The running program, also where its file has been replaced since.
inline constexpr const char* kSelf = "/proc/self/exe";

}  // namespace lowbit
