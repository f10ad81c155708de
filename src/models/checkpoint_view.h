// A checkpoint that serves some tensors of another one changed: everything else as it is there.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "load/checkpoint.h"

namespace lowbit {

class CheckpointView : public Checkpoint {
 public:
  // `base` must outlive it.
  explicit CheckpointView(const Checkpoint& base) : base_(base) {}

  std::string source() const override { return base_.source(); }
  std::string container() const override { return base_.container(); }
  bool synthetic() const override { return base_.synthetic(); }
  const Hyperparams& config() const override { return base_.config(); }
  std::vector<std::string> tensor_names() const override { return base_.tensor_names(); }
  bool has(const std::string& name) const override { return base_.has(name); }
  QTensor tensor(const std::string& name, int64_t n, int64_t k) const override {
    return base_.tensor(name, n, k);
  }
  QTensor outline(const std::string& name, int64_t n, int64_t k) const override {
    return base_.outline(name, n, k);
  }
  std::vector<StoredType> stored_types() const override { return base_.stored_types(); }
  std::string hash() const override { return base_.hash(); }
  std::unique_ptr<Tokenizer> tokenizer() const override { return base_.tokenizer(); }
  std::vector<int32_t> eos_ids() const override { return base_.eos_ids(); }
  std::string config_json() const override { return base_.config_json(); }
  std::vector<SideFile> side_files() const override { return base_.side_files(); }
  std::vector<std::string> remarks() const override { return base_.remarks(); }

 protected:
  const Checkpoint& base() const { return base_; }

 private:
  const Checkpoint& base_;
};

}  // namespace lowbit
