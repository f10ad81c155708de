// Which architecture in config.json is which model. To add a model: one row.
#include <string_view>

#include "base/check.h"
#include "base/text.h"
#include "models/llama.h"
#include "models/mixture.h"

namespace lowbit {
namespace {

struct Family {
  std::string_view architecture;  // config.json: architectures[0]
  std::string_view model_type;    // config.json: model_type, where architectures is absent
  std::unique_ptr<Model> (*load)(const Checkpoint&, const Backend&, const LoadOptions&);
  std::vector<ScalingGroup> (*scaling_groups)(const Checkpoint&);
  RotationPlan (*rotation_plan)(const Checkpoint&);
};

constexpr Family kFamilies[] = {
    {"LlamaForCausalLM", "llama", load_llama, llama_scaling_groups, llama_rotation_plan},
};

const Family& find_family(const Hyperparams& config) {
  const std::vector<std::string> architectures = config.texts_or("architectures");
  const std::string model_type = config.text_or("model_type", "");
  std::vector<std::string> known;
  for (const Family& family : kFamilies) {
    known.emplace_back(family.architecture);
    if (architectures.empty() ? family.model_type == model_type
                              : family.architecture == architectures[0]) {
      return family;
    }
  }
  if (architectures.empty() && model_type.empty()) {
    config.fail("architectures", "is absent; it must name the model class, e.g. LlamaForCausalLM");
  }
  config.fail(architectures.empty() ? "model_type" : "architectures",
              fmt::format("`{}` is not supported; known: {}",
                          printable(architectures.empty() ? model_type : architectures[0]),
                          join(known, ", ")));
}

}  // namespace

namespace {

LoadOptions outline_of(const LoadOptions& options) {
  LoadOptions outline = options;
  outline.plan_only = true;
  outline.progress = nullptr;
  outline.load_trace = nullptr;
  outline.memory_trace = nullptr;
  return outline;
}

void check_policy(const LayerPolicy& policy, const Model& outline) {
  std::vector<LayerTensor> layers;
  for (const TensorUse& use : outline.tensors()) {
    if (!use.layer.empty()) layers.push_back({use.layer, use.tensor});
  }
  policy.check_rules_used(layers);
  const std::vector<std::string> skipped = skipped_layers(outline.tensors());
  if (skipped.empty() || policy.allow_skip) return;
  const std::string hint = policy.skip_hint.empty() ? "" : " (" + policy.skip_hint + ")";
  if (skipped.size() == 1) {
    throw_error("1 tensor cannot have the format asked for: {}{}", skipped[0], hint);
  }
  throw_error("{}", list_lines(fmt::format("{} tensors cannot have the format asked for{}",
                                           skipped.size(), hint),
                               skipped));
}

}  // namespace

std::unique_ptr<Model> load_model(const Checkpoint& checkpoint, const Backend& backend,
                                  const LoadOptions& asked) {
  const Family& family = find_family(checkpoint.config());
  LoadOptions options = asked;
  if (!options.policy.mixture.empty()) {
    LoadOptions stored = outline_of(asked);
    stored.policy = {};
    resolve_mixture(family.load(checkpoint, backend, stored)->tensors(), &options.policy);
  }
  if (!options.plan_only && options.policy.changes_anything()) {
    check_policy(options.policy, *family.load(checkpoint, backend, outline_of(options)));
  }
  std::unique_ptr<Model> model = family.load(checkpoint, backend, options);
  if (options.plan_only) check_policy(options.policy, *model);
  return model;
}

std::vector<ScalingGroup> scaling_groups(const Checkpoint& checkpoint) {
  return find_family(checkpoint.config()).scaling_groups(checkpoint);
}

RotationPlan rotation_plan(const Checkpoint& checkpoint) {
  return find_family(checkpoint.config()).rotation_plan(checkpoint);
}

}  // namespace lowbit
