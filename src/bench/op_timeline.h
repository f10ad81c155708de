// When each op ran, as a trace that Perfetto and chrome://tracing open. On a host a time is between
// two readings of the clock. On a device it is between two marks in its stream, by its own clock,
// less what two marks take around a kernel beside what it does: the stream is held while the host
// enqueues a step, so that no op waits for the host. The marks make a step slower than an untraced
// one. A tool that watches a device's process from outside sees every step and op as a range of its
// name.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ops/backend.h"
#include "ops/exec.h"

namespace lowbit {

// One call of an op. Seconds, of the steady clock.
struct TimedOp {
  std::string name, kernel;  // "qkv", "cpu.linear.int4.avx512"
  int layer = -1;            // -1: outside the layers
  double begin = 0, seconds = 0, bytes = 0, flops = 0;
  std::string tag() const { return OpTag{name.c_str(), layer}.text(); }
};

// A forward pass with what is drawn after it.
struct TimedStep {
  std::string name;  // "prefill of 6 tokens", "decode at 7"
  std::vector<TimedOp> ops;
  // Between the start of the first op and the end of the last.
  double seconds() const;
};

// Of a kernel's time, as CUPTI counts it, what passes before its first instruction and after its
// last: measured on an H200 with kernels that read the clock themselves.
inline constexpr double kKernelEdges = 1.3e-6;

class OpTimeline final : public Trace {
 public:
  explicit OpTimeline(const Backend& backend) : backend_(backend) {}
  ~OpTimeline() override { end_range(); }
  OpTimeline(const OpTimeline&) = delete;
  OpTimeline& operator=(const OpTimeline&) = delete;

  // Ops belong to the step that was started last; those before any have one without a name.
  void start_step(std::string name);

  void begin(const OpTag& tag) override;
  void ran() override;
  void end(const OpTag& tag, std::string_view kernel, const OpCost& cost) override;

  // Waits for a device's steps. The last one has ended.
  std::span<const TimedStep> steps();
  // What was taken off the time of each op; known once steps() has waited. 0 on a host.
  double mark_seconds() const { return mark_seconds_; }

 private:
  struct Marks {
    Mark begin, end;
  };
  // The marks around an op, until they are passed.
  struct Marked {
    size_t step, op;
    Marks marks;
  };
  void end_range();

  const Backend& backend_;
  bool in_range_ = false;  // of a step with a name
  double begin_ = 0, end_ = 0;
  std::vector<TimedStep> steps_;
  std::vector<Marked> marked_;  // of a device
  std::vector<Marks> known_;    // around kernels of a known length, before the first step
  std::optional<Mark> origin_;
  double mark_seconds_ = 0;
};

// {"traceEvents": [{"name", "cat", "ph": "X", "ts", "dur" in microseconds, "args": ...}]}: a slice
// for every op, inside slices of its layer and of its step if that has a name. `mark_seconds`, of a
// device's timeline, stands beside them: {"otherData": {"event_overhead_us": ...}}.
std::string chrome_json(std::span<const TimedStep> steps, double mark_seconds = 0);
std::string chrome_json(OpTimeline& timeline);

}  // namespace lowbit
