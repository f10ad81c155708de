// Memory by what it is taken for, from the first tensor that is loaded to the last step: as JSON,
// in records, and as a picture.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/timer.h"
#include "ops/memory_trace.h"

namespace lowbit {

// What was taken after an event. Bytes.
struct MemoryEntry {
  std::string event;                          // "layers.3.qkv", "decode at 137"
  double seconds = 0;                         // since the timeline began
  std::array<double, kMemoryParts> taken{};   // by MemoryPart
  double state_used = 0, temporary_used = 0;  // of what is taken; by sequences, by the step
  double resident = 0;  // of the process, or of a device's buffers; 0 where it is not told

  double total() const;
  bool operator==(const MemoryEntry&) const = default;
};

// The allocation that failed; bytes = 0: not told.
struct MemoryFailure {
  std::string part, what;
  double bytes = 0;
};

class MemoryTimeline final : public MemoryTrace {
 public:
  // Keeps the last `most` entries. `device`: whose memory it is; null: the host's.
  explicit MemoryTimeline(size_t most, const DeviceApi* device = nullptr)
      : most_(most), device_(device) {}

  void took(MemoryPart part, std::string_view what, size_t bytes) override;
  void gave_back(MemoryPart part, std::string_view what, size_t bytes) override;
  void failed(MemoryPart part, std::string_view what, size_t bytes) override;
  // A step has run.
  void stepped(const std::string& event, size_t state_used, size_t temporary_used);

  // Nothing is added after a failure: the last entry is what was taken when it happened.
  const std::optional<MemoryFailure>& failure() const { return failure_; }
  const std::deque<MemoryEntry>& entries() const { return entries_; }
  int64_t dropped() const { return dropped_; }

 private:
  void add(std::string event);

  size_t most_;
  const DeviceApi* device_;
  Timer timer_;
  MemoryEntry now_;
  std::deque<MemoryEntry> entries_;
  int64_t dropped_ = 0;
  std::optional<MemoryFailure> failure_;
};

// At most `most` of them: of neighbours the one with the largest total, the last one always.
std::vector<MemoryEntry> thinned(const std::deque<MemoryEntry>& entries, size_t most);

// {"events": [...], "seconds": [...], "weights": [...], ... "resident": [...]}, one number each per
// entry; and back. Error names `source` for anything else.
nlohmann::ordered_json to_json(const std::vector<MemoryEntry>& entries);
std::vector<MemoryEntry> parse_memory(const std::string& source,
                                      const nlohmann::ordered_json& json);

// The file of a snapshot: {"iteration", "peak": the entry with the most, "dropped", "failed": null
// or
// {"part", "what", "bytes"}, "entries": as above}.
std::string snapshot_json(const MemoryTimeline& timeline, const std::string& iteration);

// The peak by part, in one line; and the allocation that failed, if one did.
std::string memory_text(const MemoryTimeline& timeline);

}  // namespace lowbit
