// lowbit bench: runs the cases, shows how far it is, prints and stores what came out.
#include "app/cmd_bench.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "app/options.h"
#include "app/output.h"
#include "app/progress.h"
#include "backends.h"
#include "base/check.h"
#include "base/file.h"
#include "base/text.h"
#include "base/thread_pool.h"
#include "bench/bench_model.h"
#include "bench/metrics.h"
#include "bench/report.h"

namespace lowbit {
namespace {

std::string help() {
  std::string text =
      "usage: lowbit bench [FILE.yaml] [MODEL ...] [KEY=VALUE ...] [-o table|md|json] [--out "
      "FILE]\n"
      "\nSpeed, memory and quality of every model in every format, one case after the other.\n"
      "Without a model: the embedded one. A key on the command line wins over the file; lists\n"
      "are written with commas. Exit code 1 if a case failed.\n\nkeys and defaults:\n";
  BenchConfig config;
  const nlohmann::ordered_json defaults = to_json(config);
  for (const FieldRef& field : fields_of(config)) {
    std::string value = defaults[field.name].dump();
    value.erase(std::remove(value.begin(), value.end(), '"'), value.end());
    text += fmt::format("  {:<15} {:<8} {}\n", field.name, value, field.help);
  }
  return text +
         "\nmetrics (P = prompt_tokens, N = new_tokens; each with median, 95 % interval and, in "
         "JSON, raw samples):\n" +
         metrics_help();
}

// The value of "-o json", "--out=FILE" and the like; nullopt if `args[*i]` is another argument.
std::optional<std::string> flag_value(const std::vector<std::string>& args, size_t* i,
                                      std::initializer_list<std::string_view> names) {
  const std::string& arg = args[*i];
  for (const std::string_view name : names) {
    if (name.starts_with("--") && arg.starts_with(std::string(name) + "=")) {
      return arg.substr(name.size() + 1);
    }
    if (arg != name) continue;
    if (*i + 1 == args.size()) throw_error("{} needs a value", arg);
    return args[++*i];
  }
  return std::nullopt;
}

bool is_yaml(const std::string& arg) { return arg.ends_with(".yaml") || arg.ends_with(".yml"); }

// nullopt: help was asked for.
std::optional<BenchConfig> parse(const std::vector<std::string>& args) {
  BenchConfig config;
  std::vector<std::string> overrides, models;
  bool has_file = false;
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string& arg = args[i];
    if (arg == "--help" || arg == "-h") return std::nullopt;
    if (const auto output = flag_value(args, &i, {"-o", "--output"})) {
      overrides.push_back("output=" + *output);
    } else if (const auto out = flag_value(args, &i, {"--out"})) {
      overrides.push_back("out=" + *out);
    } else if (arg.starts_with("-")) {
      throw_error("unknown flag {}; settings are KEY=VALUE (`lowbit bench --help` lists them)",
                  arg);
    } else if (arg.find('=') != std::string::npos) {
      overrides.push_back(arg);
    } else if (is_yaml(arg)) {
      if (has_file) throw_error("{}: only one file can be given", arg);
      has_file = true;
      apply_yaml(arg, config);
    } else {
      models.push_back(arg);
    }
  }
  apply_overrides(overrides, config);
  if (!models.empty()) config.models = std::move(models);
  check(config);
  return config;
}

// Whether records may be appended to what is there: nothing yet, or whole lines of JSON.
bool takes_records(std::string_view content) {
  if (content.empty()) return true;
  return content.front() == '{' && content.back() == '\n' &&
         nlohmann::json::accept(content.substr(0, content.find('\n')));
}

// Found out now, not after the first case.
void check_out(const std::string& path) {
  if (path.empty()) return;
  if (file_exists(path) && !takes_records(map_file(path).text())) {
    throw_error("out = {}: is not a file of JSON lines; name a new file or one that bench wrote",
                printable(path, 300));
  }
  if (!std::ofstream(path, std::ios::app)) {
    throw_error("out = {}: cannot be written", printable(path, 300));
  }
}

// Progress on standard error, records to the file as they come.
class Runner final : public BenchListener {
 public:
  explicit Runner(const BenchConfig& config) : config_(config) {}

  void on_case(int64_t index, int64_t total, const std::string& what) override {
    index_ = index;
    total_ = total;
    what_ = what;
    progress_.update(index, total, what);
  }
  void on_phase(std::string_view phase) override {
    progress_.update(index_, total_, fmt::format("{}: {}", what_, phase));
  }
  void on_record(const Record& record) override {
    failed_ |= record.status == Status::kFail;
    const std::string line = to_json_line(record);
    if (!config_.out.empty()) append_line(config_.out, line);
    if (config_.output == "json") {
      print(line + "\n");
      flush_output();
    }
  }
  bool failed() const { return failed_; }

 private:
  const BenchConfig& config_;
  Progress progress_{"bench"};
  int64_t index_ = 0, total_ = 1;
  std::string what_;
  bool failed_ = false;
};

}  // namespace

int cmd_bench(const std::vector<std::string>& args) {
  const std::optional<BenchConfig> config = parse(args);
  if (!config) {
    print(help());
    return 0;
  }
  check_out(config->out);
  if (config->threads > 0) set_threads(config->threads);
  std::vector<Record> records;
  bool failed = false;
  {
    Runner runner(*config);
    records = bench_models(*config, find_backend(config->device), &runner);
    failed = runner.failed();
  }
  if (config->output == "table") print(report_table(records));
  if (config->output == "md") print(report_markdown(records));
  return failed ? 1 : 0;
}

}  // namespace lowbit
