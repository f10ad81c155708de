#include "engine/prepared.h"

#include "base/check.h"
#include "base/file.h"
#include "base/text.h"
#include "models/awq.h"
#include "models/method_policy.h"

namespace lowbit {

void check_calibration(const LayerPolicy& policy, const CalibrationText& text) {
  const std::string_view asking = policy.needs_inputs();
  if (text.tokens < 1) throw_error("--calibration-tokens {}: must be at least 1", text.tokens);
  if (asking.empty() && !text.file.empty()) {
    throw_error(
        "--calibration {}: nothing asked for uses it; give --quantizer gptq, importance or the "
        "like, --prepare awq, or a name such as awq-uint4-64",
        printable(text.file, 300));
  }
  if (asking.empty()) return;
  if (text.file.empty()) {
    throw_error(
        "{}: has to know what layers read on a text: give --calibration TEXT (calibration=TEXT "
        "where keys have no dashes), a file like what the model will read; `lowbit quantize MODEL "
        "... --calibration TEXT --out DIR` keeps the result",
        asking);
  }
  map_file(text.file);  // its error before a long run
}

PreparedWeights::PreparedWeights(const Checkpoint& checkpoint, const Backend& backend,
                                 const LayerPolicy& policy, const CalibrationText& text,
                                 InputStatsSource* inputs)
    : checkpoint_(checkpoint), prepared_(&checkpoint), inputs_(inputs) {
  const bool needs_inputs = !policy.needs_inputs().empty();
  if (needs_inputs && !inputs) {
    check_calibration(policy, text);
    calibrate(backend, text);
  }
  if (policy.prepare.rotate) {
    rotated_ = std::make_unique<RotatedCheckpoint>(*prepared_, policy);
    prepared_ = rotated_.get();
    if (inputs_) {
      rotated_inputs_ = std::make_unique<RotatedInputs>(*inputs_, *rotated_);
      inputs_ = rotated_inputs_.get();
    }
  }
  if (policy.prepare.prune.level > 0) {
    LoadOptions outline;
    outline.plan_only = true;
    std::set<std::string> tensors;
    const std::unique_ptr<Model> model = load_model(*prepared_, backend, outline);
    for (const TensorUse& use : model->tensors()) {
      if (is_feed_forward(use.layer)) tensors.insert(use.tensor);
    }
    pruned_ = std::make_unique<PrunedCheckpoint>(*prepared_, policy.prepare.prune, tensors);
    prepared_ = pruned_.get();
  }
  if (policy.prepare.awq) {
    scaled_ = lowbit::awq(*prepared_, *inputs_, policy);
    prepared_ = scaled_.get();
    scaled_inputs_ = std::make_unique<ScaledInputs>(*inputs_, *scaled_);
    inputs_ = scaled_inputs_.get();
  }
}

void PreparedWeights::calibrate(const Backend& backend, const CalibrationText& text) {
  const std::unique_ptr<Tokenizer> tokenizer = checkpoint_.tokenizer();
  if (!tokenizer) {
    throw_error("--calibration {}: {} has no tokenizer to read it with", printable(text.file, 300),
                checkpoint_.source());
  }
  model_ = load_model(checkpoint_, backend, {});
  seen_ = file_text(*tokenizer, model_->max_context(), text.file, text.tokens);
  calibration_ = std::make_unique<Calibration>(
      *model_, backend, seen_.ids,
      CalibrateOptions{.ctx = seen_.ctx, .bos = seen_.bos, .hessians = true});
  inputs_ = calibration_.get();
}

}  // namespace lowbit
