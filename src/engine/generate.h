// Text generation: prompt in, tokens out one by one.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/stepper.h"
#include "tokenizer/tokenizer.h"

namespace lowbit {

struct GenerateOptions {
  SampleParams sampling = {0, 0, 1, 0};
  int32_t max_new_tokens = 128;
  std::vector<int32_t> stop_ids = {};  // end-of-sequence tokens; not part of the output
  std::vector<std::string> stop =
      {};  // texts that end the output; not part of it (needs a tokenizer)
};

enum class StopReason { kMaxNewTokens, kStopId, kStopText, kContextFull, kInterrupted };
std::string_view name(StopReason reason);

struct GenerateResult {
  std::vector<int32_t> ids;
  StopReason stopped = StopReason::kMaxNewTokens;
  double first_token_seconds = 0;  // prompt processing, sampling included
  double decode_seconds = 0;       // the steps after that
  int32_t decode_steps = 0;        // forward passes in decode_seconds: one fewer than tokens drawn
};

// What a caller sees while it runs. `text` is what became certain (empty without a tokenizer).
class GenerateListener {
 public:
  virtual ~GenerateListener() = default;
  // id -1: the last call, text that was held back until the end.
  virtual void on_token(int32_t id, const std::string& text) = 0;
};

// Continues sequence 0, which must be empty. Errors: an empty prompt, one longer than the context.
// `interrupted` may be set by a signal handler; the output so far is kept.
GenerateResult generate(Stepper& stepper, std::span<const int32_t> prompt,
                        const GenerateOptions& options, const Tokenizer* tokenizer,
                        GenerateListener* listener, const std::atomic<bool>* interrupted = nullptr);

}  // namespace lowbit
