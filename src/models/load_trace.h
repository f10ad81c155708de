// Where the time of loading a model goes. A profile attaches a trace to see it; else there is none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/timer.h"

namespace lowbit {

// Opening the files, with config and tokenizer; bringing a tensor's bytes into memory; choosing
// codes; arranging and uploading them as the kernels want them; choosing those kernels.
enum class LoadPhase : uint8_t { kOpen, kRead, kQuantize, kPack, kPlan };
inline constexpr size_t kLoadPhases = 5;

class LoadTrace {
 public:
  virtual ~LoadTrace() = default;
  // `what`: a tensor of the file, or a Linear made of several. `bytes`: of its numbers; 0: none.
  virtual void spent(LoadPhase phase, std::string_view what, double seconds, size_t bytes) = 0;
};

// Runs `body`, of whose time `trace` hears if it is not null. `bytes_of` tells how many bytes its
// result has.
template <class Body, class BytesOf>
auto traced(LoadTrace* trace, LoadPhase phase, std::string_view what, const Body& body,
            const BytesOf& bytes_of) {
  if (!trace) return body();
  const Timer timer;
  auto result = body();
  trace->spent(phase, what, timer.seconds(), bytes_of(result));
  return result;
}

}  // namespace lowbit
