#include "engine/plan_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/text.h"

namespace lowbit {
namespace {

using nlohmann::ordered_json;

// Linears that differ only in their layer's number.
struct Group {
  const Linear* first;
  std::string module;           // "qkv", or "head" outside the layers
  std::vector<int64_t> layers;  // empty outside the layers
  int64_t count = 0;

  std::string name() const {
    if (layers.empty()) return module;
    std::string ranges;
    for (size_t i = 0, end; i < layers.size(); i = end) {
      for (end = i + 1; end < layers.size() && layers[end] == layers[end - 1] + 1;) ++end;
      ranges += ranges.empty() ? "" : ",";
      ranges += end - i == 1 ? fmt::format("{}", layers[i])
                             : fmt::format("{}-{}", layers[i], layers[end - 1]);
    }
    return fmt::format("layers.{}.{}", ranges, module);
  }
};

std::string plan_text(const LinearPlan& plan) {
  std::string text;
  int32_t m_lo = 1;
  for (const LinearPlan::Bucket& bucket : plan.buckets) {
    const std::string range =
        m_lo == bucket.m_hi ? fmt::format("m={}", m_lo) : fmt::format("m={}-{}", m_lo, bucket.m_hi);
    text += fmt::format("{}{}: {}", text.empty() ? "" : ", ", range, bucket.kernel->name);
    m_lo = bucket.m_hi + 1;
  }
  return text;
}

std::string plans_text(const Linear& linear) {
  const std::string text = plan_text(linear.plan);
  return linear.plans().size() == 1 ? text
                                    : text + "; decode steps: " + plan_text(linear.decode_plan);
}

ordered_json kernels_json(const LinearPlan& plan) {
  ordered_json kernels = ordered_json::array();
  int32_t m_lo = 1;
  for (const LinearPlan::Bucket& bucket : plan.buckets) {
    kernels.push_back({{"m_lo", m_lo}, {"m_hi", bucket.m_hi}, {"kernel", bucket.kernel->name}});
    m_lo = bucket.m_hi + 1;
  }
  return kernels;
}

ordered_json rejected_json(const LinearPlan& plan) {
  ordered_json rejected = ordered_json::array();
  for (const Rejected& r : plan.rejected) {
    rejected.push_back({{"kernel", r.kernel}, {"reason", r.reason}});
  }
  return rejected;
}

bool same_plan(const Linear& a, const Linear& b) {
  const auto same_rejected = [](const Rejected& x, const Rejected& y) {
    return x.kernel == y.kernel && x.reason == y.reason;
  };
  return a.n == b.n && a.k == b.k && a.format == b.format && a.resident == b.resident &&
         plans_text(a) == plans_text(b) &&
         std::equal(a.plan.rejected.begin(), a.plan.rejected.end(), b.plan.rejected.begin(),
                    b.plan.rejected.end(), same_rejected);
}

std::vector<Group> group_linears(const Model& model) {
  std::vector<Group> groups;
  for (const Linear* linear : model.linears()) {
    const auto parts = split(linear->name, '.');  // layers.3.qkv
    const auto layer = parts.size() == 3 ? parse_int(parts[1]) : std::nullopt;
    const std::string module(layer ? parts[2] : std::string_view(linear->name));
    auto group = std::find_if(groups.begin(), groups.end(), [&](const Group& g) {
      return g.module == module && same_plan(*g.first, *linear);
    });
    if (group == groups.end()) group = groups.insert(groups.end(), {linear, module, {}, 0});
    if (layer) group->layers.push_back(*layer);
    ++group->count;
  }
  return groups;
}

// Kernels that refused, of every kind of step, one line a reason.
std::string rejected_text(const Linear& linear) {
  std::vector<Rejected> all;
  for (const LinearPlan* plan : linear.plans()) {
    all.insert(all.end(), plan->rejected.begin(), plan->rejected.end());
  }
  std::vector<std::pair<std::string, std::string>> by_reason;
  for (const Rejected& r : all) {
    auto at = std::find_if(by_reason.begin(), by_reason.end(),
                           [&](const auto& entry) { return entry.first == r.reason; });
    if (at == by_reason.end()) at = by_reason.insert(by_reason.end(), {r.reason, ""});
    at->second += (at->second.empty() ? "" : ", ") + std::string(r.kernel);
  }
  std::string text;
  for (const auto& [reason, kernels] : by_reason) {
    text += fmt::format("    {}: {}\n", reason, kernels);
  }
  return text;
}

}  // namespace

nlohmann::ordered_json linears_json(const Model& model) {
  ordered_json list = ordered_json::array();
  for (const Group& group : group_linears(model)) {
    const Linear& linear = *group.first;
    list.push_back({{"name", group.name()},
                    {"count", group.count},
                    {"n", linear.n},
                    {"k", linear.k},
                    {"format", name(linear.format)},
                    {"resident", name(linear.resident)},
                    {"bytes_each", linear.bytes()},
                    {"layout", name(linear.plan.layout)},
                    {"kernels", kernels_json(linear.plan)},
                    {"rejected", rejected_json(linear.plan)}});
    if (linear.plans().size() > 1) {
      list.back()["decode_kernels"] = kernels_json(linear.decode_plan);
      list.back()["decode_rejected"] = rejected_json(linear.decode_plan);
    }
  }
  return list;
}

std::string linears_text(const Model& model) {
  std::string text;
  std::vector<std::pair<std::string, std::string>>
      rejected;  // reasons, and the linears they hold of
  for (const Group& group : group_linears(model)) {
    const Linear& linear = *group.first;
    const std::string resident = linear.resident == linear.format
                                     ? ""
                                     : fmt::format(" (resident: {})", name(linear.resident));
    text += fmt::format("  {}  {}x{} {}{}  {}\n", group.name(), linear.n, linear.k,
                        name(linear.format), resident, plans_text(linear));
    const std::string reasons = rejected_text(linear);
    auto at = std::find_if(rejected.begin(), rejected.end(),
                           [&](const auto& entry) { return entry.first == reasons; });
    if (at == rejected.end()) at = rejected.insert(rejected.end(), {reasons, ""});
    at->second += (at->second.empty() ? "" : ", ") + group.name();
  }
  for (const auto& [reasons, names] : rejected) {
    if (!reasons.empty()) text += fmt::format("  not chosen for {}\n{}", names, reasons);
  }
  return text;
}

}  // namespace lowbit
