// Scales that move between tensors of a model and leave what it computes as it is: s goes into the
// columns of the matrices that read a vector, 1 / s into whatever produces it. Data for methods
// such as AWQ, which make a model easier to quantize and leave an ordinary checkpoint behind.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "models/checkpoint_view.h"
#include "quantize/quantizer.h"

namespace lowbit {

struct ScalingGroup {
  struct Tensor {
    std::string name;
    int64_t n, k;
  };
  std::string name;   // of the producer: "layers.3.attn_norm"
  std::string layer;  // the Linear that the consumers are parts of: "layers.3.qkv"
  Tensor producer;    // n = 1: a vector, element by element; else a matrix, row by row
  std::string bias;   // of the producer, scaled with it; "" for none
  std::vector<Tensor> consumers;
  // Element or row of the producer that column i of the consumers reads; empty: the i-th. With
  // grouped queries several heads of o's columns read one head of v's rows.
  std::vector<int32_t> element = {};

  int64_t elements() const { return producer.n == 1 ? producer.k : producer.n; }
  int32_t element_of(int64_t column) const {
    return element.empty() ? static_cast<int32_t>(column) : element[static_cast<size_t>(column)];
  }
};

// Of the checkpoint's architecture, in the order of execution.
std::vector<ScalingGroup> scaling_groups(const Checkpoint& checkpoint);

// A checkpoint with some tensors scaled; those are served in f32, the others as they are.
class ScaledCheckpoint final : public CheckpointView {
 public:
  using CheckpointView::CheckpointView;

  // Columns of the consumers times s, the producer divided by it; s has the producer's elements.
  void scale(const ScalingGroup& group, std::span<const float> s);
  // What the columns of a tensor are multiplied by; empty: nothing.
  std::span<const float> columns(const std::string& tensor) const;

  QTensor tensor(const std::string& name, int64_t n, int64_t k) const override;
  QTensor outline(const std::string& name, int64_t n, int64_t k) const override;

 private:
  struct Factors {
    std::vector<float> rows, columns;  // empty: all 1
  };
  std::map<std::string, Factors> factors_;
};

// The inputs of a scaled checkpoint's tensors, from what the unscaled ones read.
class ScaledInputs final : public InputStatsSource {
 public:
  ScaledInputs(InputStatsSource& base, const ScaledCheckpoint& checkpoint)
      : base_(base), checkpoint_(checkpoint) {}
  const InputStats* find(const std::string& tensor) override;

 private:
  InputStatsSource& base_;
  const ScaledCheckpoint& checkpoint_;
  InputStats scaled_;
};

}  // namespace lowbit
