// lowbit microbench: single Linears, by the configs of torchao's microbenchmarks.
#include <filesystem>

#include "app/commands.h"
#include "app/microbench_options.h"
#include "app/output.h"
#include "app/progress.h"
#include "backends.h"
#include "base/check.h"
#include "base/file.h"
#include "base/text.h"
#include "base/thread_pool.h"
#include "bench/fingerprint.h"
#include "bench/microbench_report.h"
#include "bench/result_file.h"

namespace lowbit {
namespace {

// output_dir/inference with what is in it, made now: its error before the work.
std::string make_folder(const MicrobenchConfig& config) {
  if (config.output_dir.empty()) return "";
  std::string folder = config.output_dir + "/inference";
  std::error_code error;
  std::filesystem::create_directories(folder + "/profiler", error);
  if (error) {
    throw_error("output_dir = {}: {}; name another one, or null for none", config.output_dir,
                error.message());
  }
  return folder;
}

// results_DDMMYYYY_HHMMSS.csv
std::string csv_path(const std::string& folder) {
  return fmt::format("{}/results_{}.csv", folder, local_time("%d%m%Y_%H%M%S"));
}

// `csv`: where the table of the cases so far is kept, so that a run may be stopped; "": nowhere.
std::vector<Record> run_all(const MicrobenchConfig& config,
                            const std::vector<MicrobenchCase>& cases, const std::string& csv) {
  std::optional<ResultFile> file;
  if (!config.out.empty()) file.emplace(config.out, /*resume=*/false);
  Microbench bench(config);
  Progress progress("cases");
  std::vector<Record> records;
  for (const MicrobenchCase& c : cases) {
    progress.update(static_cast<int64_t>(records.size()), static_cast<int64_t>(cases.size()),
                    c.name);
    records.push_back(bench.run(c, find_backend(c.device)));
    if (file) file->append(records.back());
    if (!csv.empty()) {
      write_file_atomically(csv, microbench_csv(std::span(cases).first(records.size()), records));
    }
    if (config.output != "json") continue;
    print(to_json_line(records.back()) + "\n");
    flush_output();
  }
  return records;
}

void print_tables(const std::vector<MicrobenchCase>& cases, const std::vector<Record>& records) {
  print("Times of torchao's table: the same weights again and again (warm), median, in µs.\n");
  print(format_table(microbench_rows(cases, records)));
  print(
      "\nCold: copies of the weights in turn, larger than the last cache, so that they come from "
      "memory.\nMedian ± half of the 95 % interval; speedup against the unquantized weights.\n");
  print(format_table(microbench_own_rows(cases, records)));
  for (const std::string& note : microbench_notes(cases, records)) print(note + "\n");
}

}  // namespace

int cmd_microbench(const std::vector<std::string>& args) {
  const std::optional<MicrobenchRequest> request = parse_microbench(args);
  if (!request) return print(microbench_help()), 0;
  const MicrobenchConfig& config = request->config;
  const std::vector<MicrobenchCase> cases = microbench_cases(config);
  if (config.threads > 0) set_threads(config.threads);
  for (const std::string& remark : request->remarks) {
    config.output == "table" ? print(remark + "\n") : note(remark);
  }
  const std::string folder = make_folder(config);
  const std::string path = folder.empty() ? "" : csv_path(folder);
  const std::vector<Record> records = run_all(config, cases, path);
  if (config.output == "table") print_tables(cases, records);
  if (config.output == "csv") print(microbench_csv(cases, records));
  if (!path.empty()) note("results    " + path);
  if (!config.output_json_path.empty()) {
    write_file_atomically(config.output_json_path, microbench_dashboard(cases, records));
    print("Benchmark results saved to " + config.output_json_path + "\n");
  }
  for (const Record& record : records) {
    if (record.status == Status::kFail) return 1;
  }
  return 0;
}

}  // namespace lowbit
