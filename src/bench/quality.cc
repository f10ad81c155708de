#include "bench/quality.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/text.h"
#include "engine/perplexity.h"

namespace lowbit {
namespace {

int32_t bos_of(const LoadedModel& model) {
  const int32_t vocab = model.model->vocab_size();
  if (model.tokenizer) {
    const int32_t bos = model.tokenizer->bos().value_or(-1);
    return bos < vocab ? bos : -1;
  }
  return static_cast<int32_t>(
      model.checkpoint->config().integer_or("bos_token_id", -1, -1, vocab - 1));
}

Stepper scoring_stepper(const LoadedModel& model, int32_t ctx) {
  return Stepper(*model.model, *model.backend,
                 {.max_sequences = 1, .max_context = ctx, .max_step_tokens = std::min(ctx, 512)});
}

}  // namespace

ScoredText self_text(const LoadedModel& model, const SelfTextOptions& options) {
  const int32_t vocab = model.model->vocab_size();
  // BOS, or the first token, takes one place.
  const int32_t tokens = std::min(options.tokens, model.model->max_context() - 1);
  if (tokens < 1) throw_error("the model's context of one token is too short for quality figures");
  const int32_t bos = bos_of(model);
  Stepper stepper(*model.model, *model.backend,
                  {.max_sequences = options.sequences,
                   .max_context = tokens + 1,
                   .max_step_tokens = options.sequences,
                   .plan = model.plan});
  std::vector<std::vector<int32_t>> texts(static_cast<size_t>(options.sequences));
  std::vector<int32_t> last(texts.size());
  const Rng rng(options.seed);
  for (size_t i = 0; i < texts.size(); ++i) {
    last[i] = bos >= 0 ? bos : static_cast<int32_t>(rng.bits(i) % static_cast<uint64_t>(vocab));
    if (bos < 0) texts[i].push_back(last[i]);
  }
  std::vector<Chunk> chunks;
  std::vector<int32_t> sequences;
  std::vector<SampleParams> params;
  for (int32_t i = 0; i < options.sequences; ++i) {
    chunks.push_back({i, {&last[i], 1}, 1});
    sequences.push_back(i);
    params.push_back({1, 0, 1, mix64(options.seed) + static_cast<uint64_t>(i)});
  }
  stepper.step(chunks);
  stepper.start_decode(sequences, params);
  for (int32_t step = 0, enqueued = 1; step < tokens; ++step) {
    for (; enqueued < std::min(tokens, step + 1 + stepper.ahead()); ++enqueued) stepper.decode();
    const std::span<const int32_t> drawn = stepper.drawn();
    for (size_t i = 0; i < texts.size(); ++i) texts[i].push_back(drawn[i]);
  }
  ScoredText text{fmt::format("self-generated, {} x {} tokens, temperature 1, seed {}",
                              options.sequences, tokens, options.seed),
                  {},
                  tokens + 1,
                  bos};
  for (const auto& ids : texts) text.ids.insert(text.ids.end(), ids.begin(), ids.end());
  return text;
}

std::string to_json(const ScoredText& text) {
  return nlohmann::json{
      {"label", text.label}, {"ids", text.ids}, {"ctx", text.ctx}, {"bos", text.bos}}
      .dump();
}

ScoredText parse_text(std::string_view json) {
  try {
    const nlohmann::json fields = nlohmann::json::parse(json);
    return {fields.at("label"), fields.at("ids"), fields.at("ctx"), fields.at("bos")};
  } catch (const nlohmann::json::exception& error) {
    throw_error("the text that an earlier case has left: {}", printable(error.what(), 200));
  }
}

ScoredText file_text(const LoadedModel& model, const std::string& path, int32_t ctx,
                     int32_t max_tokens) {
  if (!model.tokenizer) {
    throw_error("text = {}: the model has no tokenizer; use quality=self or quality=none", path);
  }
  const int32_t context = model.model->max_context();
  if (ctx > context) {
    throw_error("ctx = {}: {} was made for {} tokens", ctx, model.checkpoint->source(), context);
  }
  ScoredText text = file_text(*model.tokenizer, context, path, max_tokens);
  if (ctx > 0) text.ctx = ctx;
  return text;
}

void add_quality(Record* record, const Scores& scores) {
  const auto finite = [](float v) { return std::isfinite(v); };
  if (!std::all_of(scores.nll.begin(), scores.nll.end(), finite) ||
      !std::all_of(scores.kl.begin(), scores.kl.end(), finite)) {
    throw_error("logits are not finite: the weights are damaged or overflow in this format");
  }
  const Perplexity p = perplexity(scores.nll);
  const Divergence d = divergence(scores);
  const std::vector<double> kl(scores.kl.begin(), scores.kl.end());
  const auto agree = std::count(scores.same_top.begin(), scores.same_top.end(), 1);
  record->set("perplexity", mean_estimate(p.perplexity, p.standard_error, p.tokens));
  record->set("kl_mean", mean_estimate(d.mean, d.mean_stderr, p.tokens));
  record->set("kl_p99", quantile_estimate(kl, 0.99));
  record->set("kl_max", exact(d.max));
  record->set("top1_agreement", fraction_estimate(agree, p.tokens));
}

void add_quality(Record* record, const LoadedModel& model, const LoadedModel& reference,
                 const ScoredText& text) {
  LB_CHECK(!model.checkpoint->synthetic(), "random weights have no quality");
  Stepper tested = scoring_stepper(model, text.ctx), stored = scoring_stepper(reference, text.ctx);
  const Scores scores = score(tested, &stored, text.ids, {.ctx = text.ctx, .bos = text.bos});
  add_quality(record, scores);
  record->quality = QualityText{text.label, format_summary(*reference.model) + " as stored",
                                text.ctx, static_cast<int64_t>(scores.nll.size())};
}

}  // namespace lowbit
