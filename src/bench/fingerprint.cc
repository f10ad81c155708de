#include "bench/fingerprint.h"

#include <malloc.h>
#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <set>
#include <utility>

#include "base/build_info.h"
#include "base/hash.h"
#include "base/rng.h"
#include "base/text.h"
#include "ops/host_memory.h"

namespace lowbit {
namespace {

// What kernels ask for, by /proc/cpuinfo's names.
constexpr std::string_view kIsaFlags[] = {"avx2",        "fma",      "f16c",     "avx_vnni",
                                          "avx512f",     "avx512bw", "avx512vl", "avx512_vnni",
                                          "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16"};

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return std::string(trim(line));
}

// The text after the colon of a "key : value" line; "" for another key.
std::string_view value_of(std::string_view line, std::string_view key) {
  if (!line.starts_with(key)) return {};
  const size_t colon = line.find(':');
  return colon == std::string_view::npos ? std::string_view() : trim(line.substr(colon + 1));
}

// Kilobytes of a "Key:   123 kB" line of a file of /proc, in bytes; 0 if there is none.
int64_t kilobytes(const char* path, std::string_view key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const std::string_view value = value_of(line, key);
    if (!value.empty()) return parse_int(value.substr(0, value.find(' '))).value_or(0) * 1024;
  }
  return 0;
}

void read_cpuinfo(Fingerprint* print) {
  std::ifstream file("/proc/cpuinfo");
  std::set<std::pair<std::string, std::string>> cores;  // (package, core)
  std::string package;
  int32_t processors = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("processor")) ++processors;
    if (line.starts_with("physical id")) package = value_of(line, "physical id");
    if (line.starts_with("core id")) cores.emplace(package, value_of(line, "core id"));
    if (print->mhz == 0 && line.starts_with("cpu MHz")) {
      print->mhz = parse_double(value_of(line, "cpu MHz")).value_or(0);
    }
    if (!print->isa.empty() || !line.starts_with("flags")) continue;
    const auto flags = split(value_of(line, "flags"), ' ');
    std::vector<std::string> present;
    for (const std::string_view flag : kIsaFlags) {
      if (std::find(flags.begin(), flags.end(), flag) != flags.end()) present.emplace_back(flag);
    }
    print->isa = join(present, " ");
  }
  print->cores = cores.empty() ? processors : static_cast<int32_t>(cores.size());
}

// Of the largest cache that CPU 0 sees: "32768K".
int64_t last_level_cache() {
  int64_t largest = 0;
  for (int index = 0; index < 8; ++index) {
    const std::string size =
        first_line(fmt::format("/sys/devices/system/cpu/cpu0/cache/index{}/size", index));
    if (size.empty()) break;
    const int64_t number =
        parse_int(std::string_view(size).substr(0, size.find_first_not_of("0123456789")))
            .value_or(0);
    largest = std::max(largest, number << (size.ends_with('M') ? 20 : 10));
  }
  return largest;
}

}  // namespace

Fingerprint machine_fingerprint() {
  const BuildInfo& build = build_info();
  Fingerprint print;
  print.version = build.version;
  print.commit = build.commit;
  print.dirty = build.dirty;
  print.build_type = build.build_type;
  print.compiler = build.compiler;
  print.flags = build.flags;
  print.cuda_toolkit = build.cuda_toolkit;
  struct utsname system;
  if (::uname(&system) == 0) print.os = fmt::format("{} {}", system.sysname, system.release);
  const DeviceInfo host = host_info();
  print.cpu = host.name;
  print.memory_bytes = static_cast<int64_t>(host.memory_bytes);
  read_cpuinfo(&print);
  const char* isa = std::getenv("LB_CPU_ISA");
  print.isa_override = isa ? isa : "";
  print.last_level_cache_bytes = last_level_cache();
  const std::string frequency = "/sys/devices/system/cpu/cpu0/cpufreq/";
  print.governor = first_line(frequency + "scaling_governor");
  if (const auto khz = parse_double(first_line(frequency + "scaling_cur_freq"))) {
    print.mhz = *khz / 1000;
  }
  const std::string load = first_line("/proc/loadavg");
  print.load_average = parse_double(load.substr(0, load.find(' '))).value_or(0);
  return print;
}

std::string head_format(const Model& model) {
  for (const Linear* linear : model.linears()) {
    if (linear->name == "head") return name(linear->format);
  }
  return "";
}

std::vector<KernelChoice> kernel_choices(const Model& model) {
  std::vector<KernelChoice> choices;
  for (const Linear* linear : model.linears()) {
    for (const LinearPlan* plan : linear->plans()) {
      int32_t m_lo = 1;
      for (const LinearPlan::Bucket& bucket : plan->buckets) {
        KernelChoice choice{linear->name.substr(linear->name.rfind('.') + 1), m_lo, bucket.m_hi,
                            std::string(bucket.kernel->name)};
        m_lo = bucket.m_hi + 1;
        if (std::find(choices.begin(), choices.end(), choice) == choices.end()) {
          choices.push_back(std::move(choice));
        }
      }
    }
  }
  return choices;
}

std::string logits_hash(Stepper& stepper) {
  constexpr Rng kRng(0x10b17);
  std::array<int32_t, 8> ids;
  for (size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<int32_t>(kRng.bits(i) % static_cast<uint64_t>(stepper.vocab_size()));
  }
  const size_t count = std::min(ids.size(), static_cast<size_t>(stepper.max_context()));
  stepper.prefill(0, std::span(ids).first(count));
  const uint64_t hash = fnv1a(std::span<const float>(stepper.logits()));
  stepper.truncate(0, 0);
  return fmt::format("{:016x}", hash);
}

int64_t peak_memory(const char* status) { return kilobytes(status, "VmHWM"); }

bool reset_peak_memory() {
  ::malloc_trim(0);                             // what earlier cases freed is not this one's
  std::ofstream file("/proc/self/clear_refs");  // 5: reset VmHWM (proc(5))
  file << "5" << std::flush;
  return file.good();
}

int64_t available_memory() { return kilobytes("/proc/meminfo", "MemAvailable"); }

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm utc;
  ::gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

std::string local_time(const char* format) {
  const std::time_t now = std::time(nullptr);
  std::tm local;
  ::localtime_r(&now, &local);
  char text[32] = {};
  std::strftime(text, sizeof text, format, &local);
  return text;
}

}  // namespace lowbit
