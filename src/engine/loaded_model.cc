#include "engine/loaded_model.h"

#include <set>

#include "base/check.h"
#include "base/text.h"
#include "base/timer.h"

namespace lowbit {

namespace {

// What all weights take, and what would fit into a device on which so many bytes were free.
[[noreturn]] void fail_for_memory(const Checkpoint& checkpoint, const Backend& backend,
                                  const LoadOptions& asked, double free_bytes,
                                  const OutOfMemory& error) {
  LoadOptions options = asked;
  options.plan_only = true;
  options.progress = nullptr;
  options.load_trace = nullptr;
  options.memory_trace = nullptr;
  const std::unique_ptr<Model> outline = load_model(checkpoint, backend, options);
  const auto bytes = static_cast<double>(outline->memory().total());
  std::string text = fmt::format("{}; the weights take {}", error.what(), format_bytes(bytes));
  if (free_bytes > 0) {
    text += fmt::format(
        " and {} were free: formats of at most {:.1f} bits per weight fit, without a cache",
        format_bytes(free_bytes), 8 * free_bytes / static_cast<double>(outline->parameters()));
  }
  throw OutOfMemory(text);
}

}  // namespace

namespace {

// Quantizers read what PreparedWeights gives them; a plan reads no weights, but a rotation changes
// what there is to plan.
std::unique_ptr<Model> load_prepared(const Checkpoint& checkpoint, const Backend& backend,
                                     const LoadOptions& options, const CalibrationText& text) {
  if (options.plan_only) {
    if (!options.policy.prepare.rotate) return load_model(checkpoint, backend, options);
    return load_model(RotatedCheckpoint(checkpoint, options.policy), backend, options);
  }
  const PreparedWeights prepared(checkpoint, backend, options.policy, text, options.inputs);
  LoadOptions with_inputs = options;
  with_inputs.inputs = prepared.inputs();
  return load_model(prepared.checkpoint(), backend, with_inputs);
}

}  // namespace

LoadedModel load(const std::string& source, const Backend& backend, const LoadOptions& options,
                 const CalibrationText& text) {
  const Timer timer;
  LoadedModel loaded;
  loaded.backend = &backend;
  loaded.plan = options.plan;
  loaded.checkpoint = open_checkpoint(source);
  loaded.tokenizer = loaded.checkpoint->tokenizer();
  if (options.load_trace) {
    options.load_trace->spent(LoadPhase::kOpen, source, timer.seconds(), 0);
  }
  const double free_bytes = backend.device ? static_cast<double>(backend.device->memory().free) : 0;
  try {
    loaded.model = load_prepared(*loaded.checkpoint, backend, options, text);
  } catch (const OutOfMemory& error) {
    fail_for_memory(*loaded.checkpoint, backend, options, free_bytes, error);
  }
  loaded.load_seconds = timer.seconds();
  return loaded;
}

namespace {

std::string what_it_is(const Linear& linear) {
  std::string text = name(linear.format);
  if (linear.activations) text += "+" + name(*linear.activations);
  if (linear.input.decode != linear.input.prefill) {
    text += fmt::format(" (decode: {})", name(linear.input.decode));
  }
  if (linear.resident != linear.format) text += " (resident: " + name(linear.resident) + ")";
  return text;
}

}  // namespace

std::string format_summary(const Model& model) {
  std::set<std::string> distinct;
  std::string head;
  bool codes = false;
  for (const Linear* linear : model.linears()) {
    codes = codes || linear->format.quantized();
    if (linear->name == "head") {
      head = what_it_is(*linear);
    } else {
      distinct.insert(what_it_is(*linear));
    }
  }
  const std::vector<std::string> names(distinct.begin(), distinct.end());
  std::string text = names.size() == 1 ? names[0] : "mixed: " + join(names, ", ");
  if (!head.empty() && (codes || names.size() != 1 || head != names[0])) text += "; head " + head;
  for (const TensorUse& use : model.tensors()) {
    if (use.role != TensorRole::kTable) continue;
    const Format& embedding = final_format(use);
    if (embedding.quantized()) text += "; embedding " + name(embedding);
  }
  return text;
}

}  // namespace lowbit
