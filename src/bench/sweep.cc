#include "bench/sweep.h"

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>

#include "base/check.h"
#include "base/process.h"
#include "base/rng.h"
#include "bench/bench_model.h"
#include "bench/result_file.h"

namespace lowbit {
namespace {

// A folder that the cases of one sweep share, removed with it.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string path = std::filesystem::temp_directory_path() / "lowbit-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) {
      throw_error("{}: cannot be made: {}", path, std::strerror(errno));
    }
    path_ = path;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::vector<size_t> shuffled(size_t n, uint64_t seed) {
  constexpr uint64_t kOrderStream = 0x6f72646572;
  Rng rng(seed, kOrderStream);
  std::vector<size_t> order(n);
  for (size_t i = 0; i < n; ++i) order[i] = i;
  for (size_t i = n; i > 1; --i) std::swap(order[i - 1], order[rng.next() % i]);
  return order;
}

Record run_in_child(const BenchCase& c, const std::vector<std::string>& command, double timeout,
                    SweepListener& listener) {
  std::optional<Record> record;
  const auto on_line = [&](std::string_view line) {
    if (line.starts_with("phase ")) {
      listener.on_phase(line.substr(6));
    } else if (line.starts_with("text ")) {
      listener.on_text(c, line.substr(5));
    } else if (line.starts_with("record ")) {
      record = parse_record("a case", line.substr(7));
    }
  };
  const ChildResult result = run_child(
      command, {.timeout = timeout, .on_line = on_line, .on_tick = [&] { listener.on_tick(); }});
  std::string reason = failure(result, timeout);
  if (record && reason.empty()) return *std::move(record);
  Record failed = blank_record(c);
  failed.status = Status::kFail;
  failed.reason = reason.empty() ? "ended without a result" : reason;
  return failed;
}

}  // namespace

std::vector<Record> run_sweep(std::span<const BenchCase> cases, const SweepOptions& options,
                              SweepListener& listener) {
  std::map<std::string, size_t> index;  // of a case's JSON
  for (size_t i = 0; i < cases.size(); ++i) index.emplace(case_text(cases[i]), i);
  LB_CHECK(index.size() == cases.size(), "a case is listed twice");
  LB_CHECK(options.extra.empty() || options.extra.size() == cases.size());

  std::vector<std::optional<Record>> rows(cases.size());
  std::optional<ResultFile> file;
  if (!options.out.empty()) file.emplace(options.out, options.resume);
  if (options.resume) {
    if (!file) throw_error("--resume: needs the file of the earlier run: out=FILE");
    int64_t done = 0;
    for (Record& record : file->recover()) {
      const auto found = index.find(record.config.dump());
      if (found == index.end()) continue;
      done += !rows[found->second];
      rows[found->second] = std::move(record);
    }
    listener.on_resume(done, static_cast<int64_t>(cases.size()));
  }

  const ScratchFolder scratch;
  for (const size_t i : shuffled(cases.size(), options.seed)) {
    if (rows[i]) continue;
    listener.on_case(cases[i]);
    std::vector<std::string> command = options.command;
    command.insert(command.end(), {case_text(cases[i]), scratch.path()});
    if (!options.extra.empty()) command.push_back(options.extra[i]);
    rows[i] = run_in_child(cases[i], command, options.timeout, listener);
    if (file) file->append(*rows[i]);
    listener.on_record(*rows[i]);
  }
  std::vector<Record> records;
  for (std::optional<Record>& row : rows) records.push_back(*std::move(row));
  return records;
}

}  // namespace lowbit
