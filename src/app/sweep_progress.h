// How far a sweep is, in one line on a terminal: the case, the time left, the last result.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/timer.h"
#include "bench/record.h"

namespace lowbit {

class SweepProgress {
 public:
  explicit SweepProgress(int64_t cases);
  ~SweepProgress();  // clears the line
  SweepProgress(const SweepProgress&) = delete;
  SweepProgress& operator=(const SweepProgress&) = delete;

  void skip(int64_t cases);  // done by an earlier run
  void start(const std::string& what);
  void phase(std::string_view phase);
  void finish(const Record& record);
  void draw();

  // "[3/20] prose-7m int8: measuring, 2:10 min left; last: int4 812 ± 9 tokens/s"
  std::string line() const;

 private:
  int64_t cases_, done_ = 0;
  int64_t timed_ = 0;        // cases that this run has finished
  double case_seconds_ = 0;  // what they took
  Timer timer_;              // of the current case
  std::string what_, phase_, last_;
  bool terminal_, drawn_ = false;
};

}  // namespace lowbit
