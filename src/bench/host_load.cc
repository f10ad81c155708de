#include "bench/host_load.h"

#include <time.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/check.h"
#include "base/text.h"
#include "base/timer.h"

namespace lowbit {
namespace {

// Sum of what every CPU has counted; 0 where it is not told.
int64_t throttle_count() {
  int64_t total = 0;
  for (int cpu = 0;; ++cpu) {
    const std::string folder = fmt::format("/sys/devices/system/cpu/cpu{}", cpu);
    if (!std::filesystem::exists(folder)) return total;
    std::ifstream file(folder + "/thermal_throttle/core_throttle_count");
    int64_t count = 0;
    if (file >> count) total += count;
  }
}

}  // namespace

HostLoad parse_proc_stat(std::string_view text, double tick) {
  HostLoad load;
  for (const std::string_view line : split(text, '\n')) {
    if (!line.starts_with("cpu")) continue;
    if (line.size() > 3 && line[3] != ' ') {
      ++load.cpus;
      continue;
    }
    // user nice system idle iowait irq softirq steal: proc(5). Guests are in user.
    std::istringstream fields{std::string(line.substr(3))};
    double ticks = 0;
    for (int i = 0; i < 8 && fields >> ticks; ++i) {
      if (i == 3 || i == 4) continue;
      (i == 7 ? load.stolen : load.busy) += ticks * tick;
    }
  }
  return load;
}

HostLoad host_load() {
  std::ostringstream text;
  text << std::ifstream("/proc/stat").rdbuf();
  HostLoad load = parse_proc_stat(text.str(), 1.0 / static_cast<double>(::sysconf(_SC_CLK_TCK)));
  load.seconds = now_seconds();
  timespec own{};
  if (::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own) == 0) {
    load.own = static_cast<double>(own.tv_sec) + static_cast<double>(own.tv_nsec) * 1e-9;
  }
  load.throttled = throttle_count();
  return load;
}

std::vector<std::string> disturbances(const HostLoad& before, const HostLoad& after) {
  constexpr double kShare = 0.1;
  constexpr double kLeastSeconds = 0.1;  // the kernel counts in ticks of 10 ms
  const double seconds = after.seconds - before.seconds;
  if (!(seconds >= kLeastSeconds) || after.cpus == 0) return {};
  std::vector<std::string> found;
  const double others = (after.busy - before.busy - (after.own - before.own)) / seconds;
  const double stolen = (after.stolen - before.stolen) / seconds;
  if (others > kShare * after.cpus) {
    found.push_back(fmt::format("other processes kept {:.1f} of {} CPUs busy", others, after.cpus));
  }
  if (stolen > kShare * after.cpus) {
    found.push_back(fmt::format("the hypervisor took {:.1f} of {} CPUs away", stolen, after.cpus));
  }
  if (after.throttled > before.throttled) {
    found.push_back(
        fmt::format("CPUs were slowed down for heat {} times", after.throttled - before.throttled));
  }
  return found;
}

}  // namespace lowbit
