#include "bench/llama_bench.h"

#include <algorithm>
#include <iterator>
#include <set>

#include "base/check.h"
#include "base/text.h"

namespace lowbit {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMostValues = 10000;

int32_t count_of(const std::string& flag, std::string_view text) {
  const auto value = parse_int(trim(text));
  if (!value || *value < 0 || *value > (1 << 24)) {
    throw_error("{}: `{}` is not a number from 0 to {}", flag, printable(text), 1 << 24);
  }
  return static_cast<int32_t>(*value);
}

// first-last, first-last+step, first-last*factor
void add_range(const std::string& flag, std::string_view text, std::vector<int32_t>* values) {
  const size_t dash = text.find('-');
  if (dash == std::string_view::npos) return values->push_back(count_of(flag, text));
  const size_t op = text.find_first_of("+*", dash);
  const int64_t first = count_of(flag, text.substr(0, dash));
  const int64_t last = count_of(flag, text.substr(dash + 1, op - dash - 1));
  const bool multiplies = op != std::string_view::npos && text[op] == '*';
  const int64_t by = op == std::string_view::npos ? 1 : count_of(flag, text.substr(op + 1));
  if (by < 1 || (multiplies && (by < 2 || first < 1))) {
    throw_error("{}: `{}` never reaches its end", flag, printable(text));
  }
  if (last < first) throw_error("{}: `{}` ends before it begins", flag, printable(text));
  for (int64_t value = first; value <= last; value = multiplies ? value * by : value + by) {
    values->push_back(static_cast<int32_t>(value));
    if (values->size() > kMostValues) {
      throw_error("{}: `{}` has over {} values", flag, printable(text), kMostValues);
    }
  }
}

// Our case as the test that llama-bench calls it.
LlamaTest test_of(const LlamaBenchFields& f) {
  return f.n_prompt == 1 ? LlamaTest{0, f.n_gen + 1} : LlamaTest{f.n_prompt, f.n_gen};
}

using Rows = std::vector<LlamaRow>;

Rows that_ran(std::span<const LlamaRow> rows) {
  Rows ran;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(ran),
               [](const LlamaRow& row) { return row.record->status == Status::kOk; });
  return ran;
}

// More than any model has, as there: all of its layers are on the GPU.
int32_t gpu_layers(const LlamaBenchFields& f) { return f.gpu_info.empty() ? 0 : 99; }

// The fields of one row, without the lists of samples.
Json fields_of(const LlamaRow& of) {
  const Record& record = *of.record;
  const LlamaBenchFields& f = record.llama_bench;
  const bool gpu = !f.gpu_info.empty();
  Json row;
  row["build_commit"] = f.build_commit;
  row["build_number"] = 0;
  row["cpu_info"] = f.cpu_info;
  row["gpu_info"] = f.gpu_info;
  row["backends"] = f.backends;
  row["model_filename"] = f.model_filename;
  row["model_type"] = f.model_type;
  row["model_size"] = f.model_size;
  row["model_n_params"] = f.model_n_params;
  row["n_batch"] = f.n_batch;
  row["n_ubatch"] = f.n_batch;
  row["n_threads"] = f.n_threads;
  row["cpu_mask"] = "0x0";
  row["cpu_strict"] = false;
  row["poll"] = 0;
  row["type_k"] = f.type_k;
  row["type_v"] = f.type_v;
  row["n_gpu_layers"] = gpu_layers(f);
  row["n_cpu_moe"] = 0;
  row["split_mode"] = "none";
  row["main_gpu"] = 0;
  row["no_kv_offload"] = !gpu;
  row["flash_attn"] = true;
  row["devices"] = "auto";
  row["tensor_split"] = "0.00";
  row["tensor_buft_overrides"] = "none";
  row["use_mmap"] = true;
  row["use_direct_io"] = false;
  row["embeddings"] = false;
  row["no_op_offload"] = 0;
  row["no_host"] = false;
  row["repack"] = true;
  row["fit_target"] = 0;
  row["fit_min_ctx"] = 0;
  row["n_prompt"] = of.test.prompt;
  row["n_gen"] = of.test.gen;
  row["n_depth"] = f.n_depth;
  row["test_time"] = f.test_time;
  row["avg_ns"] = f.avg_ns;
  row["stddev_ns"] = f.stddev_ns;
  row["avg_ts"] = f.avg_ts;
  row["stddev_ts"] = f.stddev_ts;
  row["format"] = record.format;
  row["resident"] = record.resident;
  row["plan"] = record.fingerprint.plan;
  row["stable"] = record.unstable.empty();
  return row;
}

Json with_samples(const LlamaRow& of) {
  const Record& record = *of.record;
  Json row = fields_of(of);
  row["samples_ns"] = record.llama_bench.samples_ns;
  row["samples_ts"] = record.llama_bench.samples_ts;
  for (const Value& value : record.values) {  // ours, each with its interval
    row["values"][value.tag] = {{"median", value.estimate.median},
                                {"lo", value.estimate.lo},
                                {"hi", value.estimate.hi},
                                {"n", value.estimate.n}};
  }
  return row;
}

std::string text_of(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return fmt::format("{:.6f}", value.get<double>());
  if (value.is_boolean()) return value.get<bool>() ? "1" : "0";
  return value.dump();
}

std::string quoted(const std::string& text, char quote) {
  std::string out(1, quote);
  for (const char c : text) out += c == quote ? std::string(2, quote) : std::string(1, c);
  return out + quote;
}

std::string csv(const Rows& rows) {
  std::string text;
  for (const LlamaRow& row : rows) {
    std::vector<std::string> names, values;
    const Json fields = fields_of(row);
    for (const auto& [key, value] : fields.items()) {
      names.push_back(key);
      values.push_back(quoted(text_of(value), '"'));
    }
    if (text.empty()) text = join(names, ",") + "\n";
    text += join(values, ",") + "\n";
  }
  return text;
}

std::string sql_type(const Json& value) {
  return value.is_number_float() ? "REAL" : value.is_string() ? "TEXT" : "INTEGER";
}

std::string sql(const Rows& rows) {
  std::string text;
  for (const LlamaRow& row : rows) {
    std::vector<std::string> columns, names, values;
    const Json fields = fields_of(row);
    for (const auto& [key, value] : fields.items()) {
      columns.push_back(fmt::format("  {} {}", key, sql_type(value)));
      names.push_back(key);
      values.push_back(quoted(text_of(value), '\''));
    }
    if (text.empty()) {
      text = "CREATE TABLE IF NOT EXISTS llama_bench (\n" + join(columns, ",\n") + "\n);\n\n";
    }
    text += fmt::format("INSERT INTO llama_bench ({}) VALUES ({});\n", join(names, ", "),
                        join(values, ", "));
  }
  return text;
}

// Which columns a table has although all of its rows agree in them.
enum class Shown : uint8_t { kAlways, kNever, kOnCpu, kOnGpu };

struct Column {
  const char* title;
  Shown shown;
  bool right;
  std::string (*cell)(const LlamaRow& row);
};

std::string gib(double bytes) {
  constexpr double kMebi = 1 << 20;
  return bytes < 1024 * kMebi ? fmt::format("{:.2f} MiB", bytes / kMebi)
                              : fmt::format("{:.2f} GiB", bytes / kMebi / 1024);
}

std::string parameters(int64_t count) {
  const auto number = static_cast<double>(count);
  return number < 1e9 ? fmt::format("{:.2f} M", number / 1e6)
                      : fmt::format("{:.2f} B", number / 1e9);
}

const LlamaBenchFields& fields(const LlamaRow& row) { return row.record->llama_bench; }

constexpr Column kColumns[] = {
    {"model", Shown::kAlways, false, [](const LlamaRow& r) { return fields(r).model_type; }},
    {"size", Shown::kAlways, true,
     [](const LlamaRow& r) { return gib(static_cast<double>(fields(r).model_size)); }},
    {"params", Shown::kAlways, true,
     [](const LlamaRow& r) { return parameters(fields(r).model_n_params); }},
    {"backend", Shown::kAlways, false, [](const LlamaRow& r) { return fields(r).backends; }},
    {"ngl", Shown::kOnGpu, true,
     [](const LlamaRow& r) { return fmt::format("{}", gpu_layers(fields(r))); }},
    {"threads", Shown::kOnCpu, true,
     [](const LlamaRow& r) { return fmt::format("{}", fields(r).n_threads); }},
    {"filename", Shown::kNever, false, [](const LlamaRow& r) { return fields(r).model_filename; }},
    {"format", Shown::kNever, false, [](const LlamaRow& r) { return r.record->format; }},
    {"type_kv", Shown::kNever, false, [](const LlamaRow& r) { return fields(r).type_k; }},
    {"test", Shown::kAlways, true,
     [](const LlamaRow& r) { return llama_test_name(r.test, fields(r).n_depth); }},
    {"t/s", Shown::kAlways, true,
     [](const LlamaRow& r) {
       return fmt::format("{:.2f} ± {:.2f}", fields(r).avg_ts, fields(r).stddev_ts);
     }},
};

std::string markdown(const Rows& rows) {
  const auto on_gpu = [](const LlamaRow& row) { return gpu_layers(fields(row)) > 0; };
  const bool gpu = std::any_of(rows.begin(), rows.end(), on_gpu);
  const bool cpu = !std::all_of(rows.begin(), rows.end(), on_gpu);
  std::string head = "|", rule = "|";
  std::vector<const Column*> columns;
  for (const Column& column : kColumns) {
    std::set<std::string> cells;
    for (const LlamaRow& row : rows) cells.insert(column.cell(row));
    const bool agreed = column.shown == Shown::kAlways || (column.shown == Shown::kOnCpu && cpu) ||
                        (column.shown == Shown::kOnGpu && gpu);
    if (!agreed && cells.size() < 2) continue;
    columns.push_back(&column);
    head += fmt::format(" {} |", column.title);
    rule += column.right ? " ---: |" : " ------ |";
  }
  std::string text = head + "\n" + rule + "\n";
  for (const LlamaRow& row : rows) {
    text += "|";
    for (const Column* column : columns) text += fmt::format(" {} |", column->cell(row));
    text += "\n";
  }
  return text + fmt::format("\nbuild: {} (0)\n",
                            rows.empty() ? "" : rows.front().record->llama_bench.build_commit);
}

}  // namespace

std::vector<int32_t> parse_llama_values(const std::string& flag, std::string_view text) {
  std::vector<int32_t> values;
  for (const std::string_view item : split(text, ',')) add_range(flag, trim(item), &values);
  return values;
}

LlamaTest parse_llama_pair(const std::string& flag, std::string_view text) {
  const std::vector<std::string_view> parts = split(text, ',');
  if (parts.size() != 2) {
    throw_error("{}: `{}` must be two numbers, as in 512,128", flag, printable(text));
  }
  return {count_of(flag, parts[0]), count_of(flag, parts[1])};
}

std::string llama_test_name(const LlamaTest& test, int32_t depth) {
  std::string name;
  if (test.prompt > 0) name = fmt::format("pp{}", test.prompt);
  if (test.gen > 0) name += fmt::format("{}tg{}", name.empty() ? "" : "+", test.gen);
  if (depth > 0) name += fmt::format(" @ d{}", depth);
  return name;
}

std::vector<LlamaRow> llama_rows(std::span<const Record> records) {
  std::vector<LlamaRow> rows;
  for (const Record& record : records) rows.push_back({test_of(record.llama_bench), &record});
  return rows;
}

std::string llama_bench_text(std::span<const LlamaRow> rows, std::string_view form) {
  const Rows ran = that_ran(rows);
  if (form == "md") return markdown(ran);
  if (form == "csv") return csv(ran);
  if (form == "sql") return sql(ran);
  Json all = Json::array();
  std::string lines;
  for (const LlamaRow& row : ran) {
    all.push_back(with_samples(row));
    // A path may hold bytes that are no UTF-8.
    lines += all.back().dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  LB_CHECK(form == "json" || form == "jsonl", "form {}", form);
  return form == "jsonl" ? lines : all.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace lowbit
