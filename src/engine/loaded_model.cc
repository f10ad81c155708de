#include "engine/loaded_model.h"

#include <set>

#include "base/text.h"
#include "base/timer.h"

namespace lowbit {

LoadedModel load(const std::string& source, const Backend& backend, const LoadOptions& options) {
  const Timer timer;
  LoadedModel loaded;
  loaded.backend = &backend;
  loaded.checkpoint = open_checkpoint(source);
  loaded.tokenizer = loaded.checkpoint->tokenizer();
  loaded.model = load_model(*loaded.checkpoint, backend, options);
  loaded.load_seconds = timer.seconds();
  return loaded;
}

std::string format_summary(const Model& model) {
  std::set<std::string> distinct;
  for (const Linear* linear : model.linears()) {
    std::string text = name(linear->format);
    if (linear->activations) text += "+" + name(*linear->activations);
    if (linear->resident != linear->format) text += " (resident: " + name(linear->resident) + ")";
    distinct.insert(std::move(text));
  }
  const std::vector<std::string> names(distinct.begin(), distinct.end());
  return names.size() == 1 ? names[0] : "mixed: " + join(names, ", ");
}

}  // namespace lowbit
