#include "bench/machine_ceilings.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "base/check.h"
#include "base/file.h"
#include "base/text.h"
#include "base/thread_pool.h"
#include "bench/device_ceiling.h"
#include "bench/device_watch.h"
#include "bench/host_load.h"
#include "bench/result_file.h"

namespace lowbit {
namespace {

constexpr int64_t kLeastMemory = int64_t{256} << 20;  // bytes that are read to measure the memory

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return std::string(trim(line));
}

// "32K", "1024K", "32M" in bytes; 0 for anything else.
int64_t cache_bytes(std::string_view text) {
  if (text.empty()) return 0;
  const int64_t unit = text.back() == 'K' ? 1 << 10 : text.back() == 'M' ? 1 << 20 : 0;
  return unit * parse_int(text.substr(0, text.size() - 1)).value_or(0);
}

std::string tag_of(const std::string& level) {
  std::string tag = "read_" + level;
  std::transform(tag.begin(), tag.end(), tag.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return tag;
}

std::vector<Level> levels_of(const Backend& backend) {
  if (!backend.device) {
    return levels_of_host("/sys/devices/system/cpu", thread_pool().workers());
  }
  std::vector<Level> levels;
  const auto cache = static_cast<int64_t>(backend.info().cache_bytes);
  if (cache > 0) levels.push_back({"L2", cache, 0});
  levels.push_back({"memory", 0, 0});
  return levels;
}

// Bytes over which the memory behind a cache of `last` bytes is measured.
int64_t most_memory(const Backend& backend, int64_t last) {
  return backend.device ? int64_t{4} << 30 : std::max(4 * last, kLeastMemory);
}

// Of a GPU only what is in it counts.
bool same_machine(const Fingerprint& a, const Fingerprint& b) {
  if (!a.gpu.empty() || !b.gpu.empty()) {
    const bool limited = a.power_limit > 0 && b.power_limit > 0 && a.power_limit != b.power_limit;
    return a.gpu == b.gpu && !limited;
  }
  return a.cpu == b.cpu && a.cores == b.cores && a.isa == b.isa && a.threads == b.threads &&
         a.memory_bytes == b.memory_bytes;
}

}  // namespace

const Level& Ceilings::level_of(double bytes) const {
  LB_CHECK(!levels.empty());
  for (const Level& level : levels) {
    if (level.bytes == 0 || bytes <= static_cast<double>(level.bytes)) return level;
  }
  return levels.back();
}

std::vector<Level> levels_of_host(const std::string& root, int threads) {
  std::map<std::string, int64_t> sizes;               // of a level's caches, by name
  std::map<std::string, std::set<std::string>> seen;  // who shares each of them
  for (int cpu = 0; cpu < threads; ++cpu) {
    for (int index = 0; index < 8; ++index) {
      const std::string cache = fmt::format("{}/cpu{}/cache/index{}/", root, cpu, index);
      const int64_t bytes = cache_bytes(first_line(cache + "size"));
      if (bytes == 0 || first_line(cache + "type") == "Instruction") continue;
      const std::string name = "L" + first_line(cache + "level");
      const bool known = name == "L1" || name == "L2" || name == "L3";
      if (known && seen[name].insert(first_line(cache + "shared_cpu_list")).second) {
        sizes[name] += bytes;
      }
    }
  }
  std::vector<Level> levels;
  for (const auto& [name, bytes] : sizes) levels.push_back({name, bytes, 0});
  levels.push_back({"memory", 0, 0});
  return levels;
}

std::string spread_of(const std::string& level, const Ceiling& ceiling) {
  constexpr double kMost = 0.2;
  const double below = 1 - ceiling.median / ceiling.bytes_per_second;
  if (below <= kMost) return "";
  return fmt::format("passes over {} differed: the median was {:.0f} % below the best", level,
                     below * 100);
}

double compute_seconds(const Work& work, const Ceilings& ceilings) {
  double seconds = 0;
  for (const Products products : {Products::kFloat, Products::kInteger, Products::kFloat8}) {
    const double flops = work.flops(products);
    if (flops > 0) seconds += flops / ceilings.flops(products);
  }
  return seconds;
}

Ceilings measure_ceilings(const Backend& backend,
                          const std::function<void(std::string_view)>& on_phase) {
  Ceilings ceilings;
  const DeviceInfo info = backend.info();
  if (backend.device) ceilings.gpu = info.name;
  ceilings.levels = levels_of(backend);
  // Multiplying takes a GPU to its power limit on purpose, so it is only watched while it reads.
  FoundSource found = backend.device ? open_nvml() : FoundSource();
  std::optional<DeviceWatch> watch;
  if (found.source) watch.emplace(*found.source);
  const HostLoad before = host_load();
  int64_t last = 0;
  for (Level& level : ceilings.levels) {
    on_phase(level.name);
    const int64_t bytes =
        level.bytes == 0 ? most_memory(backend, last) : level.bytes / (backend.device ? 4 : 2);
    const Ceiling ceiling = read_ceiling(backend, bytes, 0.4);
    level.bytes_per_second = ceiling.bytes_per_second;
    const std::string spread = spread_of(level.name, ceiling);
    if (!spread.empty()) ceilings.unstable.push_back(spread);
    last = level.bytes;
  }
  if (watch) {
    for (std::string& text : summarize(watch->stop()).unstable) {
      ceilings.unstable.push_back(std::move(text));
    }
  }
  on_phase("multiply-adds");
  ceilings.float_flops = compute_ceiling(backend, Products::kFloat);
  ceilings.integer_flops = compute_ceiling(backend, Products::kInteger);
  if (backend.device) ceilings.float8_flops = compute_ceiling(backend, Products::kFloat8);
  if (!backend.device) {
    for (std::string& text : disturbances(before, host_load())) {
      ceilings.unstable.push_back(std::move(text));
    }
  }
  ceilings.measured = utc_now();
  return ceilings;
}

Record ceilings_record(const Ceilings& ceilings, const Fingerprint& machine) {
  Record record;
  record.kind = "roofline";
  record.fingerprint = machine;
  record.fingerprint.gpu = record.llama_bench.gpu_info = ceilings.gpu;
  record.unstable = ceilings.unstable;
  record.llama_bench.test_time = ceilings.measured;
  record.llama_bench.cpu_info = record.fingerprint.cpu;
  record.llama_bench.n_threads = machine.threads;
  record.config["levels"] = nlohmann::ordered_json::object();
  for (const Level& level : ceilings.levels) {
    record.config["levels"][level.name] = level.bytes;
    record.set(tag_of(level.name), exact(level.bytes_per_second));
  }
  record.set("float_ceiling", exact(ceilings.float_flops));
  record.set("integer_ceiling", exact(ceilings.integer_flops));
  if (ceilings.float8_flops > 0) record.set("float8_ceiling", exact(ceilings.float8_flops));
  return record;
}

Ceilings ceilings_of(const Record& record) {
  const auto number = [&](const std::string& tag) {
    const Estimate* estimate = record.find(tag);
    if (!estimate) throw_error("a record of kind roofline has no {}", tag);
    return estimate->median;
  };
  Ceilings ceilings;
  ceilings.measured = record.llama_bench.test_time;
  ceilings.unstable = record.unstable;
  const auto levels = record.config.find("levels");
  if (levels == record.config.end() || !levels->is_object() || levels->empty()) {
    throw_error("a record of kind roofline has no config.levels");
  }
  for (const auto& item : levels->items()) {
    if (!item.value().is_number_integer()) {
      throw_error("config.levels.{} is not a size in bytes", printable(item.key()));
    }
    ceilings.levels.push_back(
        {item.key(), item.value().get<int64_t>(), number(tag_of(item.key()))});
  }
  ceilings.float_flops = number("float_ceiling");
  ceilings.integer_flops = number("integer_ceiling");
  if (record.find("float8_ceiling")) ceilings.float8_flops = number("float8_ceiling");
  ceilings.gpu = record.fingerprint.gpu;
  return ceilings;
}

std::string ceilings_path() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache && *cache) return std::string(cache) + "/lowbit/roofline.jsonl";
  const char* home = std::getenv("HOME");
  return home && *home ? std::string(home) + "/.cache/lowbit/roofline.jsonl" : "";
}

std::optional<Ceilings> stored_ceilings(const std::string& path, const Fingerprint& machine) {
  std::optional<Ceilings> found;
  if (path.empty() || !file_exists(path)) return found;
  for (const Record& record : read_records(path)) {
    if (record.kind != "roofline" || !same_machine(record.fingerprint, machine)) continue;
    if (found && found->unstable.empty() && !record.unstable.empty()) continue;
    found = with_context(path, [&] { return ceilings_of(record); });
  }
  return found;
}

std::optional<Ceilings> known_ceilings(const Fingerprint& machine) {
  try {
    return stored_ceilings(ceilings_path(), machine);
  } catch (const Error&) {
    return std::nullopt;
  }
}

void store_ceilings(const std::string& path, const Record& record) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  if (error) throw_error("{}: cannot be made: {}", path, error.message());
  ResultFile(path, /*resume=*/false).append(record);
}

}  // namespace lowbit
