// What memory is taken for. A profile attaches a trace to see it; runs that are timed have none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <string_view>

#include "ops/backend.h"

namespace lowbit {

// Weights as resident; KV cache and other state of sequences; what kernels and the stepper need
// beside those; intermediates of a step, and tensors on their way while a model is loaded.
enum class MemoryPart : uint8_t { kWeights, kState, kWorkspace, kTemporary };
inline constexpr size_t kMemoryParts = 4;
std::string_view name(MemoryPart part);

// Hears of memory after it was taken or given back, and of what could not be had.
class MemoryTrace {
 public:
  virtual ~MemoryTrace() = default;
  virtual void took(MemoryPart part, std::string_view what, size_t bytes) = 0;
  virtual void gave_back(MemoryPart part, std::string_view what, size_t bytes) = 0;
  virtual void failed(MemoryPart part, std::string_view what, size_t bytes) = 0;
};

// What the bytes are for, and who hears of it; nobody if `trace` is null.
struct MemoryNote {
  MemoryTrace* trace = nullptr;
  MemoryPart part = MemoryPart::kWorkspace;
  std::string_view what = {};
};

// Zeroed memory of the backend. Error when there is none: it says what for, and the trace hears.
DeviceBytes allocate(const Backend& backend, size_t bytes, const MemoryNote& note);

// Memory that something else owns counts as taken as long as this lives; what an error frees on its
// way is not reported.
class HeldMemory {
 public:
  HeldMemory() = default;
  HeldMemory(const MemoryNote& note, size_t bytes);
  ~HeldMemory() {
    if (std::uncaught_exceptions() == 0) release();
  }
  HeldMemory(HeldMemory&& other) noexcept;
  HeldMemory& operator=(HeldMemory&& other) noexcept;
  HeldMemory(const HeldMemory&) = delete;
  HeldMemory& operator=(const HeldMemory&) = delete;
  void release();

 private:
  MemoryTrace* trace_ = nullptr;
  MemoryPart part_ = MemoryPart::kWorkspace;
  std::string what_;
  size_t bytes_ = 0;
};

}  // namespace lowbit
