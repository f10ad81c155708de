// model.pth of the torchao llama harness and of gpt-fast, seen as if it were a Hugging Face folder:
//   names   layers.3.feed_forward.w1.weight is model.layers.3.mlp.gate_proj.weight
//   wqkv    one matrix, q's rows first, then k's and v's; Meta's own files have wq, wk and wv
//   rows    rotary pairs interleaved in q and k (load/rotary_pairs.h)
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/text.h"
#include "load/containers.h"
#include "load/gpt_fast_config.h"
#include "load/rotary_pairs.h"
#include "load/torch_file.h"
#include "tokenizer/load.h"

namespace lowbit {
namespace {

constexpr std::string_view kSupported = "F32, F16, BF16";
constexpr std::string_view kLayers = "layers.";
constexpr std::string_view kQkv = "attention.wqkv.weight";
constexpr int64_t kMaxSize = int64_t{1} << 31;

struct NamePair {
  std::string_view gpt_fast, hf;
};
constexpr NamePair kModelNames[] = {{"tok_embeddings.weight", "model.embed_tokens.weight"},
                                    {"norm.weight", "model.norm.weight"},
                                    {"output.weight", "lm_head.weight"}};
constexpr NamePair kLayerNames[] = {{"attention_norm.weight", "input_layernorm.weight"},
                                    {"attention.wq.weight", "self_attn.q_proj.weight"},
                                    {"attention.wk.weight", "self_attn.k_proj.weight"},
                                    {"attention.wv.weight", "self_attn.v_proj.weight"},
                                    {"attention.wo.weight", "self_attn.o_proj.weight"},
                                    {"ffn_norm.weight", "post_attention_layernorm.weight"},
                                    {"feed_forward.w1.weight", "mlp.gate_proj.weight"},
                                    {"feed_forward.w3.weight", "mlp.up_proj.weight"},
                                    {"feed_forward.w2.weight", "mlp.down_proj.weight"}};

template <size_t N>
std::string translate(std::string_view name, const NamePair (&table)[N]) {
  for (const NamePair& pair : table) {
    if (name == pair.gpt_fast) return std::string(pair.hf);
  }
  return std::string(name);
}

// "3." and the rest of layers.3.attention.wo.weight; nothing of any other name.
std::pair<std::string_view, std::string_view> split_layer(std::string_view name) {
  if (!name.starts_with(kLayers)) return {};
  const size_t dot = name.find('.', kLayers.size());
  if (dot == std::string_view::npos) return {};
  return {name.substr(kLayers.size(), dot + 1 - kLayers.size()), name.substr(dot + 1)};
}

StoredTensors read_tensors(const Folder& folder, const std::string& file) {
  StoredTensors tensors = parse_torch_file(folder.path_of(file), folder.open(file));
  if (tensors.contains("model.embed_tokens.weight")) {
    throw_error(
        "{}: holds Hugging Face's tensor names; name it pytorch_model.bin, with config.json beside "
        "it, and pass the folder",
        folder.path_of(file));
  }
  if (!tensors.contains("tok_embeddings.weight")) {
    fail_missing(folder.path_of(file), "tok_embeddings.weight", tensors);
  }
  if (folder.find("consolidated.01.pth") && file.starts_with("consolidated.")) {
    throw_error("{}: is one of several parts that Meta cut for several GPUs; join them first",
                folder.path_of(file));
  }
  return tensors;
}

class GptFastCheckpoint final : public Checkpoint {
 public:
  GptFastCheckpoint(const std::string& model, std::unique_ptr<Folder> folder,
                    const std::string& file)
      : model_(model),
        folder_(std::move(folder)),
        path_(folder_->path_of(file)),
        stored_(read_tensors(*folder_, file)),
        config_(gpt_fast_config(*folder_, stored_)),
        heads_(config_.integer("num_attention_heads", 1, kMaxSize)),
        kv_heads_(config_.integer_or("num_key_value_heads", heads_, 1, heads_)) {
    for (const auto& [name, tensor] : stored_) {
      const auto [layer, rest] = split_layer(name);
      if (rest == kQkv) {
        split_qkv(fmt::format("model.layers.{}self_attn.", layer), name, tensor);
      } else if (!layer.empty()) {
        add(fmt::format("model.layers.{}{}", layer, translate(rest, kLayerNames)), tensor);
      } else {
        add(translate(name, kModelNames), tensor);
      }
    }
  }

  std::string source() const override { return model_; }
  std::string container() const override { return "pytorch, gpt-fast names"; }
  const Hyperparams& config() const override { return config_; }
  std::unique_ptr<Tokenizer> tokenizer() const override { return load_tokenizer(*folder_); }

  std::vector<std::string> tensor_names() const override {
    std::vector<std::string> names;
    for (const auto& [name, tensor] : tensors_) names.push_back(name);
    return names;
  }
  bool has(const std::string& name) const override { return tensors_.contains(name); }

  QTensor tensor(const std::string& name, int64_t n, int64_t k) const override {
    QTensor stored = plain_tensor(name, find(name), n, k, kSupported);
    const bool key = name.ends_with(".self_attn.k_proj.weight");
    if (!key && !name.ends_with(".self_attn.q_proj.weight")) return stored;
    return split_rotary_pairs(path_, name, std::move(stored), key ? kv_heads_ : heads_);
  }
  QTensor outline(const std::string& name, int64_t n, int64_t k) const override {
    return plain_outline(name, find(name), n, k, kSupported);
  }
  std::vector<StoredType> stored_types() const override { return count_types(stored_); }
  std::string hash() const override { return hash_of(stored_); }

  std::string config_json() const override { return config_.json_text(); }
  std::vector<SideFile> side_files() const override { return side_files_of(*folder_); }
  std::vector<int32_t> eos_ids() const override { return folder_eos_ids(*folder_, config_); }

 private:
  const StoredTensor& find(const std::string& name) const {
    const auto at = tensors_.find(name);
    if (at == tensors_.end()) fail_missing(path_, name, tensors_);
    return at->second;
  }

  void add(const std::string& name, StoredTensor tensor) {
    if (!tensors_.emplace(name, std::move(tensor)).second) {
      throw_error("{}: {}: the tensor is there under two names", path_, printable(name, 200));
    }
  }

  void split_qkv(const std::string& prefix, const std::string& name, const StoredTensor& qkv) {
    const int64_t rows = qkv.shape.size() == 2 ? qkv.shape[0] : 0;
    const int64_t groups = heads_ + 2 * kv_heads_;
    const bool fits =
        rows > 0 && rows % groups == 0 && qkv.data.data.size() % static_cast<size_t>(rows) == 0;
    if (!fits) {
      throw_error("{}: {}: {} {} cannot be split into q of {} and k and v of {} heads each", path_,
                  printable(name, 200), qkv.type, shape_text(qkv.shape), heads_, kv_heads_);
    }
    const size_t row_bytes = qkv.data.data.size() / static_cast<size_t>(rows);
    int64_t first = 0;
    for (const auto& [part, heads] : {std::pair{"q", heads_}, {"k", kv_heads_}, {"v", kv_heads_}}) {
      const int64_t count = rows / groups * heads;
      StoredTensor tensor = qkv;
      tensor.shape[0] = count;
      tensor.data = qkv.data.slice(static_cast<size_t>(first) * row_bytes,
                                   static_cast<size_t>(count) * row_bytes);
      add(fmt::format("{}{}_proj.weight", prefix, part), std::move(tensor));
      first += count;
    }
  }

  std::string model_;
  std::unique_ptr<Folder> folder_;
  std::string path_;
  StoredTensors stored_;  // as the file names them
  Hyperparams config_;
  int64_t heads_, kv_heads_;
  StoredTensors tensors_;  // under Hugging Face's names
};

}  // namespace

std::unique_ptr<Checkpoint> open_gpt_fast_checkpoint(const std::string& model,
                                                     std::unique_ptr<Folder> folder,
                                                     const std::string& file) {
  return std::make_unique<GptFastCheckpoint>(model, std::move(folder), file);
}

}  // namespace lowbit
