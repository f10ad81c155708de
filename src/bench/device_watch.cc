#include "bench/device_watch.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/check.h"
#include "base/text.h"
#include "base/timer.h"
#include "bench/stats.h"

namespace lowbit {
namespace {

// Energy since the first sample, at each of them.
std::vector<double> cumulative(std::span<const DeviceSample> samples) {
  std::vector<double> joules = {0};
  for (size_t i = 1; i < samples.size(); ++i) {
    const DeviceSample &a = samples[i - 1], &b = samples[i];
    const double step = std::isnan(b.joules) ? (a.watts + b.watts) / 2 * (b.seconds - a.seconds)
                                             : b.joules - a.joules;
    joules.push_back(joules.back() + step);
  }
  return joules;
}

// Straight lines between samples.
double at(std::span<const DeviceSample> samples, std::span<const double> joules, double seconds) {
  size_t i = 1;
  while (i + 1 < samples.size() && samples[i].seconds < seconds) ++i;
  const DeviceSample &a = samples[i - 1], &b = samples[i];
  const double share =
      b.seconds > a.seconds ? (seconds - a.seconds) / (b.seconds - a.seconds) : 1.0;
  return joules[i - 1] + share * (joules[i] - joules[i - 1]);
}

}  // namespace

DeviceWatch::DeviceWatch(DeviceSource& source, double period) : source_(source) {
  look();
  if (!source.polled()) return;
  thread_ = std::thread([this, period] {
    while (!stopping_) {
      std::this_thread::sleep_for(std::chrono::duration<double>(period));
      look();
    }
  });
}

void DeviceWatch::look() {
  const std::lock_guard lock(mutex_);
  samples_.push_back(source_.read());
}

std::vector<DeviceSample> DeviceWatch::stop() {
  stopping_ = true;
  if (thread_.joinable()) thread_.join();
  const std::lock_guard lock(mutex_);
  return samples_;
}

double joules_between(std::span<const DeviceSample> samples, double begin, double end) {
  if (samples.size() < 2 || begin < samples.front().seconds || end > samples.back().seconds) {
    return kUnknown;
  }
  const std::vector<double> joules = cumulative(samples);
  return at(samples, joules, end) - at(samples, joules, begin);
}

DeviceSummary summarize(std::span<const DeviceSample> samples) {
  DeviceSummary summary;
  std::vector<double> clocks;
  size_t slowed = 0;
  uint64_t why = 0;
  int32_t others = 0;
  for (const DeviceSample& sample : samples) {
    if (!std::isnan(sample.megahertz)) clocks.push_back(sample.megahertz);
    summary.celsius = std::fmax(summary.celsius, sample.celsius);  // a NaN loses
    uint64_t bits = 0;
    for (const SlowedReason& reason : kSlowedReasons) bits |= sample.slowed & reason.bit;
    slowed += bits != 0;
    why |= bits;
    others = std::max(others, sample.others);
  }
  if (!clocks.empty()) summary.megahertz = median(clocks);
  if (slowed > 0) {
    std::vector<std::string> texts;
    for (const SlowedReason& reason : kSlowedReasons) {
      if (why & reason.bit) texts.emplace_back(reason.text);
    }
    summary.unstable.push_back(fmt::format("the device was slowed down in {} of {} samples: {}",
                                           slowed, samples.size(), join(texts, ", ")));
  }
  if (others > 0) {
    summary.unstable.push_back(
        fmt::format("{} other process{} used the device", others, others == 1 ? "" : "es"));
  }
  return summary;
}

}  // namespace lowbit
