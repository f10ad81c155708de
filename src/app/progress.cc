#include "app/progress.h"

#include <cstdio>

#include "app/output.h"
#include "base/check.h"

namespace lowbit {
namespace {

constexpr double kBarSeconds = 0.1;
constexpr double kLineSeconds = 10;
constexpr int kBarWidth = 30;

}  // namespace

std::string duration(double seconds) {
  const auto whole = static_cast<int64_t>(seconds + 0.5);
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{}:{:02} min", whole / 60, whole % 60);
  return fmt::format("{}:{:02} h", whole / 3600, whole / 60 % 60);
}

Progress::Progress(std::string title) : title_(std::move(title)), terminal_(stderr_is_terminal()) {}

Progress::~Progress() { clear(); }

void Progress::clear() {
  if (drawn_) std::fputs("\r\x1b[K", stderr);
  drawn_ = false;
}

void Progress::update(int64_t done, int64_t total, std::string_view status) {
  const double seconds = timer_.seconds();
  if (seconds < next_ || done <= 0 || total <= 0) return;
  next_ = seconds + (terminal_ ? kBarSeconds : kLineSeconds);
  const double part = static_cast<double>(done) / static_cast<double>(total);
  const std::string left = duration(seconds / part - seconds);
  const std::string line =
      fmt::format("{}/{}, {} left{}{}", done, total, left, status.empty() ? "" : ", ", status);
  if (!terminal_) return note(title_ + ": " + line);
  const int filled = static_cast<int>(part * kBarWidth);
  std::fprintf(stderr, "\r\x1b[K%s [%s%s] %s", title_.c_str(), std::string(filled, '#').c_str(),
               std::string(kBarWidth - filled, '.').c_str(), line.c_str());
  drawn_ = true;
}

}  // namespace lowbit
