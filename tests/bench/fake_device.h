// The ref backend as a device with memory and a clock of its own: what is enqueued runs at once,
// and the clock moves by what the test says that it takes.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/text.h"
#include "ref/backend.h"

namespace lowbit::fakes {

struct FakeDevice {
  double now = 0;             // seconds of its clock
  double mark_seconds = 0;    // that recording a mark takes
  double launch_seconds = 0;  // that a kernel takes beside what it does
  double read_rate = 1e12, multiply_rate = 1e13;
  size_t free = size_t{1} << 40;
  size_t largest_read = 0;
  int marks = 0;                                 // that live
  double held = 0;                               // seconds
  std::string op_error;                          // what the next synchronize() finds
  std::vector<std::string> open_ranges, ranges;  // ranges: all there were, "step/op"
};
inline FakeDevice& fake_device() {
  static FakeDevice device;
  return device;
}

inline bool fake_read(const void*, size_t bytes, int32_t repeats, Stream) {
  FakeDevice& device = fake_device();
  device.largest_read = std::max(device.largest_read, bytes);
  device.now += static_cast<double>(bytes) * repeats / device.read_rate;
  return true;
}
inline bool slower_read(const void*, size_t bytes, int32_t repeats, Stream) {
  fake_device().now += 2 * static_cast<double>(bytes) * repeats / fake_device().read_rate;
  return true;
}
inline bool no_read(const void*, size_t, int32_t, Stream) { return false; }

inline double fake_burst(int32_t rounds, Stream) {
  fake_device().now += rounds * 1e6 / fake_device().multiply_rate;
  return rounds * 1e6;
}
inline double no_burst(int32_t, Stream) { return 0; }

inline const DeviceApi& fake_device_api() {
  static constexpr DeviceRead kReads[] = {no_read, slower_read, fake_read};
  static constexpr DeviceBurst kBursts[] = {{Products::kFloat, fake_burst},
                                            {Products::kInteger, no_burst},
                                            {Products::kInteger, fake_burst},
                                            {Products::kFloat8, no_burst}};
  static const DeviceApi api = {
      .memory = []() -> DeviceMemory {
        return {1000, 5000, fake_device().free, size_t{1} << 41};
      },
      .reset_peak = [] {},
      .make_mark = []() -> void* {
        ++fake_device().marks;
        return new double(0);
      },
      .record_mark =
          [](void* mark, Stream) {
            *static_cast<double*>(mark) = fake_device().now;
            fake_device().now += fake_device().mark_seconds;
          },
      .seconds_between =
          [](void* first, void* second) {
            return *static_cast<double*>(second) - *static_cast<double*>(first);
          },
      .destroy_mark =
          [](void* mark) {
            --fake_device().marks;
            delete static_cast<double*>(mark);
          },
      .hold =
          [](double seconds, Stream) {
            fake_device().held += seconds;
            fake_device().now += seconds + fake_device().launch_seconds;
          },
      .push_range =
          [](const char* name) {
            fake_device().open_ranges.emplace_back(name);
            fake_device().ranges.push_back(join(fake_device().open_ranges, "/"));
          },
      .pop_range = [] { fake_device().open_ranges.pop_back(); },
      .reads = kReads,
      .bursts = kBursts};
  return api;
}

inline DeviceInfo fake_info() {
  DeviceInfo info = ref_backend().info();
  info.name = "Fake GPU";
  info.sm = 90;
  info.cache_bytes = 40'000'000;
  return info;
}

inline Backend device_backend() {
  Backend backend = ref_backend();
  backend.name = "fake";
  backend.info = fake_info;
  backend.device = &fake_device_api();
  return backend;
}

}  // namespace lowbit::fakes
