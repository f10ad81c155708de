#include "models/method_policy.h"

#include <algorithm>

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

bool is_feed_forward(std::string_view layer) {
  const auto& linears = kModules[0].linears;
  return std::any_of(std::begin(linears), std::end(linears), [&](std::string_view linear) {
    return layer.starts_with("layers.") && layer.ends_with(linear.substr(linear.rfind('.')));
  });
}

LayerPolicy policy_of(const Method& method) {
  const MethodScope& scope = method.scope;
  const LayerChoice choice = {.format = method.formats.weights,
                              .quantizer = method.quantizer,
                              .activations = method.formats.activations,
                              .prefill_only = scope.prefill_only,
                              .iterations = method.iterations};
  LayerPolicy policy = {.all = choice, .head = parse_tensor_policy(scope.head)};
  policy.prepare = method.prepare;
  policy.mixture = scope.mixture;
  if (scope.embedding == "same") {
    policy.embedding.same = true;
  } else if (scope.embedding != "stored") {  // by a rule, which names the quantizer too
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
