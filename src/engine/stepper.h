// Runs a model step by step over a batch of sequences; blind to what kind of model it is.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/state.h"

namespace lowbit {

struct StepperOptions {
  int32_t max_sequences = 1;
  int32_t max_context = 0;  // 0: what the model was made for
  int32_t max_step_tokens = 512;
};

// Tokens that one sequence adds in one step, and for how many of its last ones logits are wanted.
struct Chunk {
  int32_t sequence;
  std::span<const int32_t> tokens;
  int32_t logits = 0;
};

class Stepper {
 public:
  // `model` and `backend` must outlive the stepper.
  Stepper(const Model& model, const Backend& backend, const StepperOptions& options);

  // One forward pass. Logit rows follow the order of the chunks. Error: more tokens or logit rows
  // than a step takes, a token outside the vocabulary, a sequence that outgrows the context.
  void step(std::span<const Chunk> chunks);

  // The whole prompt of one sequence, in as many steps as it needs; logits of its last token.
  void prefill(int32_t sequence, std::span<const int32_t> tokens);

  // Draws a token from logit row `row` of the last step. `mask`: [(vocab + 31) / 32] words, a set
  // bit allows the token; null allows all. Error if the mask allows nothing.
  int32_t sample(int32_t row, const SampleParams& params, const uint32_t* mask = nullptr);

  // The last step's logits on the host, [n_logits, vocab].
  std::span<const float> logits();

  void truncate(int32_t sequence, int32_t length) { state_.truncate(sequence, length); }
  int32_t length(int32_t sequence) const { return state_.length(sequence); }
  int32_t vocab_size() const { return model_.vocab_size(); }
  int32_t max_context() const { return max_context_; }
  int32_t max_step_tokens() const { return max_step_tokens_; }
  int32_t max_logit_rows() const { return max_logit_rows_; }
  const StateStore& state() const { return state_; }
  size_t scratch_bytes() const { return scratch_bytes_; }
  void set_trace(Trace* trace) { trace_ = trace; }

 private:
  void check(std::span<const Chunk> chunks) const;

  const Model& model_;
  const Backend& backend_;
  int32_t max_context_, max_step_tokens_, max_logit_rows_;
  StateStore state_;
  size_t scratch_bytes_;
  Scratch scratch_;
  DeviceBytes workspace_, batch_, logits_, sampling_;
  std::vector<int32_t> host_batch_;  // tokens | pos | slot | logit_row
  std::vector<int32_t> last_pos_;    // position after each logit row of the last step
  std::vector<float> host_logits_;
  int32_t n_logits_ = 0;
  Trace* trace_ = nullptr;
};

}  // namespace lowbit
