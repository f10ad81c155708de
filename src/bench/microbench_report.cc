#include "bench/microbench_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/text.h"
#include "bench/report.h"

namespace lowbit {
namespace {

using Row = std::vector<std::string>;

// A value in another unit, or "" where it was not measured.
std::string number(const Record& record, const char* tag, double factor, int decimals) {
  const Estimate* e = record.status == Status::kOk ? record.find(tag) : nullptr;
  return e ? fmt::format("{:.{}f}", e->median * factor, decimals) : "";
}

std::string with_unit(const std::string& text, const char* unit) {
  return text.empty() ? "-" : text + unit;
}

std::string microseconds(const Record& record, const char* tag) {
  const Estimate* e = record.status == Status::kOk ? record.find(tag) : nullptr;
  if (!e) return "-";
  const int decimals = e->median < 100e-6 ? 2 : 1;
  const std::string half =
      e->n > 1 ? fmt::format(" ± {:.{}f}", e->half_width() * 1e6, decimals) : "";
  return fmt::format("{:.{}f}{}", e->median * 1e6, decimals, half);
}

// What a Linear costs eagerly and compiled is the same here, so is every ratio between the two.
std::string own_ratio(const Record& record) {
  return record.status == Status::kOk && record.find("linear_time_warm") ? "1.00" : "";
}

// Of their columns, in order.
Row their_fields(const MicrobenchCase& c, const Record& r) {
  const std::string baseline = number(r, "linear_baseline_warm", 1e3, 6);
  const std::string own = number(r, "linear_time_warm", 1e3, 6);
  const std::string speedup = number(r, "linear_speedup_warm", 1, 2);
  const std::string memory = number(r, "linear_memory", 1e-6, 3);
  return {c.name,
          c.quantization,
          c.sparsity,
          std::to_string(c.m),
          std::to_string(c.k),
          std::to_string(c.n),
          c.dtype,
          c.compile_mode,
          c.device,
          c.model_type,
          c.output_dir,
          c.profile ? "True" : "False",
          c.memory_stats ? "True" : "False",
          baseline,
          own,
          baseline,
          own,
          speedup,
          speedup,
          own_ratio(r),
          c.profile && r.status == Status::kOk ? microbench_trace_path(c) : "",
          "",
          "",
          c.memory_stats && !memory.empty()
              ? fmt::format("{{'allocated_bytes.all.peak': {}}}", memory)
              : ""};
}

constexpr const char* kTheirs[] = {"name",
                                   "quantization",
                                   "sparsity",
                                   "m",
                                   "k",
                                   "n",
                                   "high_precision_dtype",
                                   "torch_compile_mode",
                                   "device",
                                   "model_type",
                                   "output_dir",
                                   "enable_profiler",
                                   "enable_memory_profiler",
                                   "baseline_model_eager_inference_time_in_ms",
                                   "quantized_model_eager_inference_time_in_ms",
                                   "baseline_model_compiled_inference_time_in_ms",
                                   "quantized_model_compiled_inference_time_in_ms",
                                   "eager speedup on baseline",
                                   "compile speedup on baseline",
                                   "eager vs compile speedup",
                                   "profiler_json_path",
                                   "memory_profile_path",
                                   "memory_visualization_path",
                                   "memory_stats"};

// Ours: a metric in a unit, each with both ends of its interval.
struct OwnColumn {
  const char *name, *tag;
  double factor;
};
constexpr OwnColumn kOwn[] = {{"warm_us", "linear_time_warm", 1e6},
                              {"baseline_warm_us", "linear_baseline_warm", 1e6},
                              {"warm_speedup", "linear_speedup_warm", 1},
                              {"cold_us", "linear_time", 1e6},
                              {"baseline_cold_us", "linear_baseline", 1e6},
                              {"cold_speedup", "linear_speedup", 1},
                              {"weights_read_gb_s", "linear_bandwidth", 1e-9},
                              {"gflop_s", "linear_flop_rate", 1e-9},
                              {"of_roof_percent", "linear_of_roof", 100}};

std::string kernel_of(const Record& record) {
  const std::vector<KernelChoice>& kernels = record.fingerprint.kernels;
  return kernels.empty() ? "" : kernels[0].kernel;
}

// The column of our table that shows a metric.
std::string_view column_of(std::string_view tag) {
  return tag == "linear_time" ? "Cold" : tag == "linear_of_roof" ? "Of roof" : tag;
}

// Why the case did not run, or why some of its fields are empty.
std::string reason_of(const Record& r) {
  std::vector<std::string> reasons;
  if (!r.reason.empty()) reasons.push_back(r.reason);
  for (const auto& [tag, why] : r.not_measured) {
    reasons.push_back(fmt::format("{}: {}", column_of(tag), why));
  }
  return join(reasons, "; ");
}

std::string which(const MicrobenchCase& c) {
  return fmt::format("{} {}({}, {}, {})", c.quantization,
                     c.sparsity == "None" ? "" : c.sparsity + " ", c.m, c.k, c.n);
}

Row own_fields(const MicrobenchCase& c, const Record& r) {
  Row row = {c.shape, std::string(name(r.status)), reason_of(r), join(r.unstable, "; ")};
  row.insert(row.end(),
             {r.format, r.resident, kernel_of(r), std::to_string(r.fingerprint.threads)});
  row.push_back(number(r, "bits_per_weight", 1, 3));
  for (const OwnColumn& column : kOwn) {
    const Estimate* e = r.status == Status::kOk ? r.find(column.tag) : nullptr;
    for (const double value : {e ? e->median : 0, e ? e->lo : 0, e ? e->hi : 0}) {
      row.push_back(e ? fmt::format("{:.6g}", value * column.factor) : "");
    }
  }
  return row;
}

std::string line_of(const Row& row) {
  Row quoted;
  for (const std::string& field : row) quoted.push_back(csv_field(field));
  return join(quoted, ",") + "\r\n";
}

}  // namespace

std::vector<Row> microbench_rows(std::span<const MicrobenchCase> cases,
                                 std::span<const Record> records) {
  std::vector<Row> rows = {{"Name", "Quantization", "Sparsity", "Shape", "Eager Baseline",
                            "Eager Model", "Eager Speedup", "Compile Baseline", "Compile Model",
                            "Compile Speedup", "Eager vs Compile Speedup", "Profiler Enabled"}};
  for (size_t i = 0; i < cases.size(); ++i) {
    const MicrobenchCase& c = cases[i];
    const Record& r = records[i];
    const std::string baseline = with_unit(number(r, "linear_baseline_warm", 1e6, 2), " µs");
    const std::string own = with_unit(number(r, "linear_time_warm", 1e6, 2), " µs");
    const std::string speedup = with_unit(number(r, "linear_speedup_warm", 1, 2), "x");
    rows.push_back({c.name, c.quantization, c.sparsity, fmt::format("({}, {}, {})", c.m, c.k, c.n),
                    baseline, own, speedup, baseline, own, speedup, with_unit(own_ratio(r), "x"),
                    c.profile ? "True" : "False"});
  }
  return rows;
}

std::vector<Row> microbench_own_rows(std::span<const MicrobenchCase> cases,
                                     std::span<const Record> records) {
  std::vector<Row> rows = {{"Quantization", "M", "K", "N", "Cold (µs)", "Speedup", "Warm (µs)",
                            "Speedup", "Weights (GB/s)", "GFLOP/s", "Of roof", "Bits", "Kernel"}};
  for (size_t i = 0; i < cases.size(); ++i) {
    const MicrobenchCase& c = cases[i];
    const Record& r = records[i];
    const bool sparse = c.sparsity != "None";
    const bool decoded =
        r.status == Status::kOk && r.resident != r.format.substr(0, r.format.find('+'));
    rows.push_back({c.quantization + (sparse ? "+" + c.sparsity : ""), std::to_string(c.m),
                    std::to_string(c.k), std::to_string(c.n), microseconds(r, "linear_time"),
                    with_unit(number(r, "linear_speedup", 1, 2), "x"),
                    microseconds(r, "linear_time_warm"),
                    with_unit(number(r, "linear_speedup_warm", 1, 2), "x"),
                    with_unit(number(r, "linear_bandwidth", 1e-9, 2), ""),
                    with_unit(number(r, "linear_flop_rate", 1e-9, 1), ""),
                    with_unit(number(r, "linear_of_roof", 100, 0), " %"),
                    with_unit(number(r, "bits_per_weight", 1, 2), ""),
                    kernel_of(r) + (decoded ? " (resident: " + r.resident + ")" : "")});
  }
  return rows;
}

std::vector<std::string> microbench_notes(std::span<const MicrobenchCase> cases,
                                          std::span<const Record> records) {
  std::vector<std::string> notes;
  std::vector<std::pair<std::string, std::vector<std::string>>> missing;  // what and why, of whom
  for (size_t i = 0; i < cases.size(); ++i) {
    const Record& r = records[i];
    const std::string whose = which(cases[i]);
    if (r.status != Status::kOk) {
      notes.push_back(fmt::format("{}: {}: {}", whose, name(r.status), r.reason));
    }
    for (const std::string& why : r.unstable) {
      notes.push_back(fmt::format("{}: unstable: {}", whose, why));
    }
    for (const std::string& why : r.roof_unstable) {
      notes.push_back(fmt::format("{}: `Of roof` is to be distrusted: {}", whose, why));
    }
    for (const auto& [tag, why] : r.not_measured) {
      const std::string what = fmt::format("{} is `-`: {}", column_of(tag), why);
      auto at = std::find_if(missing.begin(), missing.end(),
                             [&](const auto& entry) { return entry.first == what; });
      if (at == missing.end()) at = missing.insert(at, {what, {}});
      at->second.push_back(whose);
    }
  }
  for (const auto& [what, whom] : missing) {
    const bool all = whom.size() == cases.size() && whom.size() > 1;
    notes.push_back(fmt::format("{} ({})", what, all ? "all cases" : join(whom, ", ")));
  }
  return notes;
}

std::string microbench_csv(std::span<const MicrobenchCase> cases, std::span<const Record> records) {
  Row header(std::begin(kTheirs), std::end(kTheirs));
  header.insert(header.end(), {"shape_name", "status", "reason", "unstable", "format", "resident",
                               "kernel", "threads", "bits_per_weight"});
  for (const OwnColumn& column : kOwn) {
    for (const char* part : {"", "_lo", "_hi"}) header.push_back(column.name + std::string(part));
  }
  std::string text = line_of(header);
  for (size_t i = 0; i < cases.size(); ++i) {
    Row row = their_fields(cases[i], records[i]);
    const Row own = own_fields(cases[i], records[i]);
    row.insert(row.end(), own.begin(), own.end());
    text += line_of(row);
  }
  return text;
}

std::string microbench_dashboard(std::span<const MicrobenchCase> cases,
                                 std::span<const Record> records) {
  struct Shown {
    const char *name, *tag;
    double factor;
    const char* unit;
  };
  constexpr Shown kShown[] = {{"Fwd Speedup (x)", "linear_speedup_warm", 1, "x"},
                              {"Bfloat16 Fwd Time (ms)", "linear_baseline_warm", 1e3, "ms"},
                              {"Quantized Fwd Time (ms)", "linear_time_warm", 1e3, "ms"},
                              {"Allocated Memory (MB)", "linear_memory", 1e-6, "MB"},
                              {"Quantized Fwd Time, cold (ms)", "linear_time", 1e3, "ms"}};
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (size_t i = 0; i < cases.size(); ++i) {
    const MicrobenchCase& c = cases[i];
    if (records[i].status != Status::kOk) continue;
    for (const Shown& shown : kShown) {
      const Estimate* e = records[i].find(shown.tag);
      if (!e) continue;
      nlohmann::ordered_json row;
      row["benchmark"] = {{"name", "micro-benchmark api"},
                          {"mode", "inference"},
                          {"dtype", c.quantization},
                          {"extra_info",
                           {{"device", c.device},
                            {"arch", records[i].fingerprint.cpu},
                            {"torch_compile_mode", c.compile_mode},
                            {"sparsity", c.sparsity}}}};
      row["model"] = {{"name", fmt::format("{}-{}-{}", c.m, c.k, c.n)},
                      {"type", "micro-benchmark custom layer"},
                      {"origins", {"lowbit"}}};
      row["metric"] = {{"name", shown.name},
                       {"benchmark_values", {e->median * shown.factor}},
                       {"target_value", 0.0},
                       {"extra_info", {{"unit", shown.unit}}}};
      row["runners"] = nlohmann::ordered_json::array();
      row["dependencies"] = nlohmann::ordered_json::object();
      rows.push_back(std::move(row));
    }
  }
  return rows.dump(2) + "\n";
}

}  // namespace lowbit
