// lowbit lockstep: two backends, op by op.

#include "app/commands.h"
#include "app/model_options.h"
#include "app/options.h"
#include "app/output.h"
#include "backends.h"
#include "base/check.h"
#include "engine/lockstep.h"

namespace lowbit {
namespace {

struct LockstepConfig {
  ModelOptions model;
  std::string against;
  std::string prompt;
  std::vector<int32_t> prompt_ids;
  int32_t step = 8;
};

template <class Visitor>
void visit(Visitor& v, LockstepConfig& c) {
  visit(v, c.model);
  v.field("against", c.against, "device to test against --device, which is ref here by default");
  v.field("prompt", c.prompt, "text to run; without it some fixed token ids");
  v.field("prompt_ids", c.prompt_ids, "token ids to run");
  v.field("step", c.step, "tokens a step");
}

std::vector<int32_t> tokens_to_run(const LockstepConfig& c, const LoadedModel& loaded) {
  constexpr int32_t kTokens = 19, kStride = 7919;  // two full steps and a short one; a prime
  if (!c.prompt_ids.empty() && !c.prompt.empty()) {
    throw_error("give one of --prompt and --prompt-ids, not both");
  }
  if (!c.prompt_ids.empty()) return c.prompt_ids;
  if (!c.prompt.empty()) {
    if (!loaded.tokenizer) {
      throw_error("{}: has no tokenizer; give --prompt-ids", loaded.checkpoint->source());
    }
    return loaded.tokenizer->encode(c.prompt);
  }
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < kTokens; ++i) ids.push_back(i * kStride % loaded.model->vocab_size());
  ids.resize(std::min(ids.size(), static_cast<size_t>(loaded.model->max_context())));
  return ids;
}

// Both sides must multiply the same numbers, or every difference would be blamed on a kernel.
void check_comparable(const LoadedModel& oracle, const LoadedModel& tested) {
  const auto a = oracle.model->linears(), b = tested.model->linears();
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i]->resident == b[i]->resident) continue;
    throw_error("{}: is {} on {} but {} on {}, which has no kernel for it; choose another --format",
                a[i]->name, name(a[i]->resident), oracle.backend->name, name(b[i]->resident),
                tested.backend->name);
  }
}

}  // namespace

int cmd_lockstep(const std::vector<std::string>& args) {
  LockstepConfig c;
  CommandLine line(
      "Runs a model on two backends op by op and stops at the first op whose output "
      "differs by more than rounding. Exit code 1 on a difference.",
      "lockstep");
  line.add_flags(c);
  if (!line.parse(args)) return 0;
  if (c.against.empty()) throw_error("--against is missing; it names the device to test");
  if (c.step < 1 || c.step > 512) throw_error("--step {}: must be 1 to 512", c.step);
  if (c.model.plan == "graph") {
    throw_error("--plan graph: op by op is what lockstep compares; leave it out");
  }
  if (c.model.plan == "auto") c.model.plan = "eager";
  if (c.model.device.empty()) c.model.device = "ref";
  ModelOptions tested_options = c.model;
  tested_options.device = c.against;
  const Backend& against =
      with_context("--against", [&]() -> const Backend& { return find_backend(c.against); });
  if (&against == &chosen_backend(c.model)) {
    throw_error("--against {}: is --device too; a backend always equals itself, name another",
                c.against);
  }

  const LoadedModel oracle = load_model_for(c.model);
  const LoadedModel tested = load_model_for(tested_options);
  check_comparable(oracle, tested);
  const std::vector<int32_t> tokens = tokens_to_run(c, oracle);
  if (tokens.empty()) throw_error("the prompt has no tokens; give some text or --prompt-ids");
  const LockstepResult result =
      lockstep(*oracle.model, *oracle.backend, *tested.model, *tested.backend, tokens, c.step);
  if (result.difference) {
    print(fmt::format("different after {} equal ops: {}\n", result.ops, result.difference->text()));
    return 1;
  }
  print(
      fmt::format("equal: {} ops over {} tokens, {} on {} and {}, worst error {:.3f} of what "
                  "rounding allows\n",
                  result.ops, tokens.size(), format_summary(*oracle.model), oracle.backend->name,
                  tested.backend->name, result.worst));
  return 0;
}

}  // namespace lowbit
