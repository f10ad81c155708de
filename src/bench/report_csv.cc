#include "base/text.h"
#include "bench/metrics.h"
#include "bench/report.h"
#include "bench/report_groups.h"

namespace lowbit {
namespace {

constexpr const char* kFixed[] = {
    "kind",       "status",   "reason",      "unstable",   "model",          "asked_format",
    "format",     "resident", "device",      "threads",    "kv_format",      "prompt_tokens",
    "new_tokens", "depth",    "batch",       "cache_size", "random_weights", "test_time",
    "cpu",        "gpu",      "build_commit"};

std::vector<std::string> fixed_fields(const Record& r) {
  const LlamaBenchFields& f = r.llama_bench;
  const Fingerprint& print = r.fingerprint;
  return {r.kind,
          std::string(name(r.status)),
          r.reason,
          join(r.unstable, "; "),
          f.model_filename,
          r.config_text("format"),
          r.format,
          r.resident,
          print.device,
          std::to_string(print.threads),
          f.type_k,
          std::to_string(f.n_prompt),
          std::to_string(f.n_gen + 1),
          std::to_string(f.n_depth),
          std::to_string(config_number(r, "batch", 1)),
          std::to_string(config_number(r, "cache_size", 0)),
          r.random_weights ? "true" : "false",
          f.test_time,
          print.cpu,
          print.gpu,
          print.commit};
}

}  // namespace

std::string csv_field(const std::string& text) {
  if (text.find_first_of("\",\r\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + "\"";
}

std::string report_csv(std::span<const Record> records) {
  std::vector<std::string> header(std::begin(kFixed), std::end(kFixed));
  for (const Metric& metric : kMetrics) {
    for (const char* part : {"", "_lo", "_hi"}) header.push_back(std::string(metric.tag) + part);
  }
  std::string text = join(header, ",") + "\r\n";
  for (const Record& record : records) {
    std::vector<std::string> row;
    for (const std::string& field : fixed_fields(record)) row.push_back(csv_field(field));
    for (const Metric& metric : kMetrics) {
      const Estimate* e = record.find(metric.tag);
      if (!e) {
        row.insert(row.end(), 3, "");
        continue;
      }
      for (const double value : {e->median, e->lo, e->hi}) row.push_back(fmt::format("{}", value));
    }
    text += join(row, ",") + "\r\n";
  }
  return text;
}

}  // namespace lowbit
