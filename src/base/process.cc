#include "base/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "base/text.h"
#include "base/timer.h"

namespace lowbit {
namespace {

constexpr int kTickMilliseconds = 100;
constexpr size_t kErrorBytes = 4096;
constexpr size_t kMostLineBytes = size_t{1} << 28;
constexpr int kCannotExec = 127;  // as a shell has it

class Pipe {
 public:
  Pipe() {
    if (::pipe2(ends_.data(), O_CLOEXEC) != 0) {
      throw_error("cannot make a pipe: {}", std::strerror(errno));
    }
  }
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  int end(size_t i) const { return ends_[i]; }
  void close_end(size_t i) {
    if (ends_[i] >= 0) ::close(ends_[i]);
    ends_[i] = -1;
  }

 private:
  std::array<int, 2> ends_{-1, -1};
};

// Between fork and exec: system calls only.
[[noreturn]] void become(char* const* argv, int out, int err, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(kCannotExec);  // it died before the line above
  const int badness = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (badness >= 0) {  // the kernel takes this process and not its parent
    [[maybe_unused]] const ssize_t written = ::write(badness, "500", 3);
    ::close(badness);
  }
  const int null = ::open("/dev/null", O_RDONLY);
  ::dup2(null, STDIN_FILENO);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(err, STDERR_FILENO);
  ::execv(argv[0], argv);
  ::_exit(kCannotExec);
}

// False at the end of the stream.
bool read_some(int fd, std::string* text) {
  std::array<char, 65536> buffer;
  const ssize_t n = ::read(fd, buffer.data(), buffer.size());
  if (n > 0) text->append(buffer.data(), static_cast<size_t>(n));
  return n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN));
}

void take_lines(std::string* text, const std::function<void(std::string_view)>& on_line) {
  size_t begin = 0;
  for (size_t end; (end = text->find('\n', begin)) != std::string::npos; begin = end + 1) {
    on_line(std::string_view(*text).substr(begin, end - begin));
  }
  text->erase(0, begin);
  if (text->size() > kMostLineBytes) throw_error("a child process writes a line without an end");
}

// Kills and reaps the child if an exception leaves.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  ~Child() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    wait();
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  void kill() const { ::kill(pid_, SIGKILL); }
  int wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_;
};

}  // namespace

ChildResult run_child(const std::vector<std::string>& command, const ChildOptions& options) {
  LB_CHECK(!command.empty());
  std::vector<char*> argv;
  for (const std::string& part : command) argv.push_back(const_cast<char*>(part.c_str()));
  argv.push_back(nullptr);
  Pipe out, err;
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) throw_error("cannot start a process: {}", std::strerror(errno));
  if (pid == 0) become(argv.data(), out.end(1), err.end(1), parent);
  Child child(pid);
  out.close_end(1);
  err.close_end(1);

  ChildResult result;
  std::string text;
  const Timer timer;
  bool out_open = true, err_open = true;
  while (out_open || err_open) {
    std::array<pollfd, 2> ends = {pollfd{out_open ? out.end(0) : -1, POLLIN, 0},
                                  pollfd{err_open ? err.end(0) : -1, POLLIN, 0}};
    ::poll(ends.data(), ends.size(), kTickMilliseconds);
    if (ends[0].revents != 0) out_open = read_some(out.end(0), &text);
    if (ends[1].revents != 0) err_open = read_some(err.end(0), &result.errors);
    if (result.errors.size() > kErrorBytes) {
      result.errors.erase(0, result.errors.size() - kErrorBytes);
    }
    take_lines(&text, options.on_line);
    options.on_tick();
    if (!result.timed_out && options.timeout > 0 && timer.seconds() > options.timeout) {
      result.timed_out = true;
      child.kill();
    }
  }
  const int status = child.wait();
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  if (result.exit_code == kCannotExec && result.errors.empty()) {
    throw_error("{}: cannot be run", printable(command[0], 300));
  }
  return result;
}

std::string failure(const ChildResult& result, double timeout) {
  if (result.timed_out) return fmt::format("took longer than timeout = {} s", timeout);
  std::string reason;
  if (result.signal == SIGKILL) {
    reason = "was killed (SIGKILL): out of memory, or by somebody";
  } else if (result.signal != 0) {
    reason = fmt::format("crashed: {} (signal {})", ::strsignal(result.signal), result.signal);
  } else if (result.exit_code != 0) {
    reason = fmt::format("ended with exit code {}", result.exit_code);
  } else {
    return "";
  }
  const std::string_view errors = trim(result.errors);
  if (!errors.empty()) {
    reason += ": " + printable(errors.substr(errors.rfind('\n') + 1), 500);
  }
  return reason;
}

}  // namespace lowbit
