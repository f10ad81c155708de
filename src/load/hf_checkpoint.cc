// A Hugging Face model folder, on disk or linked into the binary.
#include <algorithm>

#include "base/check.h"
#include "base/text.h"
#include "load/containers.h"
#include "load/gguf_tokenizer.h"
#include "load/quantized.h"
#include "load/safetensors.h"
#include "load/torch_file.h"
#include "tokenizer/load.h"

namespace lowbit {
namespace {

constexpr std::string_view kSupported = "F32, F16, BF16";

// Everything that is neither weights nor config.json.
bool is_side_file(std::string_view name) {
  for (const std::string_view weights :
       {".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json", ".pt", ".pth",
        ".gguf", ".h5", ".msgpack", ".onnx"}) {
    if (name.ends_with(weights) && name != kTokenizerGguf) return false;
  }
  return name != "config.json";
}

class HfCheckpoint final : public Checkpoint {
 public:
  HfCheckpoint(const std::string& model, std::unique_ptr<Folder> folder)
      : model_(model), folder_(std::move(folder)), config_(read_config(*folder_)) {
    torch_ = !has_safetensors() && has_torch_weights(*folder_);
    if (!torch_) check_safetensors();
    tensors_ = torch_ ? open_torch_folder(*folder_) : open_safetensors(*folder_);
    if (const auto quantization = config_.child("quantization_config")) {
      quantized_.emplace(QuantizedFiles{*folder_, tensors_, *quantization});
    }
    eos_ids_ = folder_eos_ids(*folder_, config_);
  }

  std::string source() const override { return model_; }
  std::string container() const override {
    const std::string files = torch_ ? "pytorch" : "safetensors";
    return quantized_ ? fmt::format("{}, weights stored by {}", files, quantized_->method())
                      : files;
  }
  const Hyperparams& config() const override { return config_; }
  std::vector<int32_t> eos_ids() const override { return eos_ids_; }
  std::unique_ptr<Tokenizer> tokenizer() const override {
    const std::string gguf(kTokenizerGguf);
    if (const auto file = folder_->find(gguf)) {
      return load_gguf_tokenizer(GgufFile(folder_->path_of(gguf), *file));
    }
    return load_tokenizer(*folder_);
  }

  std::vector<std::string> tensor_names() const override {
    std::vector<std::string> names;
    if (quantized_) names = quantized_->names();
    for (const auto& [name, tensor] : tensors_) {
      const bool packed = quantized_ && (quantized_->has(name) || quantized_->is_part(name));
      if (!packed) names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    return names;
  }
  bool has(const std::string& name) const override {
    return tensors_.contains(name) || (quantized_ && quantized_->has(name));
  }

  QTensor tensor(const std::string& name, int64_t n, int64_t k) const override {
    if (quantized_ && quantized_->has(name)) return quantized_->tensor(name, n, k);
    return plain_tensor(name, find(name), n, k, kSupported);
  }
  QTensor outline(const std::string& name, int64_t n, int64_t k) const override {
    if (quantized_ && quantized_->has(name)) return quantized_->outline(name, n, k);
    return plain_outline(name, find(name), n, k, kSupported);
  }
  std::vector<std::string> remarks() const override {
    return quantized_ ? quantized_->remarks() : std::vector<std::string>();
  }
  std::vector<StoredType> stored_types() const override { return count_types(tensors_); }
  std::string hash() const override { return hash_of(tensors_); }

  std::string config_json() const override {
    return std::string(folder_->open("config.json").text());
  }
  std::vector<SideFile> side_files() const override { return side_files_of(*folder_); }

 private:
  const StoredTensor& find(const std::string& name) const {
    const auto at = tensors_.find(name);
    if (at == tensors_.end()) fail_missing(folder_->path(), name, tensors_);
    return at->second;
  }

  static Hyperparams read_config(const Folder& folder) {
    const auto file = folder.find("config.json");
    if (file) return Hyperparams::from_json(folder.path_of("config.json"), file->text());
    for (const std::string& name : folder.names()) {
      if (name.ends_with(".gguf")) {
        throw_error("{}: has no config.json, but {}: pass that file as the model", folder.path(),
                    printable(name));
      }
    }
    throw_error(
        "{}: has no config.json; a model folder holds config.json, *.safetensors and "
        "tokenizer files",
        folder.path());
  }

  bool has_safetensors() const {
    const std::vector<std::string> names = folder_->names();
    return std::any_of(names.begin(), names.end(), [](const std::string& name) {
      return name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json");
    });
  }

  void check_safetensors() const {
    if (has_safetensors()) return;
    for (const std::string& name : folder_->names()) {
      if (!name.ends_with(".bin") && !name.ends_with(".pth") && !name.ends_with(".pt")) continue;
      throw_error(
          "{}: holds {}, but weights are read from *.safetensors, pytorch_model*.bin or, with the "
          "names of gpt-fast, model.pth; if it is one of these under another name, rename it",
          folder_->path(), printable(name));
    }
    throw_error("{}: holds config.json but no weights (*.safetensors, pytorch_model*.bin)",
                folder_->path());
  }

  std::string model_;
  std::unique_ptr<Folder> folder_;
  Hyperparams config_;
  bool torch_ = false;  // pytorch_model*.bin, not safetensors
  StoredTensors tensors_;
  std::optional<QuantizedWeights> quantized_;  // views folder_ and tensors_
  std::vector<int32_t> eos_ids_;
};

}  // namespace

std::unique_ptr<Checkpoint> open_hf_checkpoint(const std::string& model,
                                               std::unique_ptr<Folder> folder) {
  return std::make_unique<HfCheckpoint>(model, std::move(folder));
}

std::vector<SideFile> side_files_of(const Folder& folder) {
  std::vector<SideFile> files;
  for (const std::string& name : folder.names()) {
    if (is_side_file(name)) files.push_back({name, folder.open(name)});
  }
  return files;
}

std::vector<int32_t> folder_eos_ids(const Folder& folder, const Hyperparams& config) {
  if (const auto file = folder.find("generation_config.json")) {
    const std::string path = folder.path_of("generation_config.json");
    auto ids = read_eos_ids(Hyperparams::from_json(path, file->text()));
    if (!ids.empty()) return ids;
  }
  return read_eos_ids(config);
}

std::vector<int32_t> read_eos_ids(const Hyperparams& config) {
  std::vector<int32_t> ids;
  for (const int64_t id : config.integers_or("eos_token_id", 0, INT32_MAX)) {
    ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

}  // namespace lowbit
