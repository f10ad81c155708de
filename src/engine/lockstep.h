// Runs one model on two backends op by op and stops at the first op whose output differs. After
// each op the second backend continues from the first one's output, so an error cannot hide behind
// an earlier one, nor an earlier one's rounding look like an error.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "models/model.h"

namespace lowbit {

struct LockstepDifference {
  std::string op;            // "layers.3.attention"
  std::string kernel;        // of the backend under test
  int64_t row = 0, col = 0;  // of the worst element
  double expected = 0, actual = 0, tolerance = 0;
  std::string text() const;
};

struct LockstepResult {
  int64_t ops = 0;   // compared
  double worst = 0;  // largest |difference| / tolerance seen
  std::optional<LockstepDifference> difference;
};

// Feeds `tokens` as one sequence in steps of `step` tokens. `oracle` and `tested` are the same
// model loaded on two backends.
LockstepResult lockstep(const Model& oracle, const Backend& oracle_backend, const Model& tested,
                        const Backend& tested_backend, std::span<const int32_t> tokens,
                        int32_t step);

}  // namespace lowbit
