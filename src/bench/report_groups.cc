#include "bench/report_groups.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <set>

#include "base/text.h"
#include "bench/measure.h"
#include "bench/report.h"

namespace lowbit {
namespace {

struct Unit {
  double at_least;  // of the largest number in the column
  double factor;
  std::string_view name;
};

constexpr std::string_view kMachine = "roofline";  // a kind of record: a machine, no case

constexpr Unit kDurations[] = {{1, 1, "s"}, {1e-3, 1e3, "ms"}, {0, 1e6, "µs"}};
constexpr Unit kSizes[] = {{1e9, 1e-9, "GB"}, {1e6, 1e-6, "MB"}, {1e3, 1e-3, "kB"}, {0, 1, "B"}};
constexpr Unit kSpeeds[] = {{1e9, 1e-9, "GB/s"}, {0, 1e-6, "MB/s"}};
constexpr Unit kOperations[] = {{1e12, 1e-12, "TFLOP"}, {1e9, 1e-9, "GFLOP"}, {0, 1e-6, "MFLOP"}};
constexpr Unit kOperationRates[] = {{1e12, 1e-12, "TFLOP/s"}, {0, 1e-9, "GFLOP/s"}};
constexpr Unit kEnergies[] = {{1, 1, "J"}, {0, 1e3, "mJ"}};
constexpr Unit kPercent[] = {{0, 100, "%"}};

std::span<const Unit> units_of(Hint hint) {
  switch (hint) {
    case Hint::kDuration:
      return kDurations;
    case Hint::kBytes:
      return kSizes;
    case Hint::kBandwidth:
      return kSpeeds;
    case Hint::kFlops:
      return kOperations;
    case Hint::kFlopRate:
      return kOperationRates;
    case Hint::kEnergy:
      return kEnergies;
    case Hint::kPercentage:
      return kPercent;
    case Hint::kPower:
    case Hint::kRate:
    case Hint::kCount:
    case Hint::kNumber:
    case Hint::kNats:
      break;
  }
  return {};
}

Style style_for(const Metric& metric, double largest) {
  Style style{1, std::string(metric.unit)};
  for (const Unit& unit : units_of(metric.hint)) {
    if (largest < unit.at_least) continue;
    style.factor = unit.factor;
    style.unit = unit.name;
    break;
  }
  return style;
}

// Three digits at least: a column may hold 1.32 and 208.
int decimals_of(const Metric& metric, double shown) {
  if (metric.hint == Hint::kNats) return 4;
  if (metric.hint == Hint::kCount) return 0;
  if (metric.hint == Hint::kPercentage) return 1;
  if (metric.hint == Hint::kNumber) return 2;
  return shown >= 100 ? 0 : shown >= 10 ? 1 : 2;
}

Cell cell_of(const Estimate& e, const Metric& metric, const Style& style) {
  const int decimals = decimals_of(metric, std::abs(e.median) * style.factor);
  const auto text = [&](double x) { return fmt::format("{:.{}f}", x * style.factor, decimals); };
  return {text(e.median), e.n > 1 ? text(e.half_width()) : ""};
}

int32_t batch_of(const Record& record) { return config_number(record, "batch", 1); }
int32_t cache_size_of(const Record& record) { return config_number(record, "cache_size", 0); }

std::string title_of(const Record& record) {
  const LlamaBenchFields& f = record.llama_bench;
  std::string title = f.model_filename;
  if (f.model_n_params > 0) {
    title += fmt::format(" ({:.1f} M parameters)", static_cast<double>(f.model_n_params) / 1e6);
  }
  title += fmt::format(", {}, {} thread{}", f.backends, f.n_threads, f.n_threads == 1 ? "" : "s");
  if (record.kind == "linear") return title;
  if (batch_of(record) > 1) title += fmt::format(", batch {}", batch_of(record));
  title += ", KV " + f.type_k;
  if (cache_size_of(record) > 0) title += fmt::format(" for {} tokens", cache_size_of(record));
  title += fmt::format("; prompt {}, {} new tokens", f.n_prompt, f.n_gen + 1);
  return f.n_depth > 0 ? title + fmt::format(" after {}", f.n_depth) : title;
}

bool comparable(const Record& a, const Record& b) {
  const LlamaBenchFields &x = a.llama_bench, &y = b.llama_bench;
  const bool unknown = x.n_prompt == 0 || y.n_prompt == 0;  // skipped or failed before it ran
  return x.model_filename == y.model_filename && x.backends == y.backends &&
         x.n_threads == y.n_threads && x.type_k == y.type_k && batch_of(a) == batch_of(b) &&
         cache_size_of(a) == cache_size_of(b) && x.n_depth == y.n_depth &&
         (unknown || (x.n_prompt == y.n_prompt && x.n_gen == y.n_gen));
}

std::vector<Column> columns_of(std::span<const Record* const> records, bool all) {
  std::vector<Column> columns;
  for (const Metric& metric : kMetrics) {
    double largest = -1;
    for (const Record* record : records) {
      const Estimate* estimate = record->find(metric.tag);
      if (estimate && record->status == Status::kOk) {
        largest = std::max(largest, std::abs(estimate->median));
      }
    }
    if ((!metric.shown && !all) || largest < 0) continue;
    Column column{&metric, style_for(metric, largest), {}};
    for (const Record* record : records) {
      const Estimate* estimate = record->find(metric.tag);
      const bool good = estimate && record->status == Status::kOk;
      column.cells.push_back(good ? cell_of(*estimate, metric, column.style) : Cell{"-", ""});
    }
    columns.push_back(std::move(column));
  }
  return columns;
}

}  // namespace

int32_t config_number(const Record& record, const char* key, int32_t otherwise) {
  const auto found = record.config.find(key);
  const bool said = found != record.config.end() && found->is_number_integer();
  return said ? found->get<int32_t>() : otherwise;
}

std::vector<Record> fastest_first(std::span<const Record> records) {
  const auto speed = [](const Record* record) {
    const Estimate* e = record->find("decode_tps");
    return e && record->status == Status::kOk ? e->median : -1.0;
  };
  std::vector<Record> sorted;
  for (Group& group : groups_of(records)) {
    std::stable_sort(group.records.begin(), group.records.end(),
                     [&](const Record* a, const Record* b) { return speed(a) > speed(b); });
    for (const Record* record : group.records) sorted.push_back(*record);
  }
  std::copy_if(records.begin(), records.end(), std::back_inserter(sorted),
               [](const Record& record) { return record.kind == kMachine; });
  return sorted;
}

std::vector<Group> groups_of(std::span<const Record> records, bool all) {
  std::vector<Group> groups;
  for (const Record& record : records) {
    if (record.kind == kMachine) continue;
    const auto group = std::find_if(groups.begin(), groups.end(), [&](const Group& g) {
      return comparable(*g.records.front(), record);
    });
    (group == groups.end() ? groups.emplace_back() : *group).records.push_back(&record);
  }
  for (Group& group : groups) {
    const auto ran = std::find_if(group.records.begin(), group.records.end(), [](const Record* r) {
      return r->llama_bench.model_n_params > 0;
    });
    group.title = title_of(ran == group.records.end() ? *group.records.front() : **ran);
    group.columns = columns_of(group.records, all);
  }
  return groups;
}

namespace {

// Which kernels a decode step runs.
std::string decode_kernels(const Record& record) {
  std::set<std::string> names;
  for (const KernelChoice& choice : record.fingerprint.kernels) {
    if (choice.m_lo == 1) names.insert(choice.kernel);
  }
  return join({names.begin(), names.end()}, ", ");
}

void note_slower_than_bf16(const Group& group, std::vector<std::string>* notes) {
  const auto bf16 = std::find_if(group.records.begin(), group.records.end(), [](const Record* r) {
    return r->format == "bf16" && r->status == Status::kOk && r->find("decode_tps");
  });
  if (bf16 == group.records.end()) return;
  const Estimate& base = *(*bf16)->find("decode_tps");
  for (const Record* record : group.records) {
    const Estimate* speed = record->find("decode_tps");
    if (!speed || record->status != Status::kOk || speed->hi >= base.lo) continue;
    notes->push_back(fmt::format(
        "warning: {} decodes slower than bf16 ({} against {} tokens/s); it ran {}", record->format,
        show("decode_tps", *speed), show("decode_tps", base), decode_kernels(*record)));
  }
}

// Where nothing can say whether the machine's speed moved meanwhile.
void note_few_runs(const Group& group, std::vector<std::string>* notes) {
  int64_t few = 0, ran = 0;
  for (const Record* record : group.records) {
    const Estimate* runs = record->find("ttft");
    if (record->status != Status::kOk || !runs) continue;
    ++ran;
    few += runs->n < kDriftRuns;
  }
  if (few == 0) return;
  notes->push_back(fmt::format("drift cannot be told in {} of {} cases: fewer than {} runs", few,
                               ran, kDriftRuns));
}

// Of a format as records show it: "int8", "int8+int8", "int8wo: int8-sbf16".
std::string weights_of(const std::string& format) {
  const size_t colon = format.find(": ");
  const std::string pair = colon == std::string::npos ? format : format.substr(colon + 2);
  return pair.substr(0, pair.find('+'));
}

// "as the layers; bf16 of bf16_int4": suites differ in what they do with it.
void note_heads(const Group& group, std::vector<std::string>* notes) {
  constexpr const char* kSame = "as the layers";
  std::vector<std::string> heads;
  std::map<std::string, std::vector<std::string>> rows;
  for (const Record* record : group.records) {
    if (record->head.empty()) continue;
    const std::string head = record->head == weights_of(record->format) ? kSame : record->head;
    if (rows[head].empty()) heads.insert(head == kSame ? heads.begin() : heads.end(), head);
    rows[head].push_back(row_name(*record));
  }
  std::vector<std::string> parts;
  for (const std::string& head : heads) {
    const bool said = head == kSame || heads.size() == 1;
    parts.push_back(said ? head : fmt::format("{} of {}", head, join(rows[head], ", ")));
  }
  if (!parts.empty()) notes->push_back("output head: " + join(parts, "; "));
}

}  // namespace

std::vector<std::string> notes_of(const Group& group) {
  std::vector<std::string> notes;
  const auto add = [&](std::string note) {
    if (std::find(notes.begin(), notes.end(), note) == notes.end())
      notes.push_back(std::move(note));
  };
  add("median ± half of the 95 % interval; per token: bytes that a decode step must read");
  for (const Record* record : group.records) {
    if (!record->quality) continue;
    const QualityText& q = *record->quality;
    add(
        fmt::format("perplexity, KL and top-1 on {}: {} tokens scored, windows of {}; KL and top-1 "
                    "against {}",
                    q.text, q.tokens, q.ctx, q.reference));
  }
  for (const Record* record : group.records) {
    if (record->random_weights) add("random weights: speed and memory only");
  }
  note_heads(group, &notes);
  for (const Record* record : group.records) {
    if (record->status != Status::kOk) {
      add(fmt::format("{}: {}: {}", record->format, name(record->status), record->reason));
    } else if (record->resident != weights_of(record->format)) {
      add(fmt::format("{}: resident: {} (no kernel of {} reads this format)", record->format,
                      record->resident, record->llama_bench.backends));
    }
  }
  for (const Record* record : group.records) {
    if (record->status != Status::kOk || record->unstable.empty()) continue;
    add(fmt::format("{}: unstable: {}", record->format, join(record->unstable, "; ")));
  }
  note_few_runs(group, &notes);
  for (const Record* record : group.records) {
    if (record->status != Status::kOk || record->roof_unstable.empty()) continue;
    add(fmt::format(
        "{}: percentages of ceilings are to be distrusted: those were measured while {}",
        record->format, join(record->roof_unstable, "; ")));
  }
  note_slower_than_bf16(group, &notes);
  return notes;
}

std::string row_name(const Record& record) {
  const std::string asked = record.config_text("format");
  const bool same = asked.empty() || asked == "stored" || asked == record.format;
  const std::string text = same ? record.format : fmt::format("{}: {}", asked, record.format);
  return record.status == Status::kOk ? text : fmt::format("{} ({})", text, name(record.status));
}

std::string show(std::string_view tag, const Estimate& estimate) {
  const Metric& metric = find_metric(tag);
  const Cell cell = cell_of(estimate, metric, style_for(metric, std::abs(estimate.median)));
  return cell.half.empty() ? cell.value : cell.value + " ± " + cell.half;
}

std::string show_with_unit(std::string_view tag, const Estimate& estimate) {
  const std::string unit = style_for(find_metric(tag), std::abs(estimate.median)).unit;
  return show(tag, estimate) + (unit.empty() ? "" : " " + unit);
}

}  // namespace lowbit
