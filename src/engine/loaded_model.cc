#include "engine/loaded_model.h"

#include <set>

#include "base/text.h"
#include "base/timer.h"

namespace lowbit {

LoadedModel load(const std::string& source, const Backend& backend, const LoadOptions& options) {
  const Timer timer;
  LoadedModel loaded;
  loaded.backend = &backend;
  loaded.plan = options.plan;
  loaded.checkpoint = open_checkpoint(source);
  loaded.tokenizer = loaded.checkpoint->tokenizer();
  if (options.load_trace) {
    options.load_trace->spent(LoadPhase::kOpen, source, timer.seconds(), 0);
  }
  loaded.model = load_model(*loaded.checkpoint, backend, options);
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
  for (const Linear* linear : model.linears()) {
    if (linear->name == "head") {
      head = what_it_is(*linear);
    } else {
      distinct.insert(what_it_is(*linear));
    }
  }
  const std::vector<std::string> names(distinct.begin(), distinct.end());
  std::string text = names.size() == 1 ? names[0] : "mixed: " + join(names, ", ");
  if (!head.empty() && (names.size() != 1 || head != names[0])) text += "; head " + head;
  for (const TensorUse& use : model.tensors()) {
    if (use.role != TensorRole::kTable) continue;
    const bool changed = use.choice.format && use.skipped.empty();
    const Format& embedding = changed ? *use.choice.format : use.stored;
    if (embedding.quantized()) text += "; embedding " + name(embedding);
  }
  return text;
}

}  // namespace lowbit
