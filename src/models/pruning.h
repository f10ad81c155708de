// Block sparsity: blocks of a matrix that are zero, those of least magnitude. Stored dense.
#pragma once

#include <set>
#include <string>

#include "models/checkpoint_view.h"
#include "quantize/preparation.h"

namespace lowbit {

// Sets floor(level * blocks) of the size x size blocks of w [n, k] to 0, those of the least sum of
// squares, of equal ones the first; blocks at the edges may be smaller.
void prune_blocks(const BlockSparsity& sparsity, int64_t n, int64_t k, float* w);

// A checkpoint with some tensors pruned; those keep a plain type and are f32 otherwise.
class PrunedCheckpoint final : public CheckpointView {
 public:
  PrunedCheckpoint(const Checkpoint& base, const BlockSparsity& sparsity,
                   std::set<std::string> tensors)
      : CheckpointView(base), sparsity_(sparsity), tensors_(std::move(tensors)) {}

  QTensor tensor(const std::string& name, int64_t n, int64_t k) const override;
  QTensor outline(const std::string& name, int64_t n, int64_t k) const override;

 private:
  BlockSparsity sparsity_;
  std::set<std::string> tensors_;
};

}  // namespace lowbit
