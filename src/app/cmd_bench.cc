// lowbit bench: runs the cases, shows how far it is, prints and stores what came out.
#include "app/cmd_bench.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "app/bench_options.h"
#include "app/commands.h"
#include "app/microbench_options.h"
#include "app/output.h"
#include "app/sweep_progress.h"
#include "backends.h"
#include "base/check.h"
#include "base/file.h"
#include "base/process.h"
#include "base/text.h"
#include "base/thread_pool.h"
#include "bench/bench_model.h"
#include "bench/harness_line.h"
#include "bench/report.h"
#include "bench/result_file.h"
#include "bench/suite.h"
#include "bench/sweep.h"

namespace lowbit {
namespace {

// What the process of one case is started with, before the case and the scratch folder.
constexpr const char* kCaseFlag = "--case";

// Runs one case and tells the process that started this one. args: --case, the case, a scratch
// folder and, where profiles are wanted, which.
int run_one(const std::vector<std::string>& args) {
  const BenchCase c = parse_case(args[1]);
  if (c.threads > 0) set_threads(c.threads);
  const auto on_phase = [](std::string_view phase) {
    print(fmt::format("phase {}\n", phase));
    flush_output();
  };
  const auto on_text = [](std::string_view line) { print(fmt::format("text {}\n", line)); };
  const Record record =
      run_case(c, find_backend(c.device),
               {.on_phase = on_phase,
                .scratch = args[2],
                .profile = args.size() > 3 ? parse_profile(args[3]) : ProfileKeys(),
                .on_text = on_text});
  print("record " + to_json_line(record) + "\n");
  return 0;
}

// Progress on standard error, records to standard output as they come.
class Listener final : public SweepListener {
 public:
  Listener(size_t cases, bool print_records)
      : progress_(static_cast<int64_t>(cases)), print_records_(print_records) {}

  void on_resume(int64_t done, int64_t total) override {
    note(fmt::format("bench: {} of {} cases are done already", done, total));
    progress_.skip(done);
  }
  void on_case(const BenchCase& c) override { progress_.start(c.model + " " + c.format); }
  void on_phase(std::string_view phase) override { progress_.phase(phase); }
  void on_text(const BenchCase& c, std::string_view line) override {
    texts_[case_text(c)] += std::string(line) + "\n";
  }
  void on_tick() override { progress_.draw(); }
  void on_record(const Record& record) override {
    progress_.finish(record);
    if (!print_records_) return;
    print(to_json_line(record) + "\n");
    flush_output();
  }
  // The tables of a case's profiles.
  std::string text_of(const BenchCase& c) const {
    const auto found = texts_.find(case_text(c));
    return found == texts_.end() ? "" : found->second;
  }

 private:
  SweepProgress progress_;
  std::map<std::string, std::string> texts_;
  bool print_records_;
};

// What the suite's users look for at the end of a run.
void print_suite_lines(const std::vector<Record>& records) {
  for (const Record& record : records) {
    const std::string lines = suite_lines(record);
    if (records.size() > 1) {
      print(fmt::format("{} {}:{}\n", record.config_text("model"), record.config_text("format"),
                        lines.empty() ? " " + record.reason : ""));
    }
    print(lines);
  }
  print("\n");
}

// error.txt as the suite leaves it; what failed is in the records too.
void write_errors(const std::vector<Record>& records, const std::string& folder) {
  std::string text;
  for (const Record& record : records) {
    if (record.status == Status::kFail) text += record.reason + "\n";
  }
  if (!folder.empty() && !text.empty()) write_file_atomically(folder + "/error.txt", text);
}

// The rows as llama-bench writes them; false if that was not asked for.
bool print_llama_bench(const BenchRequest& request, const std::vector<LlamaRow>& rows) {
  const std::string& output = request.config.output;
  if (!request.llama.also().empty()) {
    note(llama_bench_text(rows, request.llama.also()));
  }
  const bool fields = output == "csv" || output == "jsonl" || output == "sql";
  if (!fields && !request.llama.given()) return false;
  print(llama_bench_text(rows, output == "table" ? "md" : output));
  for (const auto& [test, record] : rows) {
    if (record->status == Status::kOk) continue;
    note(fmt::format("{} {}: {}", record->config_text("model"),
                     llama_test_name(test, record->llama_bench.n_depth), record->reason));
  }
  return true;
}

// `tests`: of llama-bench's flags, whose cases the records are of.
void print_results(const BenchRequest& request, const std::vector<Record>& records,
                   const std::vector<LlamaCases::Asked>& tests = {}) {
  const std::string& output = request.config.output;
  std::vector<LlamaRow> rows = llama_rows(records);
  if (!tests.empty()) rows.clear();
  for (const auto& [test, at] : tests) rows.push_back({test, &records[at]});
  if (print_llama_bench(request, rows)) return;
  if (request.suite && output != "json") print_suite_lines(records);
  if (output == "table") print(report_table(records));
  if (output == "md") print(report_markdown(records));
  write_errors(records, request.run_folder);
}

// llama-bench's list of what a test can run on.
void print_devices() {
  print("Available devices:\n");
  for (const Backend* backend : backends()) {
    const DeviceInfo info = backend->info();
    print(fmt::format("  {}: {} ({} threads, {})\n", backend->name, info.name, info.threads,
                      format_bytes(static_cast<double>(info.memory_bytes))));
  }
}

// Which profiles each case takes, and where it leaves its files: in the run's folder, or if there
// are several cases in one of its own there.
std::vector<std::string> profiles_of(const BenchRequest& request,
                                     const std::vector<BenchCase>& cases) {
  std::vector<std::string> texts;
  if (!request.profile.any()) return texts;
  for (size_t i = 0; i < cases.size(); ++i) {
    ProfileKeys keys = request.profile;
    keys.folder = request.run_folder;
    if (!keys.folder.empty() && cases.size() > 1) {
      std::string name = fmt::format("{:02}_{}", i + 1, cases[i].format);
      const std::string_view kPlain = "abcdefghijklmnopqrstuvwxyz0123456789_-+.";
      for (char& c : name) {
        if (kPlain.find(c) == std::string_view::npos) c = '_';
      }
      keys.folder += "/" + name;
      std::filesystem::create_directories(keys.folder);
    }
    texts.push_back(profile_text(keys));
  }
  return texts;
}

// Error if every case is longer than its model's context: that is no sweep, that is a mistake.
void check_lengths(const std::vector<BenchCase>& cases) {
  std::optional<Error> first;
  for (const BenchCase& c : cases) {
    try {
      return check_length(c);
    } catch (const Error& error) {
      if (!first) first = error;
    }
  }
  if (first) throw *first;
}

int import_results(const BenchRequest& request) {
  std::vector<Record> records;
  for (const std::string& path : request.imports) {
    int64_t skipped = 0;
    for (Record& record : import_harness_lines(path, &skipped)) {
      records.push_back(std::move(record));
    }
    if (skipped > 0) {
      note(fmt::format("{}: {} lines are none of the harness's record lines", path, skipped));
    }
  }
  const BenchConfig& config = request.config;
  if (!config.out.empty()) {
    ResultFile file(config.out, /*resume=*/false);
    for (const Record& record : records) file.append(record);
  }
  if (config.output == "json") {
    for (const Record& record : records) print(to_json_line(record) + "\n");
  }
  print_results(request, records);
  return 0;
}

}  // namespace

int cmd_bench(const std::vector<std::string>& args) {
  if (args.size() >= 3 && args[0] == kCaseFlag) return run_one(args);
  if (is_microbench_command(args)) return cmd_microbench(args);
  if (std::find(args.begin(), args.end(), "--list-devices") != args.end()) {
    return print_devices(), 0;
  }
  std::optional<BenchRequest> request = parse_bench(args);
  if (!request) {
    print(bench_help());
    return 0;
  }
  if (!request->imports.empty()) return import_results(*request);
  BenchConfig& config = request->config;
  if (config.model.empty()) config.model = {default_bench_model()};
  const bool llama = request->llama.given();
  const LlamaCases asked = llama ? request->llama.cases(config) : LlamaCases();
  const std::vector<BenchCase> cases = llama ? asked.cases : cases_of(config);
  for (const BenchCase& c : cases) {
    with_context("plan = " + printable(c.plan),
                 [&] { return parse_plan(c.plan, find_backend(c.device)); });
    check_case(c);
  }
  check_lengths(cases);
  for (const std::string& remark : request->remarks) {
    if (config.output == "json" || llama) {
      note(remark);
    } else {
      print(remark + "\n");
    }
  }
  for (const std::string& remark : asked.remarks) note(remark);
  const SweepOptions options{.command = {kSelf, "bench", kCaseFlag},
                             .out = config.out,
                             .resume = request->resume,
                             .timeout = config.timeout,
                             .seed = static_cast<uint64_t>(config.seed),
                             .extra = profiles_of(*request, cases)};
  std::vector<Record> records;
  {
    Listener listener(cases.size(), config.output == "json" && !llama);
    records = run_sweep(cases, options, listener);
    for (const BenchCase& c : cases) {
      const std::string text = listener.text_of(c);
      if (text.empty() || config.output == "json") continue;
      if (cases.size() > 1) print(fmt::format("{} {}:\n", c.model, c.format));
      print(text + "\n");
    }
  }
  print_results(*request, records, asked.tests);
  for (const Record& record : records) {
    if (record.status == Status::kFail) return 1;
  }
  return 0;
}

}  // namespace lowbit
