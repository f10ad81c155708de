// lowbit eval: perplexity of a model on a text, and its distance to a reference model.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "app/commands.h"
#include "app/eval_harness.h"
#include "app/model_options.h"
#include "app/options.h"
#include "app/output.h"
#include "app/progress.h"
#include "base/check.h"
#include "base/file.h"
#include "base/text.h"
#include "engine/perplexity.h"

namespace lowbit {
namespace {

using nlohmann::ordered_json;

struct EvalConfig {
  ModelOptions model;
  std::string text, token_ids;
  int32_t ctx = 512;
  std::string score = "all", bos = "auto";
  std::string reference, reference_format;
  std::string output = "text";
};

template <class Visitor>
void visit(Visitor& v, EvalConfig& c) {
  visit(v, c.model);
  v.field("text", c.text, "file to score; tokenised as a whole, without BOS");
  v.field("token_ids", c.token_ids, "file with white-space separated token ids to score instead");
  v.field("ctx", c.ctx, "tokens of a window; windows are independent of each other");
  v.field("score", c.score,
          "all: every token but the first of a window; second-half: only those predicted at the "
          "window's positions from ctx / 2 on, as llama-perplexity does");
  v.field("bos", c.bos,
          "always: each window is BOS and ctx - 1 tokens of text; never: ctx tokens of text; auto: "
          "always if the tokenizer starts texts with BOS, else never");
  v.field("reference", c.reference, "model to compare with (KL divergence, top-1 agreement)");
  v.field("reference_format", c.reference_format,
          "format of the reference; without --reference it is the same model");
}

struct Windows {
  std::vector<int32_t> tokens;
  WindowOptions options;
};

std::vector<int32_t> read_token_ids(const std::string& path) {
  const Bytes file = map_file(path);
  std::string_view text = file.text();
  std::vector<int32_t> ids;
  constexpr std::string_view kSpace = " \t\r\n\f\v";
  for (int64_t line = 1; !text.empty();) {
    const size_t begin = std::min(text.find_first_not_of(kSpace), text.size());
    line += std::count(text.begin(), text.begin() + static_cast<int64_t>(begin), '\n');
    text.remove_prefix(begin);
    const std::string_view word = text.substr(0, text.find_first_of(kSpace));
    text.remove_prefix(word.size());
    if (word.empty()) break;
    const auto id = parse_int(word);
    if (!id || *id < 0 || *id > INT32_MAX) {
      throw_error("{}:{}: `{}` is not a token id", path, line, printable(word));
    }
    ids.push_back(static_cast<int32_t>(*id));
  }
  return ids;
}

// The BOS that windows start with; -1 for none.
int32_t window_bos(const EvalConfig& c, const LoadedModel& loaded) {
  if (c.bos == "never") return -1;
  const Tokenizer* tokenizer = loaded.tokenizer.get();
  if (c.bos == "auto") {
    const std::vector<int32_t> start = tokenizer ? tokenizer->encode("") : std::vector<int32_t>();
    return start.size() == 1 ? start[0] : -1;
  }
  if (tokenizer && tokenizer->bos()) return *tokenizer->bos();
  return static_cast<int32_t>(
      loaded.checkpoint->config().integer("bos_token_id", 0, loaded.model->vocab_size() - 1));
}

Windows read_windows(const EvalConfig& c, const LoadedModel& loaded) {
  Windows windows;
  windows.options = {c.ctx, c.score == "second-half", window_bos(c, loaded)};
  if (!c.token_ids.empty()) {
    windows.tokens = read_token_ids(c.token_ids);
  } else {
    if (!loaded.tokenizer) {
      throw_error("{}: has no tokenizer; give --token-ids instead of --text",
                  loaded.checkpoint->source());
    }
    windows.tokens = loaded.tokenizer->encode(map_file(c.text).text(), {.add_bos = false});
  }
  return windows;
}

void check_flags(const CommandLine& line, const EvalConfig& c) {
  if (c.text.empty() == c.token_ids.empty()) {
    throw_error("give {}", c.text.empty() ? "--text FILE or --token-ids FILE"
                                          : "one of --text and --token-ids, not both");
  }
  if (c.score != "all" && c.score != "second-half") {
    throw_error("--score {}: must be all or second-half", printable(c.score));
  }
  if (c.bos != "auto" && c.bos != "always" && c.bos != "never") {
    throw_error("--bos {}: must be auto, always or never", printable(c.bos));
  }
  if (c.output != "text" && c.output != "json") {
    throw_error("-o {}: must be text or json", printable(c.output));
  }
  if (c.ctx < 2) throw_error("--ctx {}: must be at least 2", c.ctx);
  if (!c.reference_format.empty()) parse_format_flag("--reference-format", c.reference_format);
  if (line.count("--reference") > 0 && c.reference.empty()) throw_error("--reference: is empty");
}

// Random weights have no quality: refused before anything is loaded.
void refuse_synthetic(const std::string& model) {
  if (!model.starts_with("synthetic:")) return;
  throw_error("{}: random weights have no quality to measure; eval needs a trained model", model);
}

class EvalProgress final : public ScoreListener {
 public:
  void on_window(int64_t done, int64_t total, const Scores& so_far) override {
    for (; scored_ < so_far.nll.size(); ++scored_) sum_ += so_far.nll[scored_];
    const double mean = sum_ / static_cast<double>(std::max<size_t>(scored_, 1));
    progress_.update(done, total, fmt::format("PPL {:.4f}", std::exp(mean)));
  }

 private:
  Progress progress_{"windows"};
  size_t scored_ = 0;
  double sum_ = 0;
};

void check_comparable(const EvalConfig& c, const LoadedModel& loaded,
                      const LoadedModel* reference) {
  for (const LoadedModel* model : {&loaded, reference}) {
    if (!model || c.ctx <= model->model->max_context()) continue;
    throw_error("--ctx {}: {} was made for {} tokens", c.ctx, model->checkpoint->source(),
                model->model->max_context());
  }
  if (reference && reference->model->vocab_size() != loaded.model->vocab_size()) {
    throw_error("--reference {}: has a vocabulary of {}, the model one of {}",
                reference->checkpoint->source(), reference->model->vocab_size(),
                loaded.model->vocab_size());
  }
}

Scores run_score(const EvalConfig& c, const LoadedModel& loaded, const LoadedModel* reference,
                 const Windows& windows) {
  const auto options = [&](const LoadedModel& of) {
    return StepperOptions{
        .max_context = c.ctx, .max_step_tokens = std::min(c.ctx, 512), .plan = of.plan};
  };
  Stepper stepper(*loaded.model, *loaded.backend, options(loaded));
  std::optional<Stepper> other;
  if (reference) other.emplace(*reference->model, *reference->backend, options(*reference));
  EvalProgress progress;
  Scores scores = with_context(c.text.empty() ? c.token_ids : c.text, [&] {
    return score(stepper, other ? &*other : nullptr, windows.tokens, windows.options, &progress);
  });
  if (scores.nll.size() < 2) {
    throw_error("{}: one token was scored; a mean with its error needs at least 2",
                c.text.empty() ? c.token_ids : c.text);
  }
  const auto finite = [](float v) { return std::isfinite(v); };
  if (!std::all_of(scores.nll.begin(), scores.nll.end(), finite) ||
      !std::all_of(scores.kl.begin(), scores.kl.end(), finite)) {
    throw_error("{}: gave logits that are not finite; its weights are damaged or overflow",
                loaded.checkpoint->source());
  }
  return scores;
}

std::string convention(const EvalConfig& c, int32_t bos) {
  return fmt::format("windows of {} tokens{}, {}, natural logarithm", c.ctx,
                     bos >= 0 ? fmt::format(" (BOS {} and {} of text)", bos, c.ctx - 1) : "",
                     c.score == "all" ? "every token but the first scored"
                                      : "tokens after position ctx / 2 scored");
}

ordered_json report_json(const EvalConfig& c, const LoadedModel& loaded,
                         const LoadedModel* reference, const Scores& scores, int32_t bos) {
  const Perplexity p = perplexity(scores.nll);
  ordered_json json = {{"model", c.model.model},
                       {"container", loaded.checkpoint->container()},
                       {"format", format_summary(*loaded.model)},
                       {"device", loaded.backend->name},
                       {"plan", name(loaded.plan)},
                       {"kv_format", c.model.kv_format},
                       {"resident_bytes", loaded.model->memory().total()},
                       {"kernels", kernels_used(*loaded.model)},
                       {"convention", convention(c, bos)},
                       {"ctx", c.ctx},
                       {"score", c.score},
                       {"bos", bos >= 0},
                       {"tokens", p.tokens},
                       {"mean_nll", p.mean_nll},
                       {"perplexity", p.perplexity},
                       {"perplexity_stderr", p.standard_error}};
  if (!reference) return json;
  const Divergence d = divergence(scores);
  json["reference"] = reference->checkpoint->source();
  json["reference_format"] = format_summary(*reference->model);
  json["kl_mean"] = d.mean;
  json["kl_mean_stderr"] = d.mean_stderr;
  json["kl_median"] = d.median;
  json["kl_p90"] = d.p90;
  json["kl_p95"] = d.p95;
  json["kl_p99"] = d.p99;
  json["kl_p999"] = d.p999;
  json["kl_max"] = d.max;
  json["top1_agreement"] = d.top1_agreement;
  return json;
}

// The words of llama-perplexity where it reports the same figure.
std::string report_text(const EvalConfig& c, const LoadedModel& loaded,
                        const LoadedModel* reference, const Scores& scores, int32_t bos) {
  const Perplexity p = perplexity(scores.nll);
  std::string text = fmt::format(
      "model       {}\nconvention  {}\ntokens      {} scored, mean -ln p = {:.6f}\n"
      "Final estimate: PPL = {:.4f} +/- {:.5f}\n",
      what_runs(loaded, c.model), convention(c, bos), p.tokens, p.mean_nll, p.perplexity,
      p.standard_error);
  if (!reference) return text;
  const Divergence d = divergence(scores);
  const double agree = d.top1_agreement;
  const double agree_error = std::sqrt(agree * (1 - agree) / static_cast<double>(p.tokens));
  return text + fmt::format(
                    "reference   {}: {}\nMean KLD:    {:10.6f} +/- {:.6f}\n"
                    "Maximum KLD: {:10.6f}\n99.9% KLD:   {:10.6f}\n99.0% KLD:   {:10.6f}\n"
                    "95.0% KLD:   {:10.6f}\n90.0% KLD:   {:10.6f}\nMedian KLD:  {:10.6f}\n"
                    "Same top p: {:.3f} +/- {:.3f} %\n",
                    reference->checkpoint->source(), format_summary(*reference->model), d.mean,
                    d.mean_stderr, d.max, d.p999, d.p99, d.p95, d.p90, d.median, 100 * agree,
                    100 * agree_error);
}

}  // namespace

int cmd_eval(const std::vector<std::string>& args) {
  if (is_eval_harness_command(args)) return run_eval_harness(args);
  EvalConfig c;
  CommandLine line(
      "Perplexity of a model on a text, and its distance to a reference model. Windows "
      "are independent, probabilities in nats.",
      "eval");
  line.add_flags(c);
  line.set_footer(eval_harness_help());
  line.add_option("-o,--output", c.output, "text, or json: one line");
  if (!line.parse(args)) return 0;
  check_flags(line, c);
  for (const std::string& model : {c.model.model, c.reference}) refuse_synthetic(model);
  map_file(c.text.empty() ? c.token_ids : c.text);  // its error before a long load

  const LoadedModel loaded = load_model_for(c.model);
  std::optional<LoadedModel> reference;
  if (!c.reference.empty() || !c.reference_format.empty()) {
    ModelOptions options = c.model;
    if (!c.reference.empty()) options.model = c.reference;
    options.quantize = QuantizeOptions();
    options.quantize.format = c.reference_format;
    reference = with_context("reference", [&] { return load_model_for(options); });
  }
  const Windows windows = read_windows(c, loaded);
  const LoadedModel* other = reference ? &*reference : nullptr;
  check_comparable(c, loaded, other);
  const Scores scores = run_score(c, loaded, other, windows);
  const int32_t bos = windows.options.bos;
  print(c.output == "json" ? report_json(c, loaded, other, scores, bos).dump() + "\n"
                           : report_text(c, loaded, other, scores, bos));
  return 0;
}

}  // namespace lowbit
