#include "ops/linear.h"

#include <fmt/core.h>

#include <algorithm>

namespace lowbit {
namespace {

std::string refusal(const LinearKernel& kernel, const LinearSpec& spec, const DeviceInfo& device) {
  if (!kernel.weights(spec.w)) return "reads other formats";
  if (spec.w.has_table() && !kernel.tables) return "looks up no learned numbers";
  if (!kernel.activations(spec.a)) return "activations are " + name(spec.a);
  return kernel.reject ? kernel.reject(spec, device) : "";
}

MRange range(const LinearKernel& kernel, const LinearSpec& spec) {
  return spec.a.quantized() ? kernel.pair_m.value_or(kernel.m) : kernel.m;
}

}  // namespace

std::string_view name(LayoutId layout) {
  switch (layout) {
    case LayoutId::kCanonical:
      return "canonical";
    case LayoutId::kTiles:
      return "tiles";
  }
  return "unnamed";  // of a family that lists its own, as tests do
}

LinearPlan plan_linear(const LinearSpec& spec, std::span<const LinearKernel> kernels,
                       const DeviceInfo& device) {
  LinearPlan plan;
  std::vector<const LinearKernel*> accepted;
  for (const LinearKernel& kernel : kernels) {
    std::string reason = refusal(kernel, spec, device);
    if (reason.empty()) {
      accepted.push_back(&kernel);
    } else {
      plan.rejected.push_back({kernel.name, std::move(reason)});
    }
  }
  std::stable_sort(accepted.begin(), accepted.end(),
                   [](const LinearKernel* a, const LinearKernel* b) { return a->rank > b->rank; });
  const auto first =
      std::find_if(accepted.begin(), accepted.end(),
                   [&](const LinearKernel* kernel) { return range(*kernel, spec).lo <= 1; });
  const auto no_plan = [&](int32_t m) {
    for (const LinearKernel* kernel : accepted) {
      plan.rejected.push_back({kernel->name, fmt::format("nothing covers {} rows beside it", m)});
    }
    return LinearPlan{.rejected = std::move(plan.rejected)};
  };
  if (first == accepted.end()) return no_plan(1);
  plan.layout = (*first)->layout;

  for (int32_t m = 1; m <= spec.m_max;) {
    const LinearKernel* chosen = nullptr;
    int32_t m_hi = spec.m_max;
    for (const LinearKernel* kernel : accepted) {
      if (kernel->layout != plan.layout) continue;
      const auto [lo, hi] = range(*kernel, spec);
      if (!chosen && lo <= m && m <= hi) {
        chosen = kernel;
        m_hi = std::min(m_hi, hi);
      } else if (!chosen && lo > m) {
        m_hi = std::min(m_hi, lo - 1);  // a better row takes over there
      }
    }
    if (!chosen) return no_plan(m);
    plan.buckets.push_back({m_hi, chosen});
    if (chosen->workspace) plan.workspace = std::max(plan.workspace, chosen->workspace(spec));
    m = m_hi + 1;
  }
  for (const LinearKernel* kernel : accepted) {
    if (kernel->layout != plan.layout) {
      plan.rejected.push_back({kernel->name, "needs layout " + std::string(name(kernel->layout)) +
                                                 ", plan keeps " + std::string(name(plan.layout))});
    } else if (std::none_of(plan.buckets.begin(), plan.buckets.end(),
                            [&](const auto& bucket) { return bucket.kernel == kernel; })) {
      plan.rejected.push_back({kernel->name, "lower rank"});
    }
  }
  return plan;
}

WeightView view(const QTensor& t) {
  return {.codes = t.codes.data.data(),
          .scales = t.scales.data.data(),
          .zeros = t.zeros.data.data(),
          .meta = t.meta.data.data(),
          .outer = t.outer.data.data(),
          .row_bytes = row_bytes(t.format, t.k),
          .k_blocks = static_cast<int32_t>(blocks_along_k(t.format, t.k)),
          .block_n = t.format.block.n,
          .block_k = t.format.block.k,
          .format = t.format.id,
          .code = t.format.code,
          .bits = t.format.bits,
          .scale = t.format.scale,
          .zero = t.format.zero,
          .outer_kind = t.format.outer,
          .sparse24 = t.format.sparse24};
}

}  // namespace lowbit
