// A model ready to run, and what it was made from.
#pragma once

#include <memory>
#include <string>

#include "engine/prepared.h"
#include "load/checkpoint.h"
#include "models/model.h"
#include "tokenizer/tokenizer.h"

namespace lowbit {

struct LoadedModel {
  std::unique_ptr<Checkpoint> checkpoint;
  const Backend* backend = nullptr;
  std::unique_ptr<Tokenizer> tokenizer;  // null if the model has none
  std::unique_ptr<Model> model;
  StepPlan plan = StepPlan::kEager;  // what it was loaded for
  double load_seconds = 0;
};

// `source` as open_checkpoint() takes it; weights are prepared as options.policy says, with `text`
// (engine/prepared.h) where options.inputs is null. With plan_only nothing that needs inputs is
// done. OutOfMemory says what all weights take and, on a device, how many bits each may have.
LoadedModel load(const std::string& source, const Backend& backend, const LoadOptions& options,
                 const CalibrationText& text = {});

// What the Linears really run as: "int8", or "int4 (resident: bf16)" where codes had to be decoded,
// or "mixed" with the distinct names; then the head, of which suites think differently, where
// anything is quantized, and the embedding where it is.
std::string format_summary(const Model& model);

}  // namespace lowbit
