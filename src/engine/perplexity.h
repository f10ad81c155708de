// Quality of a model on a token sequence: perplexity, and closeness to a reference model.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/stepper.h"

namespace lowbit {

// Error: windows of fewer than 2 tokens, or of more than the model's context.
void check_window(int32_t ctx, int32_t context);

// Independent windows of `ctx` tokens, all starting with an empty state. The first token of a
// window is never scored; with second_half only tokens that positions from ctx / 2 on predict are,
// as llama-perplexity does.
struct WindowOptions {
  int32_t ctx = 512;
  bool second_half = false;
  int32_t bos = -1;  // >= 0: every window starts with it and holds ctx - 1 tokens of the text
};

// Per scored token, in order of the text.
struct Scores {
  std::vector<float> nll;         // nats: -ln p(token)
  std::vector<float> kl;          // nats: KL(reference || model); empty without a reference
  std::vector<uint8_t> same_top;  // the two models' most likely tokens agree
};

class ScoreListener {
 public:
  virtual ~ScoreListener() = default;
  virtual void on_window(int64_t done, int64_t total, const Scores& so_far) = 0;
};

// Scores every full window and the shorter last one. `reference` may be null; its vocabulary must
// be the model's. Error: fewer than two tokens, one outside the vocabulary, ctx < 2 or beyond
// either context.
Scores score(Stepper& model, Stepper* reference, std::span<const int32_t> tokens,
             const WindowOptions& options, ScoreListener* listener = nullptr);

// The same for several models of one vocabulary in one pass: the reference runs once a window. The
// listener sees the scores of the first.
std::vector<Scores> score_all(std::span<Stepper* const> models, Stepper* reference,
                              std::span<const int32_t> tokens, const WindowOptions& options,
                              ScoreListener* listener = nullptr);

struct Perplexity {
  double mean_nll = 0, perplexity = 0;
  double standard_error = 0;  // of the perplexity: delta method, exp(mean) * sd / sqrt(n)
  int64_t tokens = 0;
};
Perplexity perplexity(std::span<const float> nll);

struct Divergence {
  double mean = 0, mean_stderr = 0, median = 0, p90 = 0, p95 = 0, p99 = 0, p999 = 0, max = 0;
  double top1_agreement = 0;  // fraction
};
Divergence divergence(const Scores& scores);

}  // namespace lowbit
