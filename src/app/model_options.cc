#include "app/model_options.h"

#include <algorithm>

#include "app/output.h"
#include "app/progress.h"
#include "backends.h"
#include "base/check.h"
#include "base/text.h"
#include "base/thread_pool.h"
#include "models/method_policy.h"
#include "models/mixture.h"

namespace lowbit {
namespace {

// Another tool's name and whose rule it is; "" for our own names, which the formats say.
std::string asked_for(const std::string& format) {
  if (format.empty()) return "";
  const Method method = parse_method(format);
  return method.tool.empty() ? ""
                             : fmt::format(" ({}: {})", printable(format), description(method));
}

}  // namespace

const Backend& chosen_backend(const ModelOptions& options) {
  if (!options.device.empty()) {
    return with_context("--device",
                        [&]() -> const Backend& { return find_backend(options.device); });
  }
  for (const Backend* backend : backends()) {
    if (backend->name == "cpu") return *backend;
  }
  return find_backend("ref");
}

Method parse_format_flag(const std::string& flag, const std::string& text) {
  const bool is_pair = text.find('+') != std::string::npos;
  return with_context(is_pair ? fmt::format("{} {}", flag, printable(text)) : flag,
                      [&] { return parse_method(text); });
}

LayerPolicy layer_policy(const QuantizeOptions& options) {
  LayerPolicy policy;
  if (!options.format.empty()) {
    const Method method = parse_format_flag("--format", options.format);
    policy = policy_of(method);
  }
  if (!options.quantizer.empty()) {
    policy.all.quantizer =
        with_context("--quantizer", [&] { return &find_quantizer(options.quantizer); });
    for (LayerRule& rule : policy.rules) rule.choice.quantizer = policy.all.quantizer;
  }
  if (!options.prepare.empty()) {
    policy.prepare = with_context("--prepare", [&] { return parse_preparation(options.prepare); });
  }
  if (!options.head.empty()) {
    policy.head = with_context("--head", [&] { return parse_tensor_policy(options.head); });
  }
  if (!options.embedding.empty()) {
    std::erase_if(policy.rules, [](const LayerRule& rule) { return rule.match == "embedding"; });
    policy.embedding =
        with_context("--embedding", [&] { return parse_tensor_policy(options.embedding); });
  }
  policy.allow_skip = options.allow_skip;
  policy.skip_hint = "--allow-skip keeps them as stored";
  if (!options.mixed.empty()) {
    const std::pair<const char*, const std::string&> others[] = {
        {"--format", options.format},
        {"--quantizer", options.quantizer},
        {"--head", options.head},
        {"--embedding", options.embedding}};
    for (const auto& [flag, value] : others) {
      if (value.empty()) continue;
      throw_error("{} and --mixed: the file says what every layer becomes; say it there", flag);
    }
    read_mixed(options.mixed, &policy);
  }
  for (const auto& [flag, value] :
       {std::pair("--quantizer", options.quantizer), std::pair("--prepare", options.prepare)}) {
    if (value.empty() || policy.changes_anything()) continue;
    throw_error("{} {}: no format is asked for; give --format or --mixed", flag, printable(value));
  }
  return policy;
}

LoadOptions load_options(const ModelOptions& options) {
  LoadOptions load;
  load.policy = layer_policy(options.quantize);
  const Backend& backend = chosen_backend(options);
  load.plan = with_context("--plan " + printable(options.plan),
                           [&] { return parse_plan(options.plan, backend); });
  load.kv_format = with_context("--kv-format", [&] { return parse_cache_name(options.kv_format); });
  return load;
}

LoadedModel load_model_for(const ModelOptions& options, bool plan_only, MemoryTrace* trace) {
  if (options.model.empty()) throw_error("--model is missing; it names what to load");
  if (options.threads != 0) {
    with_context("--threads", [&] { set_threads(options.threads); });
  }
  LoadOptions load_with = load_options(options);
  load_with.plan_only = plan_only;
  load_with.memory_trace = trace;
  Progress progress("loading " + options.model);
  load_with.progress_context = &progress;
  load_with.progress = [](void* context, int64_t done, int64_t total) {
    static_cast<Progress*>(context)->update(done, total, "");
  };
  if (!plan_only) check_calibration(load_with.policy, options.calibration);
  LoadedModel loaded = load(options.model, chosen_backend(options), load_with, options.calibration);
  for (const std::string& line : skipped_layers(loaded.model->tensors())) {
    note("as stored: " + line);
  }
  for (const std::string& line : preparation_notes(load_with.policy.prepare)) note(line);
  for (const std::string& line : formats_by_layer(loaded.model->tensors())) note(line);
  for (const std::string& line : decoded_layers(loaded.model->tensors())) {
    note("quantized already: " + line + "; the errors of both add up");
  }
  return loaded;
}

std::vector<std::string> preparation_notes(const Preparation& prepare) {
  std::vector<std::string> notes;
  if (prepare.rotate) {
    notes.emplace_back(
        "spinquant: R1 and R2 are folded into the weights; R4, which needs a kernel before down, "
        "is "
        "not done");
  }
  if (prepare.prune.level > 0) {
    notes.push_back(
        fmt::format("bsr: {:.4g} % of the {} x {} blocks of gate, up and down are zero, those of "
                    "least magnitude; stored dense, no kernel here skips zero blocks",
                    100 * prepare.prune.level, prepare.prune.block, prepare.prune.block));
  }
  return notes;
}

std::vector<std::string> kernels_used(const Model& model) {
  std::vector<std::string> names;
  for (const Linear* linear : model.linears()) {
    for (const LinearPlan* plan : linear->plans()) {
      for (const LinearPlan::Bucket& bucket : plan->buckets) {
        const std::string kernel(bucket.kernel->name);
        if (std::find(names.begin(), names.end(), kernel) == names.end()) names.push_back(kernel);
      }
    }
  }
  return names;
}

std::string what_runs(const LoadedModel& loaded, const ModelOptions& options) {
  return fmt::format("{}: {}{} on {}, plan {}, KV {}, kernels {}{}", loaded.checkpoint->source(),
                     format_summary(*loaded.model), asked_for(options.quantize.format),
                     loaded.backend->name, name(loaded.plan), options.kv_format,
                     join(kernels_used(*loaded.model), ", "),
                     loaded.checkpoint->synthetic() ? "; random weights" : "");
}

}  // namespace lowbit
