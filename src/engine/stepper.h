// Runs a model step by step over a batch of sequences; blind to what kind of model it is.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/drawn_tokens.h"
#include "engine/graphs.h"
#include "engine/launch_blocking.h"
#include "engine/state.h"

namespace lowbit {

struct StepperOptions {
  int32_t max_sequences = 1;
  int32_t max_context = 0;      // 0: what the model was made for
  int32_t max_step_tokens = 0;  // at most planned_tokens(); 0: so many, if the context holds them
  StepPlan plan = StepPlan::kEager;  // kGraph: needs a backend with a GraphApi
  MemoryTrace* memory_trace = nullptr;
};

// The most tokens of a step that all plans of a model cover.
int32_t planned_tokens(const Model& model);

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

  // One forward pass, or several where a prompt reads other activations than a single token
  // (LayerChoice::prefill_only) and the chunks mix both. Logit rows follow the order of the chunks.
  // Error: more tokens or logit rows than a step takes, a token outside the vocabulary, a sequence
  // that outgrows the context.
  void step(std::span<const Chunk> chunks);

  // The whole prompt of one sequence, in as many steps as it needs; logits of its last token.
  void prefill(int32_t sequence, std::span<const int32_t> tokens);

  // Draws a token from logit row `row` of the last step. `mask`: [(vocab + 31) / 32] words, a set
  // bit allows the token; null allows all. Error if the mask allows nothing.
  int32_t sample(int32_t row, const SampleParams& params, const uint32_t* mask = nullptr);

  // The last step's logits on the host, [n_logits, vocab].
  std::span<const float> logits();

  // Decoding without the host between two steps. Draws a token for each logit row of the last step,
  // which asked for the last token of each of `sequences`, all different, in this order.
  void start_decode(std::span<const int32_t> sequences, std::span<const SampleParams> params);
  // Feeds every sequence the token drawn last, read or not, and draws the next. Returns at once
  // where the backend has a stream. Error: a sequence outgrows the context.
  void decode();
  // The oldest draw that was not read, a token for each sequence; waits for it. At most
  // DrawnTokens::kKept may be unread. step(), prefill() and truncate() end decoding: what is unread
  // is lost, and tokens that were fed unwanted must be truncated.
  std::span<const int32_t> drawn() { return drawn_.read(); }
  // How many more draws than it has read a caller had better enqueue, so that the device never
  // waits: 1, or 0 where enqueuing is running.
  int32_t ahead() const { return backend_.graph ? 1 : 0; }

  // Waits until all steps have run.
  void synchronize() { backend_.synchronize(stream_); }

  void truncate(int32_t sequence, int32_t length);
  int32_t length(int32_t sequence) const { return state_.length(sequence); }
  int32_t vocab_size() const { return model_.vocab_size(); }
  int32_t max_context() const { return max_context_; }
  int32_t max_step_tokens() const { return max_step_tokens_; }
  int32_t max_logit_rows() const { return max_logit_rows_; }
  const StateStore& state() const { return state_; }
  size_t scratch_bytes() const { return scratch_bytes_; }
  size_t scratch_used() const { return scratch_.used(); }  // by the last step
  StepPlan plan() const { return plan_; }
  size_t captured() const { return graphs_.count(); }  // steps, as graphs
  // Traced steps run op by op. null: none, or that of launch_blocking().
  void set_trace(Trace* trace) { trace_ = trace ? trace : blocking_.get(); }

 private:
  // What decode() feeds, on the device; n of each.
  struct Fed {
    SampleParams* params;
    int32_t *tokens, *pos, *next, *slot, *logit_row;
  };
  Fed fed() const;
  void check(std::span<const Chunk> chunks) const;
  // Runs of chunks that one forward pass takes: all of them, but prompts and single tokens apart
  // where they read different activations.
  std::vector<std::span<const Chunk>> passes(std::span<const Chunk> chunks) const;
  void draw(Exec& x);
  void end_decode() { drawn_.start({}); }
  template <class Body>
  void run_step(const GraphKey& key, bool captured, const Body& body);

  const Model& model_;
  const Backend& backend_;
  StepPlan plan_;
  bool prompts_differ_;  // from decode steps, in what their tokens read
  Stream stream_;
  int32_t max_context_, max_step_tokens_, max_logit_rows_;
  StateStore state_;
  size_t scratch_bytes_;
  Scratch scratch_;
  DeviceBytes workspace_, batch_, logits_, sampling_, fed_;
  DrawnTokens drawn_;
  std::vector<int32_t> decoded_;     // the sequences that decode() feeds
  Graphs graphs_;                    // after the memory that they use
  std::vector<int32_t> host_batch_;  // tokens | pos | slot | logit_row
  std::vector<int32_t> last_pos_;    // position after each logit row of the last step
  std::vector<float> host_logits_;
  int32_t n_logits_ = 0;
  std::unique_ptr<Trace> blocking_;
  Trace* trace_ = nullptr;
};

}  // namespace lowbit
