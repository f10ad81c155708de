// Many cases, each in a process of its own, in a random order that the seed decides: what drifts
// while a sweep runs (heat, other users) meets all formats alike, and a case that crashes, hangs or
// runs out of memory is one failed row.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/config.h"
#include "bench/record.h"

namespace lowbit {

struct SweepOptions {
  // Program and arguments that run one case: its JSON and a scratch folder are added. It prints
  // lines, "phase TEXT", "text LINE" and at the end "record JSON".
  std::vector<std::string> command;
  std::string out;      // file of JSON lines; "": none
  bool resume = false;  // leave out the cases that `out` has a row of
  double timeout = 0;   // seconds per case; 0: none
  uint64_t seed = 0;    // of the order
  // One more argument for each case, in their order; empty: none.
  std::vector<std::string> extra = {};
};

// What a caller sees while it runs. `done` counts the finished cases, those of an earlier run too.
class SweepListener {
 public:
  virtual ~SweepListener() = default;
  virtual void on_resume(int64_t done, int64_t total) = 0;
  virtual void on_case(const BenchCase& c) = 0;
  virtual void on_phase(std::string_view phase) = 0;
  virtual void on_text(const BenchCase&, std::string_view) {}  // a line of a profile's table
  virtual void on_tick() = 0;
  virtual void on_record(const Record& record) = 0;
};

// A row of every case, in the order of `cases`. Error: `out` cannot be used.
std::vector<Record> run_sweep(std::span<const BenchCase> cases, const SweepOptions& options,
                              SweepListener& listener);

}  // namespace lowbit
