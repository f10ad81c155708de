#include "engine/perplexity.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/check.h"
#include "base/thread_pool.h"

namespace lowbit {
namespace {

// ln sum exp of a row of logits.
double log_total(const float* logits, int32_t vocab) {
  const double top = *std::max_element(logits, logits + vocab);
  double total = 0;
  for (int32_t i = 0; i < vocab; ++i) total += std::exp(logits[i] - top);
  return top + std::log(total);
}

// The reference's distribution in each row of a step, computed once for all models.
struct ReferenceRows {
  int32_t vocab = 0;
  std::vector<double> p, log_p;  // [rows, vocab]
  std::vector<int32_t> top;      // [rows]
};

// KL(p || q), q given by its logits and their log_total, in nats; rounding can leave it a hair
// below zero.
double kl_divergence(const double* p, const double* log_p, const float* q, double log_q,
                     int32_t vocab) {
  double kl = 0;
  for (int32_t i = 0; i < vocab; ++i) kl += p[i] * (log_p[i] - (q[i] - log_q));
  return std::max(kl, 0.0);
}

int32_t top(const float* logits, int32_t vocab) {
  return static_cast<int32_t>(std::max_element(logits, logits + vocab) - logits);
}

ReferenceRows reference_rows(std::span<const float> logits, int32_t vocab) {
  const auto count = static_cast<int64_t>(logits.size()) / vocab;
  ReferenceRows rows{vocab, std::vector<double>(logits.size()), std::vector<double>(logits.size()),
                     std::vector<int32_t>(static_cast<size_t>(count))};
  thread_pool().for_ranges(count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* row = &logits[static_cast<size_t>(i) * vocab];
      const double total = log_total(row, vocab);
      for (int32_t v = 0; v < vocab; ++v) {
        const double log_p = row[v] - total;
        rows.log_p[static_cast<size_t>(i) * vocab + v] = log_p;
        rows.p[static_cast<size_t>(i) * vocab + v] = std::exp(log_p);
      }
      rows.top[static_cast<size_t>(i)] = top(row, vocab);
    }
  });
  return rows;
}

// Scores rows of one step: row i predicts targets[i].
void score_rows(std::span<const float> logits, const ReferenceRows* reference, int32_t vocab,
                std::span<const int32_t> targets, Scores* scores) {
  const size_t first = scores->nll.size(), count = targets.size();
  scores->nll.resize(first + count);
  if (reference) {
    scores->kl.resize(first + count);
    scores->same_top.resize(first + count);
  }
  thread_pool().for_ranges(static_cast<int64_t>(count), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const size_t row_at = static_cast<size_t>(i) * vocab, at = first + static_cast<size_t>(i);
      const float* row = &logits[row_at];
      const double total = log_total(row, vocab);
      scores->nll[at] = static_cast<float>(total - row[targets[i]]);
      if (!reference) continue;
      scores->kl[at] = static_cast<float>(
          kl_divergence(&reference->p[row_at], &reference->log_p[row_at], row, total, vocab));
      scores->same_top[at] = top(row, vocab) == reference->top[static_cast<size_t>(i)];
    }
  });
}

// The largest step that all models take with a row of logits for each token.
size_t common_slice(std::span<Stepper* const> models, const Stepper* reference) {
  int32_t slice = reference ? std::min(reference->max_step_tokens(), reference->max_logit_rows())
                            : std::numeric_limits<int32_t>::max();
  for (const Stepper* model : models) {
    slice = std::min({slice, model->max_step_tokens(), model->max_logit_rows()});
  }
  return static_cast<size_t>(slice);
}

// One window: its tokens but the last go in, in slices whose logits fit; tokens from `first_scored`
// on are scored.
void score_window(std::span<Stepper* const> models, Stepper* reference,
                  std::span<const int32_t> window, size_t first_scored, std::span<Scores> scores) {
  const size_t slice = common_slice(models, reference);
  for (Stepper* model : models) model->truncate(0, 0);
  if (reference) reference->truncate(0, 0);
  for (size_t begin = 0; begin + 1 < window.size();) {
    const size_t end = std::min(begin + slice, window.size() - 1);
    // Row i of the step predicts token i + 1.
    const size_t first_row = std::clamp(first_scored - 1, begin, end);
    const Chunk chunk{0, window.subspan(begin, end - begin), static_cast<int32_t>(end - first_row)};
    const auto targets = window.subspan(first_row + 1, end - first_row);
    ReferenceRows wanted;
    if (reference) {
      reference->step(std::span(&chunk, 1));
      if (end > first_row) wanted = reference_rows(reference->logits(), reference->vocab_size());
    }
    for (size_t i = 0; i < models.size(); ++i) {
      models[i]->step(std::span(&chunk, 1));
      if (end == first_row) continue;
      score_rows(models[i]->logits(), reference ? &wanted : nullptr, models[i]->vocab_size(),
                 targets, &scores[i]);
    }
    begin = end;
  }
}

double quantile(const std::vector<float>& sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<size_t>(at);
  const size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - static_cast<double>(low)) * (double{sorted[high]} - sorted[low]);
}

struct MeanAndError {
  double mean, error;  // error: standard error of the mean
};

MeanAndError mean_of(std::span<const float> values) {
  const auto n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0;
  for (const float v : values) squares += (v - mean) * (v - mean);
  return {mean, n > 1 ? std::sqrt(squares / (n - 1) / n) : 0};
}

}  // namespace

void check_window(int32_t ctx, int32_t context) {
  if (ctx < 2) {
    throw_error("ctx = {}: must be at least 2: a window is tokens to read and one to predict", ctx);
  }
  if (ctx > context) throw_error("ctx = {}: the model was made for {} tokens", ctx, context);
}

std::vector<Scores> score_all(std::span<Stepper* const> models, Stepper* reference,
                              std::span<const int32_t> tokens, const WindowOptions& options,
                              ScoreListener* listener) {
  LB_CHECK(!models.empty());
  const int32_t vocab = models[0]->vocab_size();
  for (const Stepper* model : models) {
    check_window(options.ctx, model->max_context());
    LB_CHECK(model->vocab_size() == vocab);
  }
  if (reference) check_window(options.ctx, reference->max_context());
  const bool bos = options.bos >= 0;
  if (tokens.size() < (bos ? 1 : 2))
    throw_error("the text has {} tokens; nothing to score", tokens.size());
  for (const int32_t token : tokens) {  // the last one is only scored, never fed
    if (token < 0 || token >= vocab) {
      throw_error("token id {} is outside the vocabulary of {}", token, vocab);
    }
  }
  const auto stride = static_cast<size_t>(options.ctx - (bos ? 1 : 0));
  const auto total = static_cast<int64_t>((tokens.size() + stride - 1) / stride);
  const auto first_scored = static_cast<size_t>(options.second_half ? options.ctx / 2 + 1 : 1);
  std::vector<Scores> scores(models.size());
  std::vector<int32_t> window;
  for (int64_t i = 0; i < total; ++i) {
    const size_t begin = static_cast<size_t>(i) * stride;
    const auto text = tokens.subspan(begin, std::min(stride, tokens.size() - begin));
    window.assign(bos ? 1 : 0, options.bos);
    window.insert(window.end(), text.begin(), text.end());
    score_window(models, reference, window, first_scored, scores);
    if (listener) listener->on_window(i + 1, total, scores[0]);
  }
  if (scores[0].nll.empty())
    throw_error("no token was scored: the text is shorter than half a window");
  return scores;
}

Scores score(Stepper& model, Stepper* reference, std::span<const int32_t> tokens,
             const WindowOptions& options, ScoreListener* listener) {
  Stepper* const models[] = {&model};
  return std::move(score_all(models, reference, tokens, options, listener)[0]);
}

Perplexity perplexity(std::span<const float> nll) {
  LB_CHECK(!nll.empty());
  const MeanAndError nats = mean_of(nll);
  return {.mean_nll = nats.mean,
          .perplexity = std::exp(nats.mean),
          .standard_error = std::exp(nats.mean) * nats.error,
          .tokens = static_cast<int64_t>(nll.size())};
}

Divergence divergence(const Scores& scores) {
  LB_CHECK(!scores.kl.empty());
  std::vector<float> sorted = scores.kl;
  std::sort(sorted.begin(), sorted.end());
  const MeanAndError kl = mean_of(scores.kl);
  const auto agree = std::count(scores.same_top.begin(), scores.same_top.end(), 1);
  return {
      .mean = kl.mean,
      .mean_stderr = kl.error,
      .median = quantile(sorted, 0.5),
      .p90 = quantile(sorted, 0.9),
      .p95 = quantile(sorted, 0.95),
      .p99 = quantile(sorted, 0.99),
      .p999 = quantile(sorted, 0.999),
      .max = sorted.back(),
      .top1_agreement = static_cast<double>(agree) / static_cast<double>(scores.same_top.size())};
}

}  // namespace lowbit
