#include "engine/generate.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/check.h"
#include "base/timer.h"

namespace lowbit {
namespace {

// Holds back text that may be the start of a stop text.
class StopFilter {
 public:
  explicit StopFilter(const std::vector<std::string>& stop) : stop_(stop) {}

  // Text that is certain to come before any stop text.
  std::string push(const std::string& piece) {
    pending_ += piece;
    size_t earliest = std::string::npos;
    for (const std::string& stop : stop_) {
      if (!stop.empty()) earliest = std::min(earliest, pending_.find(stop));
    }
    stopped_ = earliest != std::string::npos;
    if (stopped_) pending_.resize(earliest);
    return take(stopped_ ? 0 : held_back());
  }
  std::string finish() { return take(0); }
  bool stopped() const { return stopped_; }

 private:
  // The longest tail of pending_ that some stop text starts with.
  size_t held_back() const {
    size_t longest = 0;
    for (const std::string& stop : stop_) {
      for (size_t n = std::min(stop.size(), pending_.size()); n > longest; --n) {
        if (pending_.ends_with(std::string_view(stop).substr(0, n))) longest = n;
      }
    }
    return longest;
  }
  std::string take(size_t keep) {
    std::string out = pending_.substr(0, pending_.size() - keep);
    pending_.erase(0, out.size());
    return out;
  }

  const std::vector<std::string>& stop_;
  std::string pending_;
  bool stopped_ = false;
};

// A NaN in a weight reaches every logit of the first step; later steps need no look.
void check_finite(std::span<const float> logits) {
  if (std::all_of(logits.begin(), logits.end(), [](float v) { return std::isfinite(v); })) return;
  throw_error(
      "the model's logits are not finite: its weights hold a NaN or an infinity, or overflow");
}

}  // namespace

std::string_view name(StopReason reason) {
  constexpr std::string_view kNames[] = {"max_new_tokens", "stop_id", "stop_text", "context_full",
                                         "interrupted"};
  return kNames[static_cast<size_t>(reason)];
}

GenerateResult generate(Stepper& stepper, std::span<const int32_t> prompt,
                        const GenerateOptions& options, const Tokenizer* tokenizer,
                        GenerateListener* listener, const std::atomic<bool>* interrupted) {
  LB_CHECK(stepper.length(0) == 0);
  if (prompt.empty()) throw_error("the prompt has no tokens; give some text or --prompt-ids");
  if (static_cast<int64_t>(prompt.size()) > stepper.max_context()) {
    throw_error("the prompt has {} tokens, more than the context of {}; shorten it", prompt.size(),
                stepper.max_context());
  }
  if (!options.stop.empty() && !tokenizer)
    throw_error("--stop needs a tokenizer; the model has none");

  GenerateResult result;
  std::optional<StreamDecoder> decoder;
  if (tokenizer) decoder.emplace(*tokenizer);
  StopFilter filter(options.stop);
  const auto is_stop_id = [&](int32_t id) {
    return std::find(options.stop_ids.begin(), options.stop_ids.end(), id) !=
           options.stop_ids.end();
  };

  Timer timer;
  const int32_t sequence = 0;
  stepper.prefill(sequence, prompt);
  stepper.start_decode({&sequence, 1}, {&options.sampling, 1});
  int32_t id = stepper.drawn()[0];
  result.first_token_seconds = timer.seconds();
  check_finite(stepper.logits());
  // Draws that may be asked for: the last one needs no place in the context.
  const int64_t most =
      std::min<int64_t>(options.max_new_tokens,
                        int64_t{stepper.max_context()} + 1 - static_cast<int64_t>(prompt.size()));
  int64_t enqueued = 1, read = 1;
  timer.restart();
  while (true) {
    if (is_stop_id(id)) {
      result.stopped = StopReason::kStopId;
      break;
    }
    result.ids.push_back(id);
    const std::string text = decoder ? filter.push(decoder->push(id)) : "";
    if (listener) listener->on_token(id, text);
    if (filter.stopped()) {
      result.stopped = StopReason::kStopText;
      break;
    }
    if (static_cast<int32_t>(result.ids.size()) >= options.max_new_tokens) break;
    if (interrupted && interrupted->load(std::memory_order_relaxed)) {
      result.stopped = StopReason::kInterrupted;
      break;
    }
    if (read == most) {
      result.stopped = StopReason::kContextFull;
      break;
    }
    // The step after the next is on its way before the next one's token is known.
    for (; enqueued < std::min(most, read + 1 + stepper.ahead()); ++enqueued) stepper.decode();
    id = stepper.drawn()[0];
    ++read;
    ++result.decode_steps;
  }
  result.decode_seconds = timer.seconds();
  // What was fed before its token was seen to be the last one is forgotten.
  stepper.truncate(sequence, static_cast<int32_t>(static_cast<int64_t>(prompt.size()) + read - 1));
  if (decoder && listener) {
    const std::string rest = filter.push(decoder->finish()) + filter.finish();
    if (!rest.empty()) listener->on_token(-1, rest);
  }
  return result;
}

}  // namespace lowbit
