// Tokens on their way from the device, which draws them, to the host, which reads them later.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ops/backend.h"

namespace lowbit {

class DrawnTokens {
 public:
  // Room for draws of `rows` tokens each.
  DrawnTokens(const Backend& backend, int32_t rows);

  // Forgets what was not read. next[i]: the position that row i is drawn for first.
  void start(std::span<const int32_t> next);
  // A draw has been enqueued: AdvanceArgs with kKept rows of memory().
  void enqueued(Stream stream);
  // The oldest draw that was not read; waits for it. There must be one.
  std::span<const int32_t> read();

  int32_t rows() const { return static_cast<int32_t>(first_.size()); }
  bool has_room() const { return drawn_ - read_ < kKept; }
  int32_t* memory() const { return static_cast<int32_t*>(memory_.data); }
  static constexpr int32_t kKept = 4;  // draws that the host may be behind

 private:
  const GraphApi* api_;  // null: a draw has been made when it was enqueued
  DeviceBytes memory_;   // [kKept, rows]
  std::vector<GraphHandle> events_;
  std::vector<int32_t> first_, tokens_;
  int64_t drawn_ = 0, read_ = 0;
};

}  // namespace lowbit
