// Writes a model with every layer in the format that a policy gives it: lowbit's own container
// (load/container.h).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "models/weights.h"

namespace lowbit {

struct ExportOptions {
  LayerPolicy policy;
  InputStatsSource* inputs = nullptr;  // null: no calibration
  // After each tensor; may be empty.
  std::function<void(int64_t done, int64_t total, const std::string& tensor)> progress = {};
};

struct ExportReport {
  int64_t source_bytes = 0, written_bytes = 0;  // of tensors, one that is used twice once
  int64_t weights = 0, weight_bits = 0;         // of quantized tensors, scales included
  std::vector<TensorUse> uses;                  // as planned; skipped ones say why
  std::vector<std::string> left_out;            // files that describe the model as it was
  double bits_per_weight() const {
    return weights == 0 ? 0 : static_cast<double>(weight_bits) / static_cast<double>(weights);
  }
};

// The Errors of export_model() that can be known at once.
void check_export(const Checkpoint& checkpoint, const std::string& out);

// Writes the folder `out`, which must not exist: first beside it under another name, then renamed,
// so that it is there whole or not at all. Peak memory: one tensor and its quantized form. Errors:
// `out` exists or its parent does not, a model that has no folder of its own (GGUF, synthetic),
// what load_model() and quantizers refuse, a full disk.
ExportReport export_model(const Checkpoint& checkpoint, const Backend& backend,
                          const ExportOptions& options, const std::string& out);

}  // namespace lowbit
