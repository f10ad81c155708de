// How much a format changes what a model says: perplexity, and KL divergence and agreement against
// the same model with its weights as stored.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bench/record.h"
#include "engine/loaded_model.h"
#include "engine/perplexity.h"
#include "engine/scored_text.h"

namespace lowbit {

struct SelfTextOptions {
  int32_t sequences = 8;
  int32_t tokens = 256;  // of each; ends that the model draws are kept and written past
  uint64_t seed = 0;
};

// Text that the model writes itself at temperature 1, from BOS (or, where the model has none, from
// random ids), a different seed for each sequence; one window per sequence.
ScoredText self_text(const LoadedModel& model, const SelfTextOptions& options);

// A text as JSON, for another process, and back. Error: not such JSON.
std::string to_json(const ScoredText& text);
ScoredText parse_text(std::string_view json);

// As engine/scored_text.h has it, in windows of `ctx` (0: the usual). Error besides: no tokenizer,
// a window beyond the model's context.
ScoredText file_text(const LoadedModel& model, const std::string& path, int32_t ctx,
                     int32_t max_tokens);

// perplexity, kl_mean, kl_p99, kl_max, top1_agreement. Error: a score that is not finite.
void add_quality(Record* record, const Scores& scores);

// The same of two models, and which text they are about. `reference` is the
// same checkpoint loaded as stored.
void add_quality(Record* record, const LoadedModel& model, const LoadedModel& reference,
                 const ScoredText& text);

}  // namespace lowbit
