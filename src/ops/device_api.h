// What a device with memory and a clock of its own tells of itself, and the loads that show what it
// can do. Measuring code asks for it; nothing that is timed goes through it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "ops/args.h"
#include "ops/linear.h"

namespace lowbit {

// Bytes of the device's memory.
struct DeviceMemory {
  size_t taken = 0;            // by this process's buffers; the driver's own share is not in it
  size_t peak = 0;             // the most since reset_peak()
  size_t free = 0, total = 0;  // of the device, whoever uses it
};

// Enqueues reading all of [data, data + bytes) `repeats` times, from the device's cache or memory
// and not from caches of single processors. `bytes`: a multiple of 16. False: not on this device.
using DeviceRead = bool (*)(const void* data, size_t bytes, int32_t repeats, Stream);

// Enqueues multiply-adds on all processors, their operands next to them, and returns how many
// operations they are, two each, in proportion to `rounds`; 0: not on this device.
struct DeviceBurst {
  Products products;
  double (*run)(int32_t rounds, Stream);
};

struct DeviceApi {
  DeviceMemory (*memory)();
  void (*reset_peak)();
  // A point in a stream; the seconds between two of them, once the stream has passed both.
  void* (*make_mark)();
  void (*record_mark)(void* mark, Stream);
  double (*seconds_between)(void* first, void* second);
  void (*destroy_mark)(void* mark);
  // Keeps the stream busy for so many seconds, so that what is enqueued meanwhile follows without
  // waiting for the host.
  void (*hold)(double seconds, Stream);
  // A named range of this thread, inside those that are open, for a tool that watches the process
  // from outside; without one a call is a few nanoseconds.
  void (*push_range)(const char* name);
  void (*pop_range)();
  // The more ways, the better: what is measured is the best.
  std::span<const DeviceRead> reads;
  std::span<const DeviceBurst> bursts;
};

// A mark that is destroyed with its owner.
class Mark {
 public:
  explicit Mark(const DeviceApi& api) : api_(&api), mark_(api.make_mark(), {api.destroy_mark}) {}
  void record(Stream stream) { api_->record_mark(mark_.get(), stream); }
  double seconds_until(const Mark& later) const {
    return api_->seconds_between(mark_.get(), later.mark_.get());
  }

 private:
  struct Destroy {
    void (*destroy)(void*);
    void operator()(void* mark) const { destroy(mark); }
  };
  const DeviceApi* api_;
  std::unique_ptr<void, Destroy> mark_;
};

}  // namespace lowbit
