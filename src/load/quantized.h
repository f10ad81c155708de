// Weights that another tool has quantized: a Hugging Face folder whose config.json has a
// `quantization_config`. Instead of X.weight the files hold parts of it (X.qweight, X.scales ...).
// A reader takes the parts of one tool apart into our planes, the numbers unchanged; one row of
// quantized_methods() each. To add a tool: its file, one row.
#pragma once

#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "load/hyperparams.h"
#include "load/stored.h"

namespace lowbit {

// What a reader reads from; outlives it.
struct QuantizedFiles {
  const Folder& folder;
  const StoredTensors& tensors;  // of all its files
  Hyperparams config;            // quantization_config
};

// `module` is a tensor's name up to and with its last dot: "model.layers.0.mlp.down_proj.".
class QuantizedReader {
 public:
  virtual ~QuantizedReader() = default;

  // {module}weight as [n, k]: its format, the parts' types and shapes checked, planes empty.
  virtual QTensor outline(const std::string& module, int64_t n, int64_t k) const = 0;
  virtual QTensor tensor(const std::string& module, int64_t n, int64_t k) const = 0;

  // One line each: what a run here does otherwise than the tool, such as activations that the tool
  // would round. `modules` are all that are packed.
  virtual std::vector<std::string> remarks(const std::set<std::string>& modules) const = 0;
};

struct QuantizedMethod {
  std::string_view name;                      // quantization_config.quant_method
  std::span<const std::string_view> markers;  // a module that has one of these parts is packed
  std::span<const std::string_view> parts;    // the others that a packed module may have
  std::span<const std::string_view> strays;   // parts of other modules, which nothing here reads
  std::unique_ptr<QuantizedReader> (*open)(const QuantizedFiles& files);
};
std::span<const QuantizedMethod> quantized_methods();

// The packed weights of a folder.
class QuantizedWeights {
 public:
  // Errors: a quant_method that we do not read, or none; no packed weights at all.
  explicit QuantizedWeights(const QuantizedFiles& files);

  std::string_view method() const { return method_->name; }
  // Names of the weights; the parts that they are made of are no weights of their own.
  bool has(const std::string& name) const;
  bool is_part(const std::string& name) const { return parts_.contains(name); }
  std::vector<std::string> names() const;

  QTensor outline(const std::string& name, int64_t n, int64_t k) const;
  QTensor tensor(const std::string& name, int64_t n, int64_t k) const;
  std::vector<std::string> remarks() const { return reader_->remarks(modules_); }

 private:
  const QuantizedMethod* method_ = nullptr;
  std::unique_ptr<QuantizedReader> reader_;
  std::set<std::string> modules_, parts_;
};

// One function per tool, in its own file.
std::unique_ptr<QuantizedReader> open_gptq(const QuantizedFiles& files);
std::unique_ptr<QuantizedReader> open_awq(const QuantizedFiles& files);
std::unique_ptr<QuantizedReader> open_compressed_tensors(const QuantizedFiles& files);
std::unique_ptr<QuantizedReader> open_fp8(const QuantizedFiles& files);
std::unique_ptr<QuantizedReader> open_torchao(const QuantizedFiles& files);
std::unique_ptr<QuantizedReader> open_hqq(const QuantizedFiles& files);
std::unique_ptr<QuantizedReader> open_bitnet(const QuantizedFiles& files);
std::unique_ptr<QuantizedReader> open_container(const QuantizedFiles& files);

}  // namespace lowbit
