#include "ops/memory_trace.h"

#include <utility>

#include "base/check.h"

namespace lowbit {

std::string_view name(MemoryPart part) {
  constexpr std::string_view kNames[kMemoryParts] = {"weights", "state", "workspace", "temporary"};
  return kNames[static_cast<size_t>(part)];
}

DeviceBytes allocate(const Backend& backend, size_t bytes, const MemoryNote& note) {
  try {
    DeviceBytes memory = backend.allocate(bytes);
    if (note.trace && bytes > 0) note.trace->took(note.part, note.what, bytes);
    return memory;
  } catch (Error& error) {
    if (note.trace) note.trace->failed(note.part, note.what, bytes);
    error.add_context(fmt::format("{} ({})", name(note.part), note.what));
    throw;
  }
}

HeldMemory::HeldMemory(const MemoryNote& note, size_t bytes)
    : trace_(note.trace), part_(note.part), bytes_(bytes) {
  if (!trace_) return;
  what_ = note.what;
  trace_->took(part_, what_, bytes_);
}

HeldMemory::HeldMemory(HeldMemory&& other) noexcept
    : trace_(std::exchange(other.trace_, nullptr)),
      part_(other.part_),
      what_(std::move(other.what_)),
      bytes_(other.bytes_) {}

HeldMemory& HeldMemory::operator=(HeldMemory&& other) noexcept {
  release();
  trace_ = std::exchange(other.trace_, nullptr);
  part_ = other.part_;
  what_ = std::move(other.what_);
  bytes_ = other.bytes_;
  return *this;
}

void HeldMemory::release() {
  if (trace_) std::exchange(trace_, nullptr)->gave_back(part_, what_, bytes_);
}

}  // namespace lowbit
