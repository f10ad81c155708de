#include "app/sweep_progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "app/output.h"
#include "app/progress.h"
#include "base/text.h"
#include "bench/report.h"

namespace lowbit {
namespace {

size_t terminal_width() {
  winsize size = {};
  const bool known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  return known ? size.ws_col - 1 : 79;
}

std::string result_text(const Record& record) {
  const std::string& format = record.format;
  if (record.status != Status::kOk) return fmt::format("{} {}", format, name(record.status));
  for (const char* tag : {"decode_tps", "prefill_tps"}) {
    if (const Estimate* speed = record.find(tag)) {
      return fmt::format("{} {} tokens/s", format, show(tag, *speed));
    }
  }
  return format;
}

}  // namespace

SweepProgress::SweepProgress(int64_t cases) : cases_(cases), terminal_(stderr_is_terminal()) {}

SweepProgress::~SweepProgress() {
  if (drawn_) std::fputs("\r\x1b[K", stderr);
}

void SweepProgress::skip(int64_t cases) { done_ += cases; }

void SweepProgress::start(const std::string& what) {
  what_ = what;
  phase_.clear();
  timer_.restart();
  draw();
}

void SweepProgress::phase(std::string_view phase) {
  phase_ = phase;
  draw();
}

void SweepProgress::finish(const Record& record) {
  ++done_;
  ++timed_;
  case_seconds_ += timer_.seconds();
  last_ = result_text(record);
}

std::string SweepProgress::line() const {
  std::string text = fmt::format("[{}/{}] {}", std::min(done_ + 1, cases_), cases_, what_);
  if (!phase_.empty()) text += ": " + phase_;
  if (timed_ > 0) {
    const double each = case_seconds_ / static_cast<double>(timed_);
    const double left = each * static_cast<double>(cases_ - done_) - timer_.seconds();
    text += fmt::format(", {} left", duration(std::max(left, 0.0)));
  }
  if (!last_.empty()) text += "; last: " + last_;
  return text;
}

void SweepProgress::draw() {
  if (!terminal_) return;
  std::fprintf(stderr, "\r\x1b[K%s", printable(line(), terminal_width()).c_str());
  drawn_ = true;
}

}  // namespace lowbit
