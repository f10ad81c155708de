// How far a long job is, on standard error: a bar with the time left on a terminal, a line now and
// then elsewhere, nothing for jobs of a second.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/timer.h"

namespace lowbit {

std::string duration(double seconds);  // "42 s", "2:10 min", "1:05 h"

class Progress {
 public:
  explicit Progress(std::string title);
  ~Progress();  // clears the bar
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `status`: what is known so far, shown after the bar.
  void update(int64_t done, int64_t total, std::string_view status);

 private:
  void clear();

  std::string title_;
  bool terminal_;
  bool drawn_ = false;
  Timer timer_;
  double next_ = 1;  // seconds after the start
};

}  // namespace lowbit
