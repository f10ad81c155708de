#include "models/method_policy.h"

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

}  // namespace

LayerPolicy policy_of(const Method& method) {
  const MethodScope& scope = method.scope;
  const LayerChoice choice = {.format = method.formats.weights,
                              .quantizer = method.quantizer,
                              .activations = method.formats.activations,
                              .prefill_only = scope.prefill_only};
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
  policy.all = {.format = std::nullopt, .quantizer = method.quantizer};
  if (scope.others != "stored") {
    const FormatPair others = parse_format_pair(scope.others);
    policy.all.format = others.weights;
    policy.all.activations = others.activations;
  }
  return policy;
}

}  // namespace lowbit
