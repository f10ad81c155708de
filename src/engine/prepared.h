// The weights of a model as a policy wants them before quantizers see them, and what quantizers
// know of their inputs.
#pragma once

#include <memory>
#include <string>

#include "engine/calibrate.h"
#include "engine/scored_text.h"
#include "models/pruning.h"
#include "models/rotation.h"
#include "models/scaling.h"

namespace lowbit {

// A text that shows what layers read.
struct CalibrationText {
  std::string file;        // "": none
  int32_t tokens = 32768;  // of it to look at, at most
};

template <class Visitor>
void visit(Visitor& v, CalibrationText& c) {
  v.field("calibration", c.file,
          "text file; what the layers read on it guides methods that ask for it (gptq, "
          "importance, awq, ...)");
  v.field("calibration_tokens", c.tokens, "tokens of it to look at");
}

// What a LayerPolicy does not need is not made: neither a copy of the model as stored nor a pass
// over the text.
class PreparedWeights {
 public:
  // `checkpoint`, backend and `inputs` must outlive it. `inputs`, which may be null, are of the
  // checkpoint as stored and stand for a text. Errors: the policy needs inputs and there are none,
  // a model without a tokenizer.
  PreparedWeights(const Checkpoint& checkpoint, const Backend& backend, const LayerPolicy& policy,
                  const CalibrationText& text, InputStatsSource* inputs = nullptr);

  const Checkpoint& checkpoint() const { return *prepared_; }
  InputStatsSource* inputs() const { return inputs_; }  // of checkpoint(); null: nobody asks

 private:
  void calibrate(const Backend& backend, const CalibrationText& text);

  const Checkpoint& checkpoint_;
  std::unique_ptr<Model> model_;  // as stored
  ScoredText seen_;
  std::unique_ptr<Calibration> calibration_;
  std::unique_ptr<RotatedCheckpoint> rotated_;
  std::unique_ptr<RotatedInputs> rotated_inputs_;
  std::unique_ptr<PrunedCheckpoint> pruned_;
  std::unique_ptr<ScaledCheckpoint> scaled_;
  std::unique_ptr<ScaledInputs> scaled_inputs_;
  const Checkpoint* prepared_;
  InputStatsSource* inputs_ = nullptr;
};

// The Errors of a text that can be known at once: for nothing, unreadable, missing.
void check_calibration(const LayerPolicy& policy, const CalibrationText& text);

}  // namespace lowbit
