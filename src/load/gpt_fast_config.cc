#include "load/gpt_fast_config.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/text.h"
#include "load/json.h"

namespace lowbit {
namespace {

using nlohmann::json;

// What the shapes of the tensors do not show, by the names of the harness. Where several names are
// part of a folder's, the longest is meant.
struct NamedShape {
  std::string_view name;  // lower case
  int64_t heads, kv_heads, context;
  double rope_theta;
  double rope_factor = 0;  // of llama3's scaling; 0: none
};
constexpr NamedShape kShapes[] = {
    {"stories15m", 6, 6, 2048, 1e4},
    {"stories110m", 12, 12, 2048, 1e4},
    {"7b", 32, 32, 4096, 1e4},
    {"13b", 40, 40, 4096, 1e4},
    {"30b", 52, 52, 2048, 1e4},
    {"34b", 64, 8, 16384, 1e6},
    {"70b", 64, 8, 4096, 1e4},
    {"codellama-7b-python-hf", 32, 32, 16384, 1e6},
    {"mistral-7b", 32, 8, 32768, 1e4},
    {"llama-3-8b", 32, 8, 8192, 5e5},
    {"llama-3-70b", 64, 8, 8192, 5e5},
    {"llama-3.1-8b", 32, 8, 131072, 5e5, 8},
    {"llama-3.1-70b", 64, 8, 131072, 5e5, 8},
    {"llama-3.1-405b", 128, 8, 131072, 5e5, 8},
    {"llama-3.2-1b", 32, 8, 131072, 5e5, 32},
    {"llama-3.2-3b", 24, 8, 131072, 5e5, 32},
};

// [rows, columns] of a matrix that every model has.
std::pair<int64_t, int64_t> matrix(const Folder& folder, const StoredTensors& tensors,
                                   const std::string& name) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) fail_missing(folder.path(), name, tensors);
  const std::vector<int64_t>& shape = found->second.shape;
  if (shape.size() != 2) {
    throw_error("{}: {}: has shape {}, expected a matrix", found->second.file, name,
                shape_text(shape));
  }
  return {shape[0], shape[1]};
}

json shapes_of(const Folder& folder, const StoredTensors& tensors) {
  const auto [vocab, hidden] = matrix(folder, tensors, "tok_embeddings.weight");
  const auto [inter, columns] = matrix(folder, tensors, "layers.0.feed_forward.w1.weight");
  int64_t layers = 0;
  while (tensors.contains(fmt::format("layers.{}.attention.wo.weight", layers))) ++layers;
  if (columns != hidden) {
    throw_error("{}: layers.0.feed_forward.w1.weight: has {} columns, but tok_embeddings {}",
                folder.path(), columns, hidden);
  }
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"hidden_act", "silu"},
          {"vocab_size", vocab},
          {"hidden_size", hidden},
          {"intermediate_size", inter},
          {"num_hidden_layers", layers},
          {"tie_word_embeddings", !tensors.contains("output.weight")}};
}

void set_llama3_scaling(json* config, double factor) {
  (*config)["rope_scaling"] = {{"rope_type", "llama3"},
                               {"factor", factor},
                               {"low_freq_factor", 1.0},
                               {"high_freq_factor", 4.0},
                               {"original_max_position_embeddings", 8192}};
}

Hyperparams from_params(const std::string& path, const Bytes& file, json config) {
  const Hyperparams params = Hyperparams::from_json(path, file.text());
  const int64_t heads = params.integer("n_heads", 1, 1 << 16);
  config["num_attention_heads"] = heads;
  config["num_key_value_heads"] = params.integer_or("n_kv_heads", heads, 1, heads);
  config["rms_norm_eps"] = params.number("norm_eps", 0, 1);
  config["rope_theta"] = params.number_or("rope_theta", 1e4, 1, 1e12);
  config["max_position_embeddings"] = params.integer_or("max_seq_len", 2048, 1, 1 << 24);
  if (params.boolean_or("use_scaled_rope", false)) {
    // params.json does not say the factor: 32 in Llama 3.2, whose models are the narrow ones.
    const bool narrow = config["hidden_size"].get<int64_t>() <= 3072;
    set_llama3_scaling(&config, params.number_or("rope_scaling_factor", narrow ? 32 : 8, 1, 1e6));
    config["max_position_embeddings"] = params.integer_or("max_seq_len", 131072, 1, 1 << 24);
  }
  return Hyperparams::from_tree(path, std::move(config));
}

Hyperparams from_name(const Folder& folder, json config) {
  namespace fs = std::filesystem;
  std::string name = fs::absolute(fs::path(folder.path()) / ".").parent_path().filename().string();
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const NamedShape* shape = nullptr;
  std::vector<std::string> known;
  for (const NamedShape& row : kShapes) {
    known.emplace_back(row.name);
    if (name.find(row.name) == std::string::npos) continue;
    if (!shape || row.name.size() > shape->name.size()) shape = &row;
  }
  if (!shape) {
    throw_error(
        "{}: has neither config.json nor params.json, and the name of the folder is no model's "
        "(known: {}); put the model's config.json there",
        folder.path(), join(known, ", "));
  }
  config["num_attention_heads"] = shape->heads;
  config["num_key_value_heads"] = shape->kv_heads;
  config["max_position_embeddings"] = shape->context;
  config["rms_norm_eps"] = 1e-5;
  config["rope_theta"] = shape->rope_theta;
  if (shape->rope_factor > 0) set_llama3_scaling(&config, shape->rope_factor);
  return Hyperparams::from_tree(folder.path() + " (shape by the folder's name)", std::move(config));
}

}  // namespace

Hyperparams gpt_fast_config(const Folder& folder, const StoredTensors& tensors) {
  if (const auto file = folder.find("config.json")) {
    return Hyperparams::from_json(folder.path_of("config.json"), file->text());
  }
  json config = shapes_of(folder, tensors);
  if (const auto file = folder.find("params.json")) {
    return from_params(folder.path_of("params.json"), *file, std::move(config));
  }
  return from_name(folder, std::move(config));
}

}  // namespace lowbit
