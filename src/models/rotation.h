// Rotations that leave what a model computes as it is and make its weights easier to quantize
// (SpinQuant, Liu et al. 2024, arXiv:2405.16406; QuaRot, Ashkboos et al. 2024, arXiv:2404.00456):
// R1 turns the residual stream, R2 what every head keeps as values. Both are randomized Hadamard
// matrices, nothing is learned, and both disappear in the weights. RMSNorm commutes with R1 once
// its weights are those of the matrices after it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "models/checkpoint_view.h"
#include "models/layer_policy.h"
#include "quantize/quantizer.h"

namespace lowbit {

// An orthogonal matrix R [size, size] that takes n log n work: signs, then a Hadamard matrix; where
// size is no power of two the Kronecker product of one with a Hartley matrix of the odd factor.
class Rotation {
 public:
  explicit Rotation(int64_t size);
  int64_t size() const { return static_cast<int64_t>(signs_.size()); }

  // Every `size` rows of x [n, k]: x = R^T x. n a multiple of size.
  void turn_rows(float* x, int64_t n, int64_t k) const;
  // Every `size` columns of x [n, k]: x = x R. k a multiple of size.
  void turn_columns(float* x, int64_t n, int64_t k) const;

 private:
  std::vector<float> signs_;
  int64_t odd_ = 1;             // factor of size
  std::vector<float> hartley_;  // [odd, odd]
};

// What happens to one tensor [n, k]: columns times `norm`, turned, then its rows.
struct TurnedTensor {
  enum class By : uint8_t { kNothing, kStream, kHead };  // R1, R2

  std::string name, layer;  // layer "": a bias, or a norm, which becomes ones
  std::string from;         // what the file calls it
  int64_t n, k;
  std::string norm = "";  // vector of the file, [k]
  By columns = By::kNothing, rows = By::kNothing;
  bool ones = false;
};

struct RotationPlan {
  int64_t hidden, head_dim;
  std::vector<TurnedTensor> tensors;
  bool unties = false;  // the head was the table and becomes a tensor of its own
};

// Of the checkpoint's architecture.
RotationPlan rotation_plan(const Checkpoint& checkpoint);

// The rotated model. Tensors are f32, those that `policy` leaves as stored of their own plain type.
class RotatedCheckpoint final : public CheckpointView {
 public:
  RotatedCheckpoint(const Checkpoint& base, const LayerPolicy& policy);

  const Hyperparams& config() const override { return config_; }
  std::string config_json() const override;
  std::vector<std::string> tensor_names() const override;
  bool has(const std::string& name) const override;
  QTensor tensor(const std::string& name, int64_t n, int64_t k) const override;
  QTensor outline(const std::string& name, int64_t n, int64_t k) const override;

  const TurnedTensor* find(const std::string& tensor) const;  // null: stays
  const Rotation* rotation(TurnedTensor::By by) const;        // null for kNothing
  // The norm of a tensor's plan; ones where it has none.
  std::vector<float> norm_of(const TurnedTensor& turned) const;

 private:
  Format served_format(const TurnedTensor& turned, const Format& stored) const;

  LayerPolicy policy_;
  std::map<std::string, TurnedTensor> turned_;
  Rotation stream_, head_;
  bool unties_;
  Hyperparams config_;
};

// The inputs of a rotated checkpoint's tensors, from what those of the model as stored read. Needs
// second moments; mean |x| is that of a normal distribution.
class RotatedInputs final : public InputStatsSource {
 public:
  RotatedInputs(InputStatsSource& base, const RotatedCheckpoint& checkpoint)
      : base_(base), checkpoint_(checkpoint) {}
  const InputStats* find(const std::string& tensor) override;

 private:
  InputStatsSource& base_;
  const RotatedCheckpoint& checkpoint_;
  InputStats turned_;
  std::string of_;  // the tensor that turned_ is of
};

}  // namespace lowbit
