// Who else used the CPUs while a case was timed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lowbit {

// CPU seconds since the machine started, of all CPUs together.
struct HostLoad {
  double seconds = 0;     // of the steady clock
  double busy = 0;        // spent by all processes
  double stolen = 0;      // by the hypervisor for other machines
  double own = 0;         // by this process
  int64_t throttled = 0;  // times that CPUs were slowed down for heat
  int32_t cpus = 0;
};

HostLoad host_load();

// The first line of /proc/stat and the number of CPUs in the text; times in `tick` seconds.
HostLoad parse_proc_stat(std::string_view text, double tick);

// What disturbed the time between the two: "other processes kept 0.8 of 2 CPUs busy". Less than a
// tenth of the machine is not a disturbance, and less than a tenth of a second tells nothing.
std::vector<std::string> disturbances(const HostLoad& before, const HostLoad& after);

}  // namespace lowbit
