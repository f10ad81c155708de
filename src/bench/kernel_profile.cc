#include "bench/kernel_profile.h"

#include <algorithm>

#include "base/check.h"
#include "base/text.h"
#include "bench/roofline.h"
#include "bench/stats.h"

namespace lowbit {
namespace {

// Rows that one line of a table stands for.
struct Sum {
  std::string name, kernel, limit;
  int64_t calls = 0;
  double seconds = 0, bytes = 0, flops = 0, least = 0;

  void add(const KernelRow& row) {
    const auto note = [&](std::string* text, const std::string& value) {
      if (calls == 0) *text = value;
      if (*text != value) *text = "several";
    };
    note(&kernel, row.kernel);
    note(&limit, row.limit);
    ++calls;
    seconds += row.seconds;
    bytes += row.bytes;
    flops += row.flops;
    least += row.least_seconds;
  }
};

// In the order in which the names came first.
template <class NameOf>
std::vector<Sum> sums_by(const StepProfile& step, const NameOf& name_of) {
  std::vector<Sum> sums;
  for (const KernelRow& row : step.rows) {
    const std::string name = name_of(row);
    auto found =
        std::find_if(sums.begin(), sums.end(), [&](const Sum& s) { return s.name == name; });
    if (found == sums.end()) {
      found = sums.insert(sums.end(), Sum());
      found->name = name;
    }
    found->add(row);
  }
  return sums;
}

std::string layer_name(const KernelRow& row) {
  return row.layer < 0 ? "outside" : fmt::format("layers.{}", row.layer);
}

std::vector<std::string> cells(const Sum& s, double total) {
  const bool known = s.least > 0;
  return {fmt::format("{:.1f}", s.seconds * 1e6),
          fmt::format("{:.1f} %", total > 0 ? 100 * s.seconds / total : 0),
          fmt::format("{:.3f}", s.bytes / 1e6),
          fmt::format("{:.2f}", s.seconds > 0 ? s.bytes / s.seconds / 1e9 : 0),
          fmt::format("{:.2f}", s.seconds > 0 ? s.flops / s.seconds / 1e9 : 0),
          known ? fmt::format("{:.0f} %", 100 * s.least / s.seconds) : "-",
          known ? s.limit : "-"};
}

std::vector<std::string> heads(std::vector<std::string> first) {
  for (const char* head : {"us", "share", "MB", "GB/s", "GFLOP/s", "of ceiling", "limit"}) {
    first.emplace_back(head);
  }
  return first;
}

double total_seconds(const StepProfile& step) {
  double total = 0;
  for (const KernelRow& row : step.rows) total += row.seconds;
  return total;
}

std::string title(const StepProfile& step) {
  const std::string medians =
      step.steps > 1 ? fmt::format(", medians of {} steps", step.steps) : "";
  std::string text = fmt::format("{}{}: {:.1f} us in kernels, {:.1f} us in all", step.name, medians,
                                 total_seconds(step) * 1e6, step.seconds * 1e6);
  if (step.untraced_seconds > 0) {
    text += fmt::format(", {:.1f} us without the trace", step.untraced_seconds * 1e6);
  }
  return text + "\n";
}

void set_limit(KernelRow* row, const KernelLimits& limits) {
  if (!limits.ceilings) return;
  const auto kernel = std::find_if(limits.kernels.begin(), limits.kernels.end(),
                                   [&](const LinearKernel& k) { return k.name == row->kernel; });
  const bool linear = kernel != limits.kernels.end();
  const bool reads_state = row->op == "attention";
  Work work{.bytes = row->bytes};
  work.flops(linear ? kernel->products : Products::kFloat) = row->flops;
  const double set = linear || reads_state ? std::max(limits.step_bytes, row->bytes) : row->bytes;
  const Limit limit = limit_in(limits.ceilings->level_of(set), work, 1, *limits.ceilings);
  row->least_seconds = std::max(limit.memory_seconds, limit.compute_seconds);
  row->limit = limit.resource;
}

}  // namespace

StepProfile profile_of(std::span<const TimedStep> steps, const KernelLimits& limits) {
  LB_CHECK(!steps.empty());
  const TimedStep& first = steps.front();
  StepProfile profile;
  profile.name = first.name;
  profile.steps = static_cast<int64_t>(steps.size());
  std::vector<double> times;
  for (const TimedStep& step : steps) {
    LB_CHECK(step.ops.size() == first.ops.size(), "{} and {} ops", step.ops.size(),
             first.ops.size());
    times.push_back(step.seconds());
  }
  profile.seconds = median(times);
  for (size_t i = 0; i < first.ops.size(); ++i) {
    const TimedOp& op = first.ops[i];
    KernelRow row;
    row.op = op.name;
    row.kernel = op.kernel;
    row.layer = op.layer;
    std::vector<double> seconds, bytes, flops;  // attention reads more at every step
    for (const TimedStep& step : steps) {
      seconds.push_back(step.ops[i].seconds);
      bytes.push_back(step.ops[i].bytes);
      flops.push_back(step.ops[i].flops);
    }
    row.seconds = median(seconds);
    row.bytes = median(bytes);
    row.flops = median(flops);
    set_limit(&row, limits);
    profile.rows.push_back(std::move(row));
  }
  return profile;
}

std::string kernel_summary(const StepProfile& step) {
  const double total = total_seconds(step);
  std::vector<std::vector<std::string>> ops = {heads({"op", "kernel", "calls"})},
                                        layers = {heads({"layer", "calls"})};
  const auto add = [&](std::vector<std::vector<std::string>>* table, const Sum& sum,
                       std::vector<std::string> line) {
    const std::vector<std::string> more = cells(sum, total);
    line.insert(line.end(), more.begin(), more.end());
    table->push_back(std::move(line));
  };
  for (const Sum& sum : sums_by(step, [](const KernelRow& row) { return row.op; })) {
    add(&ops, sum, {sum.name, sum.kernel, std::to_string(sum.calls)});
  }
  for (const Sum& sum : sums_by(step, layer_name)) {
    add(&layers, sum, {sum.name, std::to_string(sum.calls)});
  }
  return title(step) + format_table(ops) + "\n" + format_table(layers);
}

std::string every_kernel(const StepProfile& step) {
  const double total = total_seconds(step);
  std::vector<std::vector<std::string>> table = {heads({"layer", "op", "kernel"})};
  for (const KernelRow& row : step.rows) {
    Sum sum;
    sum.add(row);
    std::vector<std::string> line = {layer_name(row), row.op, row.kernel};
    const std::vector<std::string> more = cells(sum, total);
    line.insert(line.end(), more.begin(), more.end());
    table.push_back(std::move(line));
  }
  return title(step) + format_table(table);
}

}  // namespace lowbit
