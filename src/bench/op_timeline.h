// When each op ran, as a trace that Perfetto and chrome://tracing open. Attached to a stepper it
// waits for the device after every op, so that a time is the op's own: the whole is slower than an
// untraced run, above all on a GPU.
#pragma once

#include <string>
#include <vector>

#include "ops/backend.h"
#include "ops/exec.h"

namespace lowbit {

class OpTimeline final : public Trace {
 public:
  explicit OpTimeline(const Backend& backend) : backend_(backend) {}

  void begin(const OpTag& tag) override;
  void end(const OpTag& tag, std::string_view kernel, const OpCost& cost) override;

  // {"traceEvents": [{"name": kernel, "cat": op, "ts", "dur" in microseconds, "args": ...}]}
  std::string chrome_json() const;

 private:
  struct Event {
    std::string op, kernel;
    double begin, seconds, bytes, flops;
  };
  const Backend& backend_;
  double begin_ = 0;
  std::vector<Event> events_;
};

}  // namespace lowbit
