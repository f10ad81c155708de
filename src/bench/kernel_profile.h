// Where the time of a step goes, kernel by kernel, and how far each is from what the machine can
// do.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bench/machine_ceilings.h"
#include "bench/op_timeline.h"

namespace lowbit {

struct KernelRow {
  std::string op, kernel;
  int layer = -1;           // -1: outside the layers
  double seconds = 0;       // median over the steps
  double most_seconds = 0;  // the upper end of its interval, and what the clock may be off by
  double bytes = 0, flops = 0;
  double working_set = 0;    // bytes that have to fit into a cache to come from it
  double least_seconds = 0;  // at the machine's ceilings; 0: they are not known
  std::string limit;         // what says so: "compute", or a level such as "L3"; "": not known
  bool above_ceiling() const { return least_seconds > most_seconds; }
};

struct StepProfile {
  std::string name;             // "decode at 137"
  int64_t steps = 0;            // whose medians these are
  double seconds = 0;           // of a traced step, with what lies between its ops
  double untraced_seconds = 0;  // of a step without the trace
  std::vector<KernelRow> rows;  // in the order in which they run
};

// What the machine can do with a kernel. Weights and state are read once a step, so they come from
// the level that holds all that the step reads; other ops find their numbers where the op before
// left them.
struct KernelLimits {
  std::optional<Ceilings> ceilings;
  std::span<const LinearKernel> kernels;  // of the backend: what they multiply
  double step_bytes = 0;                  // that the step reads in all
  double clock_seconds = 0;               // that a time may be off by
};

// Medians over steps that run the same ops, one or more.
StepProfile profile_of(std::span<const TimedStep> steps, const KernelLimits& limits);

// "" or, in a line, which kernels took less time than the machine needs for them.
std::string above_ceiling(const StepProfile& step);

// Measures what the rows above a ceiling are limited by again and for longer; keeps what is higher.
void raise_ceilings(const StepProfile& step, const Backend& backend, Ceilings* ceilings);

// Time, bytes, rates and share of the ceiling of each op, over all layers; then of each layer.
std::string kernel_summary(const StepProfile& step);
// The same of every kernel on its own.
std::string every_kernel(const StepProfile& step);

}  // namespace lowbit
