#include "app/eval_harness.h"

#include <algorithm>
#include <cmath>

#include "app/llama_harness_options.h"
#include "app/options.h"
#include "app/output.h"
#include "app/progress.h"
#include "base/check.h"
#include "base/file.h"
#include "base/text.h"
#include "bench/wikitext.h"

namespace lowbit {
namespace {

struct EvalHarnessConfig {
  HarnessConfig model;  // what generate.py has too
  std::vector<std::string> tasks = {"wikitext"};
  int32_t limit = 0;
  int32_t max_length = 0;
  std::vector<std::string> calibration_tasks = {"wikitext"};
  int32_t calibration_limit = 1000, calibration_seq_length = 100;
  std::string pad_calibration_inputs = "False";
  std::string text;  // ours beside them
};

template <class Visitor>
void visit(Visitor& v, EvalHarnessConfig& c) {
  v.field("checkpoint_path", c.model.checkpoint_path, "model.pth, or any model of ours");
  v.field("tasks", c.tasks, "wikitext, of the file that --text names");
  v.field("limit", c.limit, "pages to score; 0: all");
  v.field("precision", c.model.precision,
          "of unquantized weights: torch.bfloat16, float16, float32");
  v.field("device", c.model.device, "cuda, cpu or ref; empty: cpu");
  v.field("quantization", c.model.quantization, "-q: int8wo, int4wo-64, ... or a format of ours");
  v.field("compile", c.model.compile, "no effect: kernels are compiled already");
  v.field("max_length", c.max_length, "tokens of a window; 0: the model's context");
  v.field("calibration_tasks", c.calibration_tasks, "no effect: --calibration names a text");
  v.field("calibration_limit", c.calibration_limit, "the same");
  v.field("calibration_seq_length", c.calibration_seq_length, "the same");
  v.field("pad_calibration_inputs", c.pad_calibration_inputs, "the same");
  v.field("text", c.text, "WikiText file, wiki.test.raw: its pages are the task's");
  visit(v, c.model.calibration);
  v.field("threads", c.model.threads, "of the cpu backend; 0: one per core");
}

// Those that mean the same in `lowbit eval`.
constexpr std::string_view kShared[] = {"--text", "--device", "--threads", "--calibration",
                                        "--calibration-tokens"};

std::string canonical_flag(const std::string& arg) {
  return arg == "-q" ? "--quantization" : with_dashes(arg);
}

// One flag per value where argparse takes several: --tasks a b.
std::vector<std::string> expanded(const std::vector<std::string>& args) {
  std::vector<std::string> out;
  std::string list;  // the flag that further words belong to
  bool first = false;
  for (const std::string& arg : args) {
    const std::string flag = canonical_flag(arg);
    if (flag.starts_with("-")) {
      list = flag == "--tasks" || flag == "--calibration-tasks" ? flag : "";
      first = true;
    } else {
      if (!list.empty() && !first) out.push_back(list);
      first = false;
    }
    out.push_back(flag);
  }
  return out;
}

EvalHarnessConfig parse_config(const std::vector<std::string>& args, bool* help) {
  EvalHarnessConfig c;
  CommandLine line("", "eval");
  line.add_flags(c);
  *help = std::find(args.begin(), args.end(), "--help") != args.end();
  if (!*help) *help = !line.parse(expanded(args));
  return c;
}

void check(const EvalHarnessConfig& c) {
  for (const std::string& task : c.tasks) {
    if (task == "wikitext") continue;
    throw_error(
        "--tasks {}: lowbit scores texts and answers no questions; --tasks wikitext --text "
        "wiki.test.raw, or `lowbit eval --reference-format bf16 --text FILE`, whose KL divergence "
        "and top-1 agreement show what a format costs with far less noise",
        printable(task));
  }
  if (c.tasks.size() > 1) throw_error("--tasks wikitext: is given {} times", c.tasks.size());
  if (c.text.empty()) {
    throw_error(
        "--tasks wikitext: lowbit downloads no data; give its file as --text wiki.test.raw (of "
        "wikitext-2-raw-v1)");
  }
  if (c.limit < 0) throw_error("--limit {}: must be at least 1, or 0 for all pages", c.limit);
  if (c.max_length != 0 && c.max_length < 2) {
    throw_error("--max_length {}: must be at least 2", c.max_length);
  }
}

std::vector<std::string> remarks_of(const EvalHarnessConfig& c) {
  std::vector<std::string> remarks = harness_remarks(c.model);
  const EvalHarnessConfig usual;
  if (c.calibration_tasks != usual.calibration_tasks ||
      c.calibration_limit != usual.calibration_limit ||
      c.calibration_seq_length != usual.calibration_seq_length ||
      c.pad_calibration_inputs != usual.pad_calibration_inputs) {
    remarks.emplace_back(
        "--calibration_tasks, _limit, _seq_length, --pad_calibration_inputs: no effect, "
        "--calibration TEXT names what methods that need it look at");
  }
  return remarks;
}

std::string list_of(const std::vector<std::string>& names) {
  return "['" + join(names, "', '") + "']";
}

void print_request(const EvalHarnessConfig& c, const LoadedModel& loaded) {
  const auto or_none = [](int32_t value) { return value == 0 ? "None" : std::to_string(value); };
  print(fmt::format(
      "\nEvaluating model {} on tasks: {}, limit: {}, device: {}, precision: {}, "
      "quantization: {}, compile: {}, max_length: {}, calibration_tasks: {}, "
      "calibration_seq_length: {}, pad_calibration_inputs: {}\n\n",
      loaded.checkpoint->source(), list_of(c.tasks), or_none(c.limit), loaded.backend->name,
      c.model.precision, c.model.quantization.empty() ? "None" : c.model.quantization,
      c.model.compile ? "True" : "False", or_none(c.max_length), list_of(c.calibration_tasks),
      c.calibration_seq_length, c.pad_calibration_inputs));
}

// What stands before the first token of a page.
int32_t start_token(const LoadedModel& loaded) {
  if (loaded.tokenizer->bos()) return *loaded.tokenizer->bos();
  const std::vector<int32_t> eos = loaded.checkpoint->eos_ids();
  if (!eos.empty()) return eos[0];
  throw_error("{}: has neither a BOS nor an EOS token for a page to begin after",
              loaded.checkpoint->source());
}

struct Totals {
  double nll = 0;
  int64_t tokens = 0, words = 0, bytes = 0, pages = 0;
};

Totals score_pages(const EvalHarnessConfig& c, const LoadedModel& loaded,
                   const std::vector<std::string>& pages) {
  // score() wants the last target of a window in the context too.
  const int32_t most = loaded.model->max_context() - 1;
  const int32_t length = c.max_length > 0 ? std::min(c.max_length, most) : most;
  const int32_t start = start_token(loaded);
  std::vector<std::vector<int32_t>> tokens;
  size_t longest = 1;
  for (const std::string& page : pages) {
    tokens.push_back(loaded.tokenizer->encode(wikitext_plain(page), {.add_bos = false}));
    longest = std::max(longest, tokens.back().size());
  }
  const auto context = static_cast<int32_t>(std::min<size_t>(longest, static_cast<size_t>(length)));
  Stepper stepper(*loaded.model, *loaded.backend,
                  {.max_context = context + 1,
                   .max_step_tokens = std::min(context + 1, 512),
                   .plan = loaded.plan});
  Progress progress("pages");
  Totals totals;
  for (size_t i = 0; i < pages.size(); ++i) {
    const RollingScore page = score_rolling(stepper, tokens[i], start, length);
    totals.nll += page.nll;
    totals.tokens += page.tokens;
    totals.words += wikitext_words(pages[i]);
    totals.bytes += static_cast<int64_t>(pages[i].size());
    progress.update(static_cast<int64_t>(i) + 1, static_cast<int64_t>(pages.size()),
                    fmt::format("word_perplexity {:.4f}",
                                std::exp(totals.nll / static_cast<double>(totals.words))));
  }
  totals.pages = static_cast<int64_t>(pages.size());
  return totals;
}

void print_results(const EvalHarnessConfig& c, const Totals& t) {
  if (!std::isfinite(t.nll)) {
    throw_error("{}: gave logits that are not finite", printable(c.model.checkpoint_path, 300));
  }
  const double per_byte = t.nll / static_cast<double>(t.bytes);
  print(
      fmt::format("wikitext: {{'alias': 'wikitext', 'word_perplexity,none': {}, "
                  "'word_perplexity_stderr,none': 'N/A', 'byte_perplexity,none': {}, "
                  "'byte_perplexity_stderr,none': 'N/A', 'bits_per_byte,none': {}, "
                  "'bits_per_byte_stderr,none': 'N/A'}}\n",
                  std::exp(t.nll / static_cast<double>(t.words)), std::exp(per_byte),
                  per_byte / std::log(2.0)));
  print(fmt::format(
      "By lowbit's definition, per token: PPL = {:.4f} ({} pages, {} words, {} tokens)\n",
      std::exp(t.nll / static_cast<double>(t.tokens)), t.pages, t.words, t.tokens));
}

}  // namespace

bool is_eval_harness_command(const std::vector<std::string>& args) {
  EvalHarnessConfig config;
  const std::vector<FieldRef> fields = fields_of(config);
  return std::any_of(args.begin(), args.end(), [&](const std::string& arg) {
    const std::string flag = canonical_flag(arg);
    const bool shared = std::find(std::begin(kShared), std::end(kShared),
                                  flag.substr(0, flag.find('='))) != std::end(kShared);
    return !shared && is_flag_of(flag, fields);
  });
}

std::string eval_harness_help() {
  EvalHarnessConfig config;
  return std::string(
             "\nThe flags of the llama harness's eval.py work too; one that is none of the above "
             "asks for "
             "its\ntask wikitext:\n") +
         flags_help(fields_of(config));
}

int run_eval_harness(const std::vector<std::string>& args) {
  bool help = false;
  const EvalHarnessConfig c = parse_config(args, &help);
  if (help) return print(eval_harness_help()), 0;
  check(c);
  std::vector<std::string> pages = wikitext_pages(map_file(c.text).text());
  if (pages.empty()) throw_error("{}: holds no text", c.text);
  if (c.limit > 0 && static_cast<size_t>(c.limit) < pages.size()) {
    pages.resize(static_cast<size_t>(c.limit));
  }
  const ModelOptions options = model_options(c.model);
  if (options.model.starts_with("synthetic:")) {
    throw_error("{}: random weights have no quality to measure; eval needs a trained model",
                options.model);
  }
  for (const std::string& remark : remarks_of(c)) print(remark + "\n");
  const LoadedModel loaded = load_model_for(options);
  if (!loaded.tokenizer) throw_error("{}: has no tokenizer", loaded.checkpoint->source());
  print_request(c, loaded);
  print(fmt::format("Time to load model: {:.2f} seconds\nRunning evaluation ...\n",
                    loaded.load_seconds));
  flush_output();
  print_results(c, score_pages(c, loaded, pages));
  note("ran        " + what_runs(loaded, options));
  return 0;
}

}  // namespace lowbit
