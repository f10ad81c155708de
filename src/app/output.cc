#include "app/output.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/check.h"

namespace lowbit {
namespace {

[[noreturn]] void fail_output() {
  const int error = errno;
  if (error == EPIPE) throw OutputClosed{};
  throw_error("standard output: cannot write: {}", std::strerror(error));
}

}  // namespace

void print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) fail_output();
}

void flush_output() {
  if (std::fflush(stdout) != 0) fail_output();
}

bool stderr_is_terminal() { return ::isatty(STDERR_FILENO) == 1; }

void note(std::string_view line) {
  std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
}

}  // namespace lowbit
