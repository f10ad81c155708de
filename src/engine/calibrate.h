// What the Linears of a model read on a text: statistics for quantizers that weigh errors.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine/stepper.h"
#include "quantize/quantizer.h"

namespace lowbit {

struct CalibrateOptions {
  int32_t ctx = 512;      // tokens of a window; every window starts with an empty state
  int32_t bos = -1;       // >= 0: every window starts with it and holds ctx - 1 tokens of the text
  bool hessians = false;  // second moments too: k * k numbers for each Linear
  size_t max_bytes = size_t{4} << 30;  // of statistics held at once
};

// Runs the model over the text when it is asked, for as many Linears as fit into max_bytes, in the
// order of execution from the one asked for: whoever asks in that order, as the loader does, causes
// the fewest passes. A Linear's tensors (q, k and v) share what it reads. Results depend neither on
// threads nor on the passes.
class Calibration final : public InputStatsSource {
 public:
  // Model, backend and tokens must outlive it. Error: no tokens, one outside the vocabulary, ctx
  // beyond the context, activations that are not plain numbers.
  Calibration(const Model& model, const Backend& backend, std::span<const int32_t> tokens,
              const CalibrateOptions& options);

  // By the name of a tensor of the checkpoint, or of a Linear ("layers.3.qkv").
  const InputStats* find(const std::string& tensor) override;
  int passes() const { return passes_; }

 private:
  void collect(size_t first);
  void run_windows(Trace* trace, bool head);

  const Model& model_;
  const Backend& backend_;
  std::span<const int32_t> tokens_;
  CalibrateOptions options_;
  std::vector<const Linear*> linears_;
  std::map<std::string, size_t> index_;  // of a Linear, by its name and those of its tensors
  std::map<size_t, InputStats> held_;
  int passes_ = 0;
};

}  // namespace lowbit
