// A Llama in a GGUF file, seen as if it were a Hugging Face folder. Three things differ there:
//   names   blk.3.attn_q.weight is model.layers.3.self_attn.q_proj.weight
//   rows    llama.cpp's converter interleaves the rotary pairs in the rows of attn_q and attn_k
//           (pairs 2i, 2i+1 instead of i, i + head_dim/2); tensor() puts them back
//   rope    the llama3 scaling is not metadata but a tensor: rope_freqs.weight, [head_dim / 2] f32,
//           by which each inverse frequency is divided. It keeps its name.
// The scale of a whole NVFP4 tensor X.weight is a tensor of its own: X.scale, one f32.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/text.h"
#include "load/containers.h"
#include "load/gguf.h"
#include "load/gguf_tokenizer.h"
#include "load/rotary_pairs.h"

namespace lowbit {
namespace {

using nlohmann::json;

constexpr int64_t kMaxSize = int64_t{1} << 31;
constexpr double kMaxNumber = 1e30;

struct NamePair {
  std::string_view gguf, hf;
};
constexpr NamePair kModelNames[] = {{"token_embd.", "model.embed_tokens."},
                                    {"output_norm.", "model.norm."},
                                    {"output.", "lm_head."}};
constexpr NamePair kLayerNames[] = {
    {"attn_norm.", "input_layernorm."},    {"attn_q.", "self_attn.q_proj."},
    {"attn_k.", "self_attn.k_proj."},      {"attn_v.", "self_attn.v_proj."},
    {"attn_output.", "self_attn.o_proj."}, {"ffn_norm.", "post_attention_layernorm."},
    {"ffn_gate.", "mlp.gate_proj."},       {"ffn_up.", "mlp.up_proj."},
    {"ffn_down.", "mlp.down_proj."}};

template <size_t N>
std::string translate(std::string_view name, const NamePair (&table)[N]) {
  for (const NamePair& pair : table) {
    if (name.starts_with(pair.gguf)) {
      return std::string(pair.hf) + std::string(name.substr(pair.gguf.size()));
    }
  }
  return std::string(name);
}

std::string hf_name(std::string_view name) {
  constexpr std::string_view kBlock = "blk.";
  if (!name.starts_with(kBlock)) return translate(name, kModelNames);
  const size_t dot = name.find('.', kBlock.size());
  if (dot == std::string_view::npos) return std::string(name);
  return fmt::format("model.layers.{}.{}", name.substr(kBlock.size(), dot - kBlock.size()),
                     translate(name.substr(dot + 1), kLayerNames));
}

void check_is_whole_llama(const Hyperparams& gguf) {
  const std::string architecture = gguf.text("general.architecture");
  if (architecture != "llama") {
    gguf.fail("general.architecture",
              fmt::format("is \"{}\"; supported: llama", printable(architecture)));
  }
  if (const int64_t parts = gguf.integer_or("split.count", 1, 0, kMaxSize); parts > 1) {
    gguf.fail("split.count", fmt::format("this file is one of {} parts; join them first "
                                         "(llama-gguf-split --merge)",
                                         parts));
  }
  if (gguf.integer_or("llama.expert_count", 0, 0, kMaxSize) > 0) {
    gguf.fail("llama.expert_count", "mixture-of-experts models are not supported");
  }
}

// Copies a checked integer or number to its Hugging Face name, if it is there.
struct Copier {
  const Hyperparams& from;
  json& to;
  void integer(const char* key, const char* hf) const {
    if (from.has(key)) to[hf] = from.integer(key, 0, kMaxSize);
  }
  void number(const char* key, const char* hf) const {
    if (from.has(key)) to[hf] = from.number(key, 0, kMaxNumber);
  }
};

Hyperparams hf_config(const GgufFile& file) {
  const Hyperparams& gguf = file.values();
  check_is_whole_llama(gguf);
  json config = {{"architectures", {"LlamaForCausalLM"}}, {"model_type", "llama"}};
  const Copier copy{gguf, config};
  config["hidden_act"] = "silu";
  config["num_hidden_layers"] = gguf.integer("llama.block_count", 1, kMaxSize);
  config["hidden_size"] = gguf.integer("llama.embedding_length", 1, kMaxSize);
  config["intermediate_size"] = gguf.integer("llama.feed_forward_length", 1, kMaxSize);
  const int64_t heads = gguf.integer("llama.attention.head_count", 1, kMaxSize);
  config["num_attention_heads"] = heads;
  config["num_key_value_heads"] = gguf.integer_or("llama.attention.head_count_kv", heads, 1, heads);
  const int64_t hidden = config["hidden_size"].get<int64_t>();
  const int64_t head_dim =
      gguf.integer_or("llama.attention.key_length", hidden / heads, 1, kMaxSize);
  config["head_dim"] = head_dim;
  if (gguf.integer_or("llama.attention.value_length", head_dim, 1, kMaxSize) != head_dim) {
    gguf.fail("llama.attention.value_length", "differs from key_length, which is not supported");
  }
  if (gguf.integer_or("llama.rope.dimension_count", head_dim, 1, kMaxSize) != head_dim) {
    gguf.fail("llama.rope.dimension_count",
              fmt::format("differs from the head size {}, which is not supported", head_dim));
  }
  config["rms_norm_eps"] = gguf.number("llama.attention.layer_norm_rms_epsilon", 0, 1);
  config["rope_theta"] = gguf.number_or("llama.rope.freq_base", 10000.0, 1e-3, kMaxNumber);
  copy.integer("llama.context_length", "max_position_embeddings");
  copy.integer("llama.attention.sliding_window", "sliding_window");
  copy.integer("tokenizer.ggml.bos_token_id", "bos_token_id");
  copy.integer("llama.vocab_size", "vocab_size");
  if (!config.contains("vocab_size")) {
    config["vocab_size"] = file.texts("tokenizer.ggml.tokens").size();
  }
  config["tie_word_embeddings"] = !file.tensors().contains("output.weight");
  config["attention_bias"] = file.tensors().contains("blk.0.attn_q.bias");
  config["mlp_bias"] = file.tensors().contains("blk.0.ffn_gate.bias");
  const std::string scaling = gguf.text_or("llama.rope.scaling.type", "none");
  if (scaling != "none") {
    json& rope = config["rope_scaling"] = {{"rope_type", scaling}};
    const Copier copy_rope{gguf, rope};
    copy_rope.number("llama.rope.scaling.factor", "factor");
    copy_rope.integer("llama.rope.scaling.original_context_length",
                      "original_max_position_embeddings");
  }
  return Hyperparams::from_tree(file.path(), std::move(config));
}

class GgufCheckpoint final : public Checkpoint {
 public:
  GgufCheckpoint(const std::string& model, const Bytes& bytes)
      : file_(model, bytes), config_(hf_config(file_)) {
    for (const auto& [name, tensor] : file_.tensors()) {
      if (!tensors_.emplace(hf_name(name), tensor).second) {
        throw_error("{}: {}: the tensor is there under two names", model, printable(name, 200));
      }
    }
    take_outer_scales();
  }

  std::string source() const override { return file_.path(); }
  std::string container() const override { return fmt::format("gguf v{}", file_.version()); }
  const Hyperparams& config() const override { return config_; }
  std::unique_ptr<Tokenizer> tokenizer() const override { return load_gguf_tokenizer(file_); }

  std::vector<std::string> tensor_names() const override {
    std::vector<std::string> names;
    for (const auto& [name, tensor] : tensors_) names.push_back(name);
    return names;
  }
  bool has(const std::string& name) const override { return tensors_.contains(name); }

  QTensor tensor(const std::string& name, int64_t n, int64_t k) const override {
    const auto at = tensors_.find(name);
    if (at == tensors_.end()) fail_missing(file_.path(), name, tensors_);
    const auto outer = outer_scales_.find(name);
    QTensor stored =
        gguf_tensor(name, at->second, n, k, outer == outer_scales_.end() ? 1 : outer->second);
    const bool key = name.find(".self_attn.k_proj.") != std::string::npos;
    if (!key && name.find(".self_attn.q_proj.") == std::string::npos) return stored;
    const int64_t heads =
        config_.integer(key ? "num_key_value_heads" : "num_attention_heads", 1, kMaxSize);
    return split_rotary_pairs(file_.path(), name, stored, heads);
  }

  QTensor outline(const std::string& name, int64_t n, int64_t k) const override {
    const auto at = tensors_.find(name);
    if (at == tensors_.end()) fail_missing(file_.path(), name, tensors_);
    return gguf_outline(name, at->second, n, k);
  }
  std::vector<StoredType> stored_types() const override { return count_types(tensors_); }
  std::string hash() const override { return hash_of(tensors_); }

  std::string config_json() const override {
    json config = json::parse(config_.json_text());
    config["eos_token_id"] = eos_ids();
    return config.dump();
  }
  std::vector<SideFile> side_files() const override {
    auto text = std::make_shared<const std::string>(file_.without_tensors());
    return {{std::string(kTokenizerGguf), {std::as_bytes(std::span(*text)), text}}};
  }

  std::vector<int32_t> eos_ids() const override {
    std::vector<int32_t> ids;
    for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                            "tokenizer.ggml.eom_token_id"}) {
      if (!file_.values().has(key)) continue;
      const auto id = static_cast<int32_t>(file_.values().integer(key, 0, INT32_MAX));
      if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
    }
    return ids;
  }

 private:
  // X.scale becomes part of X.weight; X.input_scale is for tools that round activations to nvfp4.
  void take_outer_scales() {
    constexpr std::string_view kWeight = "weight";
    for (auto& [name, tensor] : tensors_) {
      if (tensor.type != "NVFP4" || !name.ends_with(kWeight)) continue;
      const std::string module = name.substr(0, name.size() - kWeight.size());
      tensors_.erase(module + "input_scale");
      const auto at = tensors_.find(module + "scale");
      if (at == tensors_.end()) continue;
      float scale = 0;
      if (at->second.type == "F32" && at->second.data.data.size() == sizeof scale) {
        std::memcpy(&scale, at->second.data.data.data(), sizeof scale);
      }
      if (!(scale > 0 && std::isfinite(scale))) {
        throw_error("{}: {}scale: must be one F32 number above 0, the scale of {}", file_.path(),
                    printable(module, 200), printable(name, 200));
      }
      outer_scales_[name] = scale;
      tensors_.erase(at);
    }
  }

  GgufFile file_;
  Hyperparams config_;
  StoredTensors tensors_;                      // under Hugging Face's names
  std::map<std::string, float> outer_scales_;  // of NVFP4 tensors
};

}  // namespace

std::unique_ptr<Checkpoint> open_gguf_checkpoint(const std::string& model, const Bytes& file) {
  return std::make_unique<GgufCheckpoint>(model, file);
}

}  // namespace lowbit
