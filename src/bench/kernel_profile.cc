#include "bench/kernel_profile.h"

#include <algorithm>
#include <map>

#include "base/check.h"
#include "base/text.h"
#include "bench/device_ceiling.h"
#include "bench/roofline.h"
#include "bench/stats.h"

namespace lowbit {
namespace {

// Rows that one line of a table stands for.
struct Sum {
  std::string name, kernel, limit;
  int64_t calls = 0, above = 0;
  double seconds = 0, bytes = 0, flops = 0, least = 0;

  void add(const KernelRow& row) {
    const auto note = [&](std::string* text, const std::string& value) {
      if (calls == 0) *text = value;
      if (*text != value) *text = "several";
    };
    note(&kernel, row.kernel);
    note(&limit, row.limit);
    ++calls;
    above += row.above_ceiling();
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

// "30 %", with a mark if a kernel of the sum is above its ceiling.
std::string share_of_ceiling(const Sum& s) {
  if (s.least <= 0) return "-";
  const std::string share =
      s.seconds > 0 ? fmt::format("{:.0f} %", 100 * s.least / s.seconds) : "no time";
  return s.above > 0 ? share + " !" : share;
}

std::vector<std::string> cells(const Sum& s, double total) {
  return {fmt::format("{:.1f}", s.seconds * 1e6),
          fmt::format("{:.1f} %", total > 0 ? 100 * s.seconds / total : 0),
          fmt::format("{:.3f}", s.bytes / 1e6),
          fmt::format("{:.2f}", s.seconds > 0 ? s.bytes / s.seconds / 1e9 : 0),
          fmt::format("{:.2f}", s.seconds > 0 ? s.flops / s.seconds / 1e9 : 0),
          share_of_ceiling(s),
          s.least > 0 ? s.limit : "-"};
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

// Below a table: what its marks mean.
std::string marks(const StepProfile& step) {
  const std::string above = above_ceiling(step);
  return above.empty() ? "" : "! above the ceiling: " + above + "\n";
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
  const bool from_step = linear || reads_state;
  row->working_set = from_step ? std::max(limits.step_bytes, row->bytes) : row->bytes;
  const Level& level = limits.ceilings->level_of(row->working_set);
  const Limit limit = limit_in(level, work, 1, *limits.ceilings);
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
    row.most_seconds = series_estimate(seconds).hi + limits.clock_seconds;
    row.bytes = median(bytes);
    row.flops = median(flops);
    set_limit(&row, limits);
    profile.rows.push_back(std::move(row));
  }
  return profile;
}

std::string above_ceiling(const StepProfile& step) {
  std::vector<const KernelRow*> above;
  for (const KernelRow& row : step.rows) {
    if (row.above_ceiling()) above.push_back(&row);
  }
  if (above.empty()) return "";
  const KernelRow& first = *above.front();
  const std::string more =
      above.size() > 1 ? fmt::format(" (and {} more kernels)", above.size() - 1) : "";
  return fmt::format(
      "{}: {} took {:.2f} us in {}, and {:.2f} us is the least that {} allows{}: bytes, "
      "operations or times are wrong, or the machine was busy while its ceilings were measured",
      step.name, OpTag{first.op.c_str(), first.layer}.text(), first.seconds * 1e6, first.kernel,
      first.least_seconds * 1e6,
      first.limit == kCompute ? "its number of operations" : "the bandwidth of " + first.limit,
      more);
}

void raise_ceilings(const StepProfile& step, const Backend& backend, Ceilings* ceilings) {
  constexpr double kSeconds = 1;
  std::map<std::string, double> sets;  // of each limit the largest
  for (const KernelRow& row : step.rows) {
    if (!row.above_ceiling()) continue;
    double& set = sets[row.limit];
    set = std::max(set, row.working_set);
  }
  for (const auto& [limit, set] : sets) {
    if (limit == kCompute) {
      for (const Products products : products_of(backend)) {
        double& flops = ceilings->flops(products);
        flops = std::max(flops, compute_ceiling(backend, products, kSeconds));
      }
      continue;
    }
    for (Level& level : ceilings->levels) {
      if (level.name != limit) continue;
      // As large as what was read, but no less than a quarter of the cache: passes take time.
      const int64_t bytes = std::max(static_cast<int64_t>(set), level.bytes / 4);
      level.bytes_per_second =
          std::max(level.bytes_per_second, read_ceiling(backend, bytes, kSeconds).bytes_per_second);
    }
  }
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
  return title(step) + format_table(ops) + "\n" + format_table(layers) + marks(step);
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
  return title(step) + format_table(table) + marks(step);
}

}  // namespace lowbit
