#include "models/method_policy.h"

#include "base/check.h"
#include "base/text.h"

namespace lowbit {
namespace {

// The Linears of the modules that torchao's harness calls so.
struct Module {
  std::string_view name;
  std::string_view linears[2];
};
constexpr Module kModules[] = {{"feed_forward", {"layers.*.gate_up", "layers.*.down"}},
                               {"attention", {"layers.*.qkv", "layers.*.o"}}};

void check_possible(const Method& method) {
  const MethodScope& scope = method.scope;
  if (scope.prefill_only) {
    throw_error(
        "{}: activations cannot be quantized in the prompt alone; int8dq quantizes them in "
        "every step, int8wo in none",
        method.asked);
  }
  if (!scope.include.empty() && scope.others == "stored" && method.formats.activations) {
    throw_error("{}: activations cannot be quantized for {} alone; {} does it for all layers",
                method.asked, scope.include, name(method.formats));
  }
}

}  // namespace

LayerPolicy policy_of(const Method& method) {
  check_possible(method);
  const MethodScope& scope = method.scope;
  const LayerChoice choice = {method.formats.weights, method.quantizer};
  LayerPolicy policy = {.all = choice, .head = parse_tensor_policy(scope.head)};
  if (scope.embedding != "stored") {  // by a rule, which names the quantizer too
    policy.rules.push_back({"embedding", {parse_format(scope.embedding), method.quantizer}});
  }
  if (scope.include.empty()) return policy;
  for (const std::string_view wanted : split(scope.include, ',')) {
    for (const Module& module : kModules) {
      if (module.name != wanted) continue;
      for (const std::string_view linear : module.linears) {
        policy.rules.push_back({std::string(linear), choice});
      }
    }
  }
  policy.all.format = scope.others == "stored"
                          ? std::nullopt
                          : std::optional(parse_format_pair(scope.others).weights);
  return policy;
}

void set_method(const Method& method, LoadOptions* options) {
  options->policy = policy_of(method);
  options->activations = method.formats.activations;
}

}  // namespace lowbit
