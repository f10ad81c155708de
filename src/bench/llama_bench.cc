#include "bench/llama_bench.h"

#include <algorithm>
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

std::vector<const Record*> rows_of(std::span<const Record> records) {
  std::vector<const Record*> rows;
  for (const Record& record : records) {
    if (record.status == Status::kOk) rows.push_back(&record);
  }
  return rows;
}

// The fields of one row, without the lists of samples.
Json fields_of(const Record& record) {
  const LlamaBenchFields& f = record.llama_bench;
  const LlamaTest test = test_of(f);
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
  row["n_gpu_layers"] = gpu ? 99 : 0;
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
  row["n_prompt"] = test.prompt;
  row["n_gen"] = test.gen;
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

Json with_samples(const Record& record) {
  Json row = fields_of(record);
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

std::string csv(const std::vector<const Record*>& rows) {
  std::string text;
  for (const Record* record : rows) {
    std::vector<std::string> names, values;
    const Json fields = fields_of(*record);
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

std::string sql(const std::vector<const Record*>& rows) {
  std::string text;
  for (const Record* record : rows) {
    std::vector<std::string> columns, names, values;
    const Json fields = fields_of(*record);
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

// A column of the table, and whether it is there even if all rows agree.
struct Column {
  const char* title;
  bool always, right;
  std::string (*cell)(const Record& record);
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

constexpr Column kColumns[] = {
    {"model", true, false, [](const Record& r) { return r.llama_bench.model_type; }},
    {"size", true, true,
     [](const Record& r) { return gib(static_cast<double>(r.llama_bench.model_size)); }},
    {"params", true, true,
     [](const Record& r) { return parameters(r.llama_bench.model_n_params); }},
    {"backend", true, false, [](const Record& r) { return r.llama_bench.backends; }},
    {"threads", true, true,
     [](const Record& r) { return fmt::format("{}", r.llama_bench.n_threads); }},
    {"filename", false, false, [](const Record& r) { return r.llama_bench.model_filename; }},
    {"format", false, false, [](const Record& r) { return r.format; }},
    {"type_kv", false, false, [](const Record& r) { return r.llama_bench.type_k; }},
    {"test", true, true, [](const Record& r) { return llama_test_name(r); }},
    {"t/s", true, true,
     [](const Record& r) {
       return fmt::format("{:.2f} ± {:.2f}", r.llama_bench.avg_ts, r.llama_bench.stddev_ts);
     }},
};

std::string markdown(const std::vector<const Record*>& rows) {
  std::string head = "|", rule = "|";
  std::vector<const Column*> columns;
  for (const Column& column : kColumns) {
    std::set<std::string> cells;
    for (const Record* record : rows) cells.insert(column.cell(*record));
    if (!column.always && cells.size() < 2) continue;
    columns.push_back(&column);
    head += fmt::format(" {} |", column.title);
    rule += column.right ? " ---: |" : " ------ |";
  }
  std::string text = head + "\n" + rule + "\n";
  for (const Record* record : rows) {
    text += "|";
    for (const Column* column : columns) text += fmt::format(" {} |", column->cell(*record));
    text += "\n";
  }
  return text + fmt::format("\nbuild: {} (0)\n",
                            rows.empty() ? "" : rows.front()->llama_bench.build_commit);
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

std::string llama_test_name(const Record& record) {
  const LlamaTest test = test_of(record.llama_bench);
  std::string name;
  if (test.prompt > 0) name = fmt::format("pp{}", test.prompt);
  if (test.gen > 0) name += fmt::format("{}tg{}", name.empty() ? "" : "+", test.gen);
  if (record.llama_bench.n_depth > 0) name += fmt::format(" @ d{}", record.llama_bench.n_depth);
  return name;
}

std::string llama_bench_text(std::span<const Record> records, std::string_view form) {
  const std::vector<const Record*> rows = rows_of(records);
  if (form == "md") return markdown(rows);
  if (form == "csv") return csv(rows);
  if (form == "sql") return sql(rows);
  Json all = Json::array();
  std::string lines;
  for (const Record* record : rows) {
    all.push_back(with_samples(*record));
    // A path may hold bytes that are no UTF-8.
    lines += all.back().dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  LB_CHECK(form == "json" || form == "jsonl", "form {}", form);
  return form == "jsonl" ? lines : all.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace lowbit
