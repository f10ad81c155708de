// Weights that need no download: the shapes of configs/models with deterministic random numbers.
//   norm vectors   1
//   matrices       normal, deviation 0.02, as Llama is initialised; what writes into the residual
//                  stream (o_proj, down_proj) is divided by sqrt(2 layers), so that activations
//                  keep their size through 80 layers (GPT-2, Radford et al. 2019)
// An element depends on the seed, the tensor's name, its row and its column: not on threads or
// order. The matrices of layer L are those of layer 0 with their rows turned by L: a loader
// quantizes them once (WeightLoader), and a model of 80 layers is ready in the time of one.
#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/fp.h"
#include "base/hash.h"
#include "base/rng.h"
#include "base/text.h"
#include "base/thread_pool.h"
#include "load/containers.h"
#include "load/embedded.h"

namespace lowbit {
namespace {

constexpr std::string_view kPrefix = "synthetic:";
constexpr std::string_view kShapes = "configs/models/";
constexpr std::string_view kYaml = ".yaml";
constexpr float kDeviation = 0.02f;

class SyntheticCheckpoint final : public Checkpoint {
 public:
  SyntheticCheckpoint(std::string model, uint64_t seed, Hyperparams config)
      : model_(std::move(model)), seed_(seed), config_(std::move(config)) {
    const int64_t layers = config_.integer("num_hidden_layers", 1, 1 << 16);
    residual_deviation_ = kDeviation / std::sqrt(2.0f * static_cast<float>(layers));
  }

  std::string source() const override { return model_; }
  std::string container() const override { return "synthetic"; }
  bool synthetic() const override { return true; }
  const Hyperparams& config() const override { return config_; }
  std::vector<std::string> tensor_names() const override { return {}; }
  std::unique_ptr<Tokenizer> tokenizer() const override { return nullptr; }
  // Random weights know no end: a run must not stop when such an id happens to be drawn.
  std::vector<int32_t> eos_ids() const override { return {}; }

  // What a model may or may not have: no biases, no rope factors, no head of its own if tied.
  bool has(const std::string& name) const override {
    if (name == "lm_head.weight") return !config_.boolean_or("tie_word_embeddings", false);
    return name.ends_with(".weight") && name != "rope_freqs.weight";
  }

  QTensor outline(const std::string& name, int64_t n, int64_t k) const override {
    if (!has(name)) throw_error("{}: {}: this shape has no such tensor", model_, name);
    return {format_of(FormatId::kBF16), n, k};
  }
  std::vector<StoredType> stored_types() const override { return {}; }
  std::string hash() const override {
    Hash hash;
    hash.add(config_.json_text());
    hash.add(seed_);
    return fmt::format("{:016x}", hash.value());
  }
  std::string config_json() const override { return config_.json_text(); }
  std::vector<SideFile> side_files() const override { return {}; }

  std::optional<TurnedRows> turned_rows(const std::string& name, int64_t n) const override {
    constexpr std::string_view kLayers = "model.layers.";
    if (!name.starts_with(kLayers) || is_norm(name)) return std::nullopt;
    const size_t dot = std::min(name.find('.', kLayers.size()), name.size());
    const auto layer =
        parse_int(std::string_view(name).substr(kLayers.size(), dot - kLayers.size()));
    if (!layer || dot == name.size()) return std::nullopt;
    return TurnedRows{std::string(kLayers) + "0" + name.substr(dot), *layer % n};
  }

  QTensor tensor(const std::string& name, int64_t n, int64_t k) const override {
    QTensorBuilder builder = build_qtensor(outline(name, n, k).format, n, k);
    auto* out = reinterpret_cast<uint16_t*>(builder.codes);
    const bool norm = is_norm(name);
    const bool residual = name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight");
    const float deviation = residual ? residual_deviation_ : kDeviation;
    const TurnedRows rows = turned_rows(name, n).value_or(TurnedRows{name});
    const Rng rng(seed_, fnv1a(rows.shared));
    const int64_t first = rows.first * k;
    thread_pool().for_ranges(n * k, 4096, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t at = i + first < n * k ? i + first : i + first - n * k;
        const float value = norm ? 1.0f : rng.gaussian(static_cast<uint64_t>(at)) * deviation;
        out[i] = f32_to_bf16(value);
      }
    });
    return builder.tensor;
  }

 private:
  static bool is_norm(const std::string& name) { return name.ends_with("norm.weight"); }

  std::string model_;
  uint64_t seed_;
  Hyperparams config_;
  float residual_deviation_ = 0;
};

}  // namespace

std::vector<std::string> synthetic_names() {
  std::vector<std::string> names;
  for (const EmbeddedFile& file : embedded_files()) {
    if (!file.path.starts_with(kShapes) || !file.path.ends_with(kYaml)) continue;
    const std::string_view name = file.path.substr(kShapes.size());
    names.emplace_back(name.substr(0, name.size() - kYaml.size()));
  }
  return names;
}

std::unique_ptr<Checkpoint> open_synthetic_checkpoint(const std::string& model) {
  const std::string_view spec = std::string_view(model).substr(kPrefix.size());
  const size_t at = spec.find('@');
  const std::string name(spec.substr(0, at));
  uint64_t seed = 0;
  if (at != std::string_view::npos) {
    const auto number = parse_int(spec.substr(at + 1));
    if (!number || *number < 0) {
      throw_error("{}: seed `{}`: expected an integer from 0 up, as in synthetic:llama3.1-8b@1",
                  printable(model), printable(spec.substr(at + 1)));
    }
    seed = static_cast<uint64_t>(*number);
  }
  const std::string file = std::string(kShapes) + name + std::string(kYaml);
  for (const EmbeddedFile& shape : embedded_files()) {
    if (shape.path != file) continue;
    const std::string_view text(reinterpret_cast<const char*>(shape.begin),
                                static_cast<size_t>(shape.end - shape.begin));
    return std::make_unique<SyntheticCheckpoint>(model, seed, Hyperparams::from_yaml(file, text));
  }
  const std::vector<std::string> names = synthetic_names();
  const std::string near = suggestion(name, names);
  throw_error("{}: unknown shape `{}`{} known: {}", printable(model), printable(name),
              near.empty() ? ";" : near, join(names, ", "));
}

}  // namespace lowbit
