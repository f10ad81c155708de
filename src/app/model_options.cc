#include "app/model_options.h"

#include <algorithm>

#include "app/output.h"
#include "app/progress.h"
#include "backends.h"
#include "base/check.h"
#include "base/text.h"
#include "base/thread_pool.h"
#include "models/method_policy.h"

namespace lowbit {
namespace {

FormatId parse_kv_format(const std::string& text) {
  const Format format = with_context("--kv-format", [&] { return parse_format(text); });
  if (format.quantized()) {
    throw_error("--kv-format {}: the key/value cache is bf16, f16 or f32", name(format));
  }
  return format.id;
}

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

LoadOptions load_options(const ModelOptions& options) {
  LoadOptions load;
  if (!options.format.empty()) {
    const Method method = parse_format_flag("--format", options.format);
    with_context("--format", [&] { set_method(method, &load); });
  }
  load.kv_format = parse_kv_format(options.kv_format);
  return load;
}

LoadedModel load_model_for(const ModelOptions& options, bool plan_only) {
  if (options.model.empty()) throw_error("--model is missing; it names what to load");
  if (options.threads != 0) {
    with_context("--threads", [&] { set_threads(options.threads); });
  }
  LoadOptions load_with = load_options(options);
  load_with.plan_only = plan_only;
  Progress progress("loading " + options.model);
  load_with.progress_context = &progress;
  load_with.progress = [](void* context, int64_t done, int64_t total) {
    static_cast<Progress*>(context)->update(done, total, "");
  };
  return load(options.model, chosen_backend(options), load_with);
}

std::vector<std::string> kernels_used(const Model& model) {
  std::vector<std::string> names;
  for (const Linear* linear : model.linears()) {
    for (const LinearPlan::Bucket& bucket : linear->plan.buckets) {
      const std::string kernel(bucket.kernel->name);
      if (std::find(names.begin(), names.end(), kernel) == names.end()) names.push_back(kernel);
    }
  }
  return names;
}

std::string what_runs(const LoadedModel& loaded, const ModelOptions& options) {
  return fmt::format("{}: {}{} on {}, KV {}, kernels {}{}", loaded.checkpoint->source(),
                     format_summary(*loaded.model), asked_for(options.format), loaded.backend->name,
                     options.kv_format, join(kernels_used(*loaded.model), ", "),
                     loaded.checkpoint->synthetic() ? "; random weights" : "");
}

}  // namespace lowbit
