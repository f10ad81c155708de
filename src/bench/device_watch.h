// What the device does while a case is timed: energy, clocks, temperature, who else uses it.
// Sources are NVML for GPUs and RAPL for CPUs; the arithmetic on their samples knows neither.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace lowbit {

inline constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

// One look at a device; kUnknown for what it does not tell.
struct DeviceSample {
  double seconds = 0;        // of the steady clock (base/timer.h)
  double joules = kUnknown;  // since some moment, if the device counts them itself
  double watts = kUnknown;   // now
  double megahertz = kUnknown, celsius = kUnknown;
  uint64_t slowed = 0;  // bits of kSlowedReasons
  int32_t others = 0;   // processes that use it beside this one
};

// Why a GPU runs below its clock, by NVML's bits; those that no user asked for.
struct SlowedReason {
  uint64_t bit;
  std::string_view text;
};
inline constexpr SlowedReason kSlowedReasons[] = {{0x04, "power cap"},
                                                  {0x08, "hardware slowdown"},
                                                  {0x20, "temperature (driver)"},
                                                  {0x40, "temperature (hardware)"},
                                                  {0x80, "power brake"}};

class DeviceSource {
 public:
  virtual ~DeviceSource() = default;
  virtual DeviceSample read() = 0;
  // Whether it must be read again and again, because it tells watts and clocks, not energy.
  virtual bool polled() const { return false; }
  virtual std::string driver() const { return ""; }
  virtual double power_limit() const { return 0; }  // watts; 0: unknown
};

// A source, or why there is none.
struct FoundSource {
  std::unique_ptr<DeviceSource> source;
  std::string reason;
};

// Energy counters of the CPU's packages and their memory below `root`.
FoundSource open_rapl(const std::string& root = "/sys/class/powercap");
// The GPU that this process sees first.
FoundSource open_nvml();

// Takes samples: when told, and of a polled source every `period` seconds from a thread.
class DeviceWatch {
 public:
  DeviceWatch(DeviceSource& source, double period = 0.02);
  ~DeviceWatch() { stop(); }
  DeviceWatch(const DeviceWatch&) = delete;
  DeviceWatch& operator=(const DeviceWatch&) = delete;

  void look();
  std::vector<DeviceSample> stop();  // all samples, in order of time

 private:
  DeviceSource& source_;
  std::mutex mutex_;
  std::vector<DeviceSample> samples_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

// Energy between two moments: the counter's difference, straight lines between samples; or, of a
// source without a counter, watts integrated by trapezoids. kUnknown outside the samples.
double joules_between(std::span<const DeviceSample> samples, double begin, double end);

struct DeviceSummary {
  double megahertz = kUnknown;        // median
  double celsius = kUnknown;          // highest
  std::vector<std::string> unstable;  // slowed down, and why; used by others
};
DeviceSummary summarize(std::span<const DeviceSample> samples);

}  // namespace lowbit
