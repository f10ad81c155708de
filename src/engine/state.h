// The state that sequences carry: for growing state (KV) a pool of pages and a page table per
// sequence, so that batches of different lengths, prefix sharing and rollback need no new kernel.
#pragma once

#include <cstdint>
#include <vector>

#include "models/model.h"
#include "ops/memory_trace.h"

namespace lowbit {

// What one more token of one sequence adds.
size_t bytes_per_token(const StateSpec& spec);

class StateStore {
 public:
  // Room for `sequences` sequences of up to `max_context` tokens each. `trace` may be null.
  // OutOfMemory says how much that is and, on a device, how many tokens would fit.
  StateStore(const Backend& backend, const std::vector<StateSpec>& specs, int32_t sequences,
             int32_t max_context, MemoryTrace* trace = nullptr);

  // Makes sure that positions [0, length) of a sequence have pages. Error when the pool is full or
  // the length exceeds max_context.
  void reserve(int32_t sequence, int32_t length);
  // Forgets everything from position `length` on; its pages can be used by others.
  void truncate(int32_t sequence, int32_t length);
  int32_t length(int32_t sequence) const { return length_[sequence]; }

  StateView view() const { return {views_}; }
  size_t bytes() const;            // of all pools
  size_t used_bytes() const;       // of the pages that sequences hold
  size_t bytes_per_token() const;  // of all states
  static constexpr int32_t kPageTokens = 64;

 private:
  void allocate_pages(const std::vector<StateSpec>& specs, int64_t pages, MemoryTrace* trace);

  const Backend& backend_;
  int32_t max_context_, pages_per_sequence_;
  std::vector<DeviceBytes> pools_;
  std::vector<KvView> views_;
  std::vector<int32_t> page_table_;  // host mirror of [sequences, pages_per_sequence]
  DeviceBytes device_table_;
  std::vector<int32_t> free_pages_;
  std::vector<int32_t> length_, pages_;  // per sequence: tokens, pages held
  size_t bytes_per_token_ = 0;
};

}  // namespace lowbit
