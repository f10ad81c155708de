// lowbit generate: prompt in, text (or token ids) out as it comes.
#include <atomic>
#include <csignal>

#include "app/commands.h"
#include "app/llama_harness.h"
#include "app/model_options.h"
#include "app/options.h"
#include "app/output.h"
#include "base/check.h"
#include "base/file.h"
#include "engine/chat.h"
#include "engine/generate.h"

namespace lowbit {
namespace {

struct GenerateConfig {
  ModelOptions model;
  std::string prompt, prompt_file;
  std::vector<int32_t> prompt_ids;
  bool ids = false, chat = false, parse_special = false, ignore_eos = false;
  std::string system;
  int32_t max_new_tokens = 128;
  double temperature = 0, top_p = 1;
  int32_t top_k = 0;
  int64_t seed = 0;
  std::vector<std::string> stop;
  int32_t max_context = 0;
};

template <class Visitor>
void visit(Visitor& v, GenerateConfig& c) {
  visit(v, c.model);
  v.field("prompt", c.prompt, "text to continue");
  v.field("prompt_file", c.prompt_file, "file with the text to continue");
  v.field("prompt_ids", c.prompt_ids, "token ids to continue, used as they are");
  v.field("ids", c.ids, "print token ids instead of text");
  v.field("chat", c.chat, "put the prompt into the model's chat template (Llama 2 and 3)");
  v.field("system", c.system, "system message, with --chat");
  v.field("parse_special", c.parse_special, "recognise special tokens written in the prompt");
  v.field("max_new_tokens", c.max_new_tokens, "stop after so many tokens");
  v.field("temperature", c.temperature, "0: always the most likely token");
  v.field("top_k", c.top_k, "draw from the k most likely tokens only; 0: off");
  v.field("top_p", c.top_p, "draw from the most likely tokens that hold this probability; 1: off");
  v.field("seed", c.seed, "of the random draws");
  v.field("stop", c.stop, "text that ends the output; may be given several times");
  v.field("ignore_eos", c.ignore_eos, "do not stop at the model's end-of-sequence tokens");
  v.field("max_context", c.max_context, "tokens to make room for; 0: as many as this run needs");
}

std::atomic<bool> g_interrupted{false};

// While it lives, the first Ctrl-C asks the generation to end; a second one ends the process.
class InterruptGuard {
 public:
  InterruptGuard() {
    struct sigaction action = {};
    action.sa_handler = [](int) { g_interrupted.store(true, std::memory_order_relaxed); };
    action.sa_flags = SA_RESETHAND;
    sigaction(SIGINT, &action, &before_);
  }
  ~InterruptGuard() { sigaction(SIGINT, &before_, nullptr); }
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

 private:
  struct sigaction before_ = {};
};

class Printer final : public GenerateListener {
 public:
  explicit Printer(bool ids) : ids_(ids) {}
  void on_token(int32_t id, const std::string& text) override {
    if (!ids_) {
      print(text);
    } else if (id >= 0) {
      print(fmt::format("{}{}", first_ ? "" : " ", id));
    }
    first_ = false;
    flush_output();
  }

 private:
  bool ids_, first_ = true;
};

void check_ranges(const GenerateConfig& c) {
  if (c.max_new_tokens < 1)
    throw_error("--max-new-tokens {}: must be at least 1", c.max_new_tokens);
  if (c.temperature < 0) throw_error("--temperature {}: must not be negative", c.temperature);
  if (c.top_k < 0) throw_error("--top-k {}: must not be negative", c.top_k);
  if (!(c.top_p > 0 && c.top_p <= 1)) throw_error("--top-p {}: must be in (0, 1]", c.top_p);
  if (c.seed < 0) throw_error("--seed {}: must not be negative", c.seed);
  if (c.max_context < 0) throw_error("--max-context {}: must not be negative", c.max_context);
  for (const std::string& stop : c.stop) {
    if (stop.empty()) throw_error("--stop: the text is empty");
  }
}

// Exactly one source of the prompt, and nothing that contradicts it.
void check_prompt_flags(const CommandLine& line, const GenerateConfig& c) {
  const size_t sources =
      line.count("--prompt") + line.count("--prompt-file") + line.count("--prompt-ids");
  if (sources == 0) throw_error("no prompt; give --prompt, --prompt-file or --prompt-ids");
  if (sources > 1) throw_error("give one of --prompt, --prompt-file and --prompt-ids, not several");
  if (line.count("--prompt-ids") > 0) {
    if (c.prompt_ids.empty()) throw_error("--prompt-ids: no ids; give at least one");
    for (const char* flag : {"--chat", "--parse-special"}) {
      if (line.count(flag) > 0) throw_error("{} needs a text prompt, not --prompt-ids", flag);
    }
  }
  if (!c.system.empty() && !c.chat) throw_error("--system needs --chat");
  if (c.chat && c.parse_special) throw_error("--parse-special does not go with --chat");
}

void check_tokenizer(const GenerateConfig& c, const LoadedModel& loaded) {
  if (loaded.tokenizer) return;
  const std::string& source = loaded.checkpoint->source();
  if (c.prompt_ids.empty()) {
    throw_error("{}: has no tokenizer; give the prompt as --prompt-ids, and --ids", source);
  }
  if (!c.ids) throw_error("{}: has no tokenizer to print text with; add --ids", source);
  if (!c.stop.empty()) throw_error("{}: has no tokenizer, which --stop needs", source);
}

std::vector<int32_t> prompt_tokens(const GenerateConfig& c, const LoadedModel& loaded) {
  if (!c.prompt_ids.empty()) return c.prompt_ids;
  const std::string text =
      c.prompt_file.empty() ? c.prompt : std::string(map_file(c.prompt_file).text());
  if (c.chat) return chat_prompt(*loaded.tokenizer, c.system, text);
  return loaded.tokenizer->encode(text, {.parse_special = c.parse_special});
}

std::vector<int32_t> stop_ids(const GenerateConfig& c, const LoadedModel& loaded) {
  if (c.ignore_eos) return {};
  std::vector<int32_t> ids = loaded.checkpoint->eos_ids();
  if (loaded.tokenizer) {
    const auto more = c.chat ? chat_stop_ids(*loaded.tokenizer) : loaded.tokenizer->eos();
    ids.insert(ids.end(), more.begin(), more.end());
  }
  return ids;
}

// What one sequence needs: the prompt and everything that may follow, as far as the model goes.
int32_t context_for(const GenerateConfig& c, const Model& model, size_t prompt) {
  if (c.max_context > 0) return c.max_context;
  const auto needed = static_cast<int64_t>(prompt) + c.max_new_tokens;
  return static_cast<int32_t>(std::min<int64_t>(model.max_context(), needed));
}

void print_summary(const GenerateConfig& c, const LoadedModel& loaded, size_t prompt,
                   const GenerateResult& result) {
  note(fmt::format("prompt     {} tokens, first token after {:.3f} s ({:.1f} tokens/s)", prompt,
                   result.first_token_seconds,
                   static_cast<double>(prompt) / result.first_token_seconds));
  std::string decode;
  if (result.decode_steps > 0) {
    decode = fmt::format(", {} decode steps in {:.3f} s: {:.2f} tokens/s", result.decode_steps,
                         result.decode_seconds, result.decode_steps / result.decode_seconds);
  }
  note(fmt::format("generated  {} tokens{}; stopped by {}", result.ids.size(), decode,
                   name(result.stopped)));
  note(fmt::format("ran        {}; loaded in {:.2f} s", what_runs(loaded, c.model),
                   loaded.load_seconds));
}

}  // namespace

int cmd_generate(const std::vector<std::string>& args) {
  if (is_harness_command(args)) return run_harness(args);
  GenerateConfig c;
  CommandLine line(
      "Continues a prompt. Text or token ids go to standard output as they come, a "
      "summary with timings to standard error.",
      "generate");
  line.add_flags(c);
  line.set_footer(harness_help());
  if (!line.parse(args)) return 0;
  check_prompt_flags(line, c);
  check_ranges(c);
  if (!c.prompt_file.empty()) map_file(c.prompt_file);  // its error before a long load

  const LoadedModel loaded = load_model_for(c.model);
  check_tokenizer(c, loaded);
  const std::vector<int32_t> prompt = prompt_tokens(c, loaded);
  const int32_t context = context_for(c, *loaded.model, prompt.size());
  Stepper stepper(*loaded.model, *loaded.backend, {.max_context = context, .plan = loaded.plan});
  const GenerateOptions options{
      .sampling = {static_cast<float>(c.temperature), c.top_k, static_cast<float>(c.top_p),
                   static_cast<uint64_t>(c.seed)},
      .max_new_tokens = c.max_new_tokens,
      .stop_ids = stop_ids(c, loaded),
      .stop = c.stop};
  Printer printer(c.ids);
  const InterruptGuard guard;
  const GenerateResult result =
      generate(stepper, prompt, options, loaded.tokenizer.get(), &printer, &g_interrupted);
  print("\n");
  flush_output();
  print_summary(c, loaded, prompt.size(), result);
  return 0;
}

}  // namespace lowbit
