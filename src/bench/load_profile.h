// Where the time of loading a model went, and which kernels were chosen and why not others.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "engine/loaded_model.h"
#include "models/load_trace.h"

namespace lowbit {

class LoadProfile final : public LoadTrace {
 public:
  void spent(LoadPhase phase, std::string_view what, double seconds, size_t bytes) override;

  struct Part {
    LoadPhase phase;
    std::string what;
    double seconds = 0, bytes = 0;
  };
  const std::vector<Part>& parts() const { return parts_; }

 private:
  std::vector<Part> parts_;
};

// A line for each phase with its share of `total_seconds`, what was captured and tuned, and the
// tensors that took longest.
std::string load_text(const LoadProfile& profile, double total_seconds, StepPlan plan);

// That, then the plan with every refusal.
std::string load_report(const LoadProfile& profile, const LoadedModel& loaded);

// {"load_seconds", "phases": {name: {"seconds", "bytes"}}, "parts": [{"phase", "what", "seconds",
// "bytes"}], "linears": as engine/plan_report.h has them}
std::string load_json(const LoadProfile& profile, const LoadedModel& loaded);

}  // namespace lowbit
