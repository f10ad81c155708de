#include "bench/roofline.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/text.h"
#include "bench/bench_model.h"
#include "models/method_policy.h"

namespace lowbit {
namespace {

constexpr int32_t kContext = 512;  // where none is named

std::string distinct(const Model& model, Format Linear::*member) {
  std::vector<std::string> names;
  for (const Linear* linear : model.linears()) {
    const std::string text = name(linear->*member);
    if (std::find(names.begin(), names.end(), text) == names.end()) names.push_back(text);
  }
  return join(names, ",");
}

// "1234", "12.3", "0.123"
std::string number(double value) {
  return fmt::format("{:.{}f}", value, value >= 100 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3);
}

std::string megabytes(double bytes) { return number(bytes / 1e6); }

std::string size_text(int64_t bytes) {
  const auto size = static_cast<double>(bytes);
  return bytes >= 1'000'000 ? megabytes(size) + " MB" : number(size / 1e3) + " kB";
}

void add_rows(const RooflineConfig& config, const LoadedModel& loaded, const Ceilings& ceilings,
              const std::string& asked, std::vector<RooflineRow>* rows) {
  const WorkCounter counter(loaded);
  RooflineRow row{.format = asked, .resident = distinct(*loaded.model, &Linear::resident)};
  const int32_t longest = loaded.model->max_context();
  for (const int32_t context : config.context) {
    row.context = context == 0 ? std::min(kContext, longest) : context;
    if (row.context > longest) {
      throw_error("context = {}: the model was made for {}", context, longest);
    }
    row.prefill = limit_of(counter.prefill(row.context), row.context, ceilings);
    row.compute_bound_from = compute_bound_batch(counter, row.context, ceilings);
    for (const int32_t batch : config.batch) {
      row.batch = batch;
      row.decode = limit_of(counter.decode(batch, row.context), batch, ceilings);
      rows->push_back(row);
    }
  }
}

nlohmann::ordered_json json_of(const Limit& limit) {
  return {{"tokens_per_second", limit.tokens_per_second},
          {"limited_by", limit.resource},
          {"bytes", limit.work.bytes},
          {"float_flops", limit.work.float_flops},
          {"integer_flops", limit.work.integer_flops},
          {"float8_flops", limit.work.float8_flops},
          {"memory_seconds", limit.memory_seconds},
          {"compute_seconds", limit.compute_seconds}};
}

}  // namespace

void check(const RooflineConfig& c) {
  const auto in_range = [](const char* key, const std::vector<int32_t>& values, int32_t lo,
                           int32_t hi) {
    if (values.empty()) throw_error("{}: the list is empty", key);
    for (const int32_t value : values) {
      if (value < lo || value > hi) throw_error("{} = {}: must be {} to {}", key, value, lo, hi);
    }
  };
  in_range("batch", c.batch, 1, 1 << 20);
  in_range("context", c.context, 0, 1 << 24);
  in_range("threads", {c.threads}, 0, 1024);
  if (c.bandwidth < 0 || c.compute < 0 || (c.bandwidth > 0) != (c.compute > 0)) {
    throw_error(
        "bandwidth = {}, compute = {}: of another machine both are needed, in GB/s and TFLOP/s",
        c.bandwidth, c.compute);
  }
  const std::vector<std::string> outputs = {"table", "md", "json"};
  if (std::find(outputs.begin(), outputs.end(), c.output) == outputs.end()) {
    throw_error("output = `{}`: must be table, md or json", printable(c.output));
  }
  with_context("kv_format", [&] { parse_cache_name(c.kv_format); });
  if (expand_formats(c.format).empty()) {
    throw_error("format: the list is empty; `standard` is the default");
  }
}

Limit limit_of(const Work& work, double tokens, const Ceilings& ceilings) {
  return limit_in(ceilings.level_of(work.working_set()), work, tokens, ceilings);
}

Limit limit_in(const Level& level, const Work& work, double tokens, const Ceilings& ceilings) {
  Limit limit;
  limit.work = work;
  limit.memory_seconds = work.bytes / level.bytes_per_second;
  limit.compute_seconds = compute_seconds(work, ceilings);
  const bool memory = limit.memory_seconds > limit.compute_seconds;
  limit.resource = memory ? level.name : kCompute;
  limit.tokens_per_second = tokens / std::max(limit.memory_seconds, limit.compute_seconds);
  return limit;
}

int32_t compute_bound_batch(const WorkCounter& counter, double context, const Ceilings& ceilings,
                            int32_t most) {
  for (int32_t batch = 1; batch <= most; ++batch) {
    const Limit limit = limit_of(counter.decode(batch, context), batch, ceilings);
    if (limit.compute_seconds >= limit.memory_seconds) return batch;
  }
  return 0;
}

std::vector<RooflineRow> roofline(const RooflineConfig& config, const Backend& backend,
                                  const Ceilings& ceilings) {
  std::vector<RooflineRow> rows;
  for (const std::string& format : expand_formats(config.format)) {
    LoadOptions options;
    if (format != "stored") options.policy = policy_of(parse_method(format));
    options.kv_format = parse_cache_name(config.kv_format);
    options.plan_only = true;
    with_context(format, [&] {
      add_rows(config, load(config.model, backend, options), ceilings, format, &rows);
    });
  }
  return rows;
}

std::vector<std::vector<std::string>> roofline_table(std::span<const RooflineRow> rows) {
  std::vector<std::vector<std::string>> table = {{"format", "batch", "context", "MB/step",
                                                  "decode tok/s", "limit", "MFLOP/token",
                                                  "prefill tok/s", "limit", "compute from batch"}};
  for (const RooflineRow& row : rows) {
    const bool decoded = row.resident == "bf16" && !row.format.starts_with("bf16");
    table.push_back({decoded ? row.format + " (resident: bf16)" : row.format,
                     std::to_string(row.batch), std::to_string(row.context),
                     megabytes(row.decode.work.bytes), number(row.decode.tokens_per_second),
                     row.decode.resource, number(row.decode.work.flops() / row.batch / 1e6),
                     number(row.prefill.tokens_per_second), row.prefill.resource,
                     row.compute_bound_from ? std::to_string(row.compute_bound_from) : "never"});
  }
  return table;
}

std::string ceilings_text(const Ceilings& ceilings) {
  std::string text = ceilings.gpu.empty() ? "" : ceilings.gpu + ": ";
  for (const Level& level : ceilings.levels) {
    text += fmt::format("{} {} GB/s", level.name, number(level.bytes_per_second / 1e9));
    text += level.bytes ? fmt::format(" (up to {}), ", size_text(level.bytes)) : "; ";
  }
  if (ceilings.gpu.empty()) {
    text += fmt::format("f32 {} GFLOP/s, int8 {} GOP/s; ", number(ceilings.float_flops / 1e9),
                        number(ceilings.integer_flops / 1e9));
  } else {
    text += fmt::format("bf16 {} TFLOP/s, int8 {} TOP/s, ", number(ceilings.float_flops / 1e12),
                        number(ceilings.integer_flops / 1e12));
    text += ceilings.float8_flops > 0
                ? fmt::format("fp8 {} TFLOP/s; ", number(ceilings.float8_flops / 1e12))
                : "no fp8 in tensor cores; ";
  }
  text += ceilings.measured.empty() ? "as given" : "measured " + ceilings.measured;
  if (!ceilings.unstable.empty()) {
    text += "\nto be distrusted, and so are percentages of it: " + join(ceilings.unstable, "; ") +
            "; on a quiet machine: lowbit roofline fresh=true";
  }
  return text;
}

nlohmann::ordered_json roofline_json(std::span<const RooflineRow> rows, const Ceilings& ceilings) {
  nlohmann::ordered_json json;
  json["measured"] = ceilings.measured;
  json["unstable"] = ceilings.unstable;
  json["gpu"] = ceilings.gpu;
  for (const Level& level : ceilings.levels) {
    json["levels"].push_back({{"name", level.name},
                              {"bytes", level.bytes},
                              {"bytes_per_second", level.bytes_per_second}});
  }
  json["float_flops"] = ceilings.float_flops;
  json["integer_flops"] = ceilings.integer_flops;
  json["float8_flops"] = ceilings.float8_flops;
  json["rows"] = nlohmann::ordered_json::array();
  for (const RooflineRow& row : rows) {
    json["rows"].push_back({{"format", row.format},
                            {"resident", row.resident},
                            {"batch", row.batch},
                            {"context", row.context},
                            {"decode", json_of(row.decode)},
                            {"prefill", json_of(row.prefill)},
                            {"compute_bound_from", row.compute_bound_from}});
  }
  return json;
}

}  // namespace lowbit
