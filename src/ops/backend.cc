#include "ops/backend.h"

#include <string>

#include "base/check.h"
#include "base/text.h"

namespace lowbit {

std::string_view name(StepPlan plan) { return plan == StepPlan::kGraph ? "graph" : "eager"; }

StepPlan parse_plan(std::string_view text, const Backend& backend) {
  if (text == "eager") return StepPlan::kEager;
  if (text == "auto") return backend.graph ? StepPlan::kGraph : StepPlan::kEager;
  if (text != "graph") {
    const std::vector<std::string> known = {"auto", "eager", "graph"};
    throw_error("unknown{}; known: {}", suggestion(text, known), join(known, ", "));
  }
  if (!backend.graph) {
    throw_error("device {} runs op by op and captures nothing; use eager or auto", backend.name);
  }
  return StepPlan::kGraph;
}

}  // namespace lowbit
