#include "app/llama_harness.h"

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "app/llama_harness_options.h"
#include "app/options.h"
#include "app/output.h"
#include "base/check.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/text.h"
#include "base/timer.h"
#include "bench/fingerprint.h"
#include "bench/harness_line.h"
#include "bench/memory_timeline.h"
#include "bench/op_timeline.h"

namespace lowbit {
namespace {

// Flags of ours in generate that mean the same there.
constexpr std::string_view kShared[] = {
    "--prompt",  "--max-new-tokens", "--top-k",       "--temperature",       "--device",
    "--threads", "--seed",           "--calibration", "--calibration-tokens"};

// --max_new_tokens=8 as --max-new-tokens=8, and -q as what it is short for.
std::string canonical_flag(const std::string& arg) {
  if (arg == "-q") return "--quantization";
  if (arg == "-s") return "--sparsity";
  std::string dashed = with_dashes(arg);
  const size_t end = std::min(dashed.find('='), dashed.size());
  const std::string_view flag = std::string_view(dashed).substr(0, end);
  if (flag == "--model") return "--checkpoint-path" + dashed.substr(end);
  if (flag == "--format") return "--quantization" + dashed.substr(end);
  return dashed;
}

struct Sample {
  double prefill = 0, decode = 0, total = 0;  // seconds
  int32_t steps = 0;
  std::vector<int32_t> ids;  // of the first sequence
};

struct Run {
  const HarnessConfig& config;
  const LoadedModel& loaded;
  Stepper& stepper;
  MemoryTimeline* memory = nullptr;  // hears of every step; null: nobody does

  void stepped(const std::string& name) const {
    if (memory) memory->stepped(name, stepper.state().used_bytes(), stepper.scratch_used());
  }
};

// One generation of every sequence of the batch. The end-of-sequence token ends nothing, as there.
Sample run_sample(const Run& run, std::span<const int32_t> prompt, uint64_t seed) {
  const HarnessConfig& c = run.config;
  const SampleParams params{static_cast<float>(c.temperature), c.top_k, 1, seed};
  std::vector<int32_t> next(static_cast<size_t>(c.batch_size));
  Sample sample;
  const Timer total;
  Timer timer;
  for (int32_t s = 0; s < c.batch_size; ++s) {
    run.stepper.prefill(s, prompt);
    next[static_cast<size_t>(s)] = run.stepper.sample(0, params);
    run.stepped(fmt::format("prefill of {} tokens", prompt.size()));
  }
  sample.prefill = timer.seconds();
  sample.ids.push_back(next[0]);
  timer.restart();
  std::vector<Chunk> chunks(next.size());
  for (int32_t i = 1; i < c.max_new_tokens; ++i, ++sample.steps) {
    for (size_t s = 0; s < next.size(); ++s) {
      chunks[s] = {static_cast<int32_t>(s), std::span(&next[s], 1), 1};
    }
    run.stepper.step(chunks);
    for (size_t s = 0; s < next.size(); ++s) {
      next[s] = run.stepper.sample(static_cast<int32_t>(s), params);
    }
    sample.ids.push_back(next[0]);
    run.stepped(fmt::format("decode at {}", run.stepper.length(0)));
  }
  sample.decode = timer.seconds();
  sample.total = total.seconds();
  for (int32_t s = 0; s < c.batch_size; ++s) run.stepper.truncate(s, 0);
  return sample;
}

std::string prompt_text(const HarnessConfig& c) {
  if (c.prefill_size > 0) {
    std::string text;
    for (int32_t i = 2; i < c.prefill_size; ++i) text += "prompt ";
    return text;
  }
  if (!c.demo_summarize_prompt.empty()) {
    return std::string(map_file(c.demo_summarize_prompt).text());
  }
  if (!c.interactive) return c.prompt;
  print("What is your prompt? ");
  flush_output();
  std::string text;
  if (!std::getline(std::cin, text)) throw_error("--interactive: no prompt on standard input");
  const bool chat = c.checkpoint_path.find("chat") != std::string::npos;
  return chat ? "[INST] " + std::string(trim(text)) + " [/INST]" : text;
}

std::vector<int32_t> prompt_ids(const HarnessConfig& c, const LoadedModel& loaded,
                                const std::string& text) {
  if (loaded.tokenizer) return loaded.tokenizer->encode(text);
  constexpr int32_t kTokens = 6;  // what the default prompt is to Llama's tokenizers
  const Rng rng(static_cast<uint64_t>(c.seed));
  std::vector<int32_t> ids;
  const int32_t count = c.prefill_size > 0 ? c.prefill_size : kTokens;
  for (int32_t i = 0; i < count; ++i) {
    const auto bits = rng.bits(static_cast<uint64_t>(i));
    ids.push_back(static_cast<int32_t>(bits % static_cast<uint64_t>(loaded.model->vocab_size())));
  }
  return ids;
}

// The cache is paged and read as far as it is filled: its size only says what fits.
int32_t context_for(const HarnessConfig& c, const Model& model, size_t prompt) {
  const int64_t needed = static_cast<int64_t>(prompt) + c.max_new_tokens;
  if (needed > model.max_context()) {
    throw_error("{} tokens of prompt and {} new ones; the model was made for {}", prompt,
                c.max_new_tokens, model.max_context());
  }
  if (c.cache_size == 0) return static_cast<int32_t>(needed);
  if (c.cache_size < needed) {
    throw_error("--cache_size {}: the prompt and the new tokens are {}", c.cache_size, needed);
  }
  if (c.cache_size > model.max_context()) {
    note(fmt::format("--cache_size {}: the model was made for {} tokens, which fit", c.cache_size,
                     model.max_context()));
  }
  return std::min(c.cache_size, model.max_context());
}

// Text as it is, or up to the end-of-sequence token if the user waits for an answer.
void print_text(const Run& run, const std::string& prompt, const Sample& sample) {
  const Tokenizer* tokenizer = run.loaded.tokenizer.get();
  if (!tokenizer) return;
  std::vector<int32_t> ids = sample.ids;
  if (run.config.interactive) {
    const std::vector<int32_t> eos = tokenizer->eos();
    ids.erase(std::find_first_of(ids.begin(), ids.end(), eos.begin(), eos.end()), ids.end());
  }
  print((run.config.interactive ? "" : prompt) + tokenizer->decode(ids) + "\n");
}

// Means over the samples, by the harness's definitions; `ours` is the decode rate by our own.
struct Means {
  double overall = 0, decode = 0, ttft = 0, ours = 0;
};

Means means_of(const HarnessConfig& c, const std::vector<Sample>& samples) {
  Means means;
  const auto count = static_cast<double>(samples.size());
  for (const Sample& s : samples) {
    means.overall += c.max_new_tokens / s.total / count;
    means.decode += s.steps > 0 ? c.max_new_tokens / s.decode / count : 0;
    means.ours += s.steps > 0 ? s.steps / s.decode / count : 0;
    means.ttft += s.prefill / count;
  }
  return means;
}

// Of the whole process on a host; what was allocated where the device has memory of its own.
double peak_bytes(const Run& run) {
  const DeviceApi* device = run.loaded.backend->device;
  return static_cast<double>(device ? device->memory().peak : static_cast<size_t>(peak_memory()));
}

HarnessLine line_of(const Run& run, const Means& means) {
  const HarnessConfig& c = run.config;
  HarnessLine line;
  line.stamp = harness_stamp();
  line.tokens_per_second = means.overall;
  if (c.max_new_tokens > 1) line.decode_tokens_per_second = means.decode;
  line.ttft = means.ttft;
  line.model_bytes = static_cast<double>(run.loaded.model->memory().per_step);
  line.bytes_per_second = line.model_bytes * means.overall;
  line.peak_bytes = peak_bytes(run);
  line.quantization = c.quantization.empty() ? "None" : c.quantization;
  line.sparsity = c.sparsity;
  line.model = harness_model_name(run.loaded.checkpoint->source());
  line.kv_quantized = c.kv_cache_quantization;
  line.compiled = c.compile;
  line.compiled_prefill = c.compile_prefill;
  line.dtype = c.precision.starts_with("torch.") ? c.precision : "torch." + c.precision;
  line.device = run.loaded.backend->name;
  line.repro = repro_command(c);
  return line;
}

void print_sample(int32_t i, const HarnessConfig& c, const Sample& s, double model_bytes) {
  const double rate = c.max_new_tokens / s.total;
  const double decode = s.steps > 0 ? c.max_new_tokens / s.decode : 0;
  print(
      fmt::format("Sample {} | overall time {:.4f} s {:.2f} tokens/sec | prefill time {:.4f} s "
                  "decode {:.2f} tokens/sec\nBandwidth achieved: {:.2f} GB/s\n",
                  i + 1, s.total, rate, s.prefill, decode, model_bytes * rate / 1e9));
  flush_output();
}

void print_averages(const Run& run, const Means& means, const HarnessLine& line) {
  print(
      fmt::format("==========\nAverage overall tokens/sec: {:.2f}\n"
                  "Average decode tokens/sec: {:.4f}\nAverage TTFT: {:.4f} s\n"
                  "Average tokens/sec: {:.2f}\n",
                  means.overall, means.decode, means.ttft, means.overall));
  if (run.config.batch_size > 1) {
    print(fmt::format("Average tokens/sec including batches: {:.2f}\n",
                      means.overall * run.config.batch_size));
  }
  print(
      fmt::format("Average Bandwidth: {:.2f} GB/s\nPeak Memory Usage: {:.2f} GB\n"
                  "Model Size: {:.2f} GB\n",
                  line.bytes_per_second / 1e9, line.peak_bytes / 1e9, line.model_bytes / 1e9));
}

// Rows of the dashboard: the older ones flat, the newer ones by benchmark, model and metric.
void write_dashboard(const HarnessConfig& c, const HarnessLine& line) {
  if (c.output_json_path.empty()) return;
  const std::pair<const char*, double> metrics[] = {{"mem/s", line.bytes_per_second / 1e9},
                                                    {"tok/s", line.tokens_per_second}};
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const auto& [metric, value] : metrics) {
    nlohmann::ordered_json row;
    if (c.output_json_local) {
      row = {{"name", line.model},     {"dtype", line.quantization},
             {"min_sqnr", c.min_sqnr}, {"compile", line.compiled},
             {"device", line.device},  {"arch", machine_fingerprint().cpu},
             {"metric", metric},       {"actual", value},
             {"target", nullptr}};
    } else {
      row["benchmark"] = {
          {"name", "TorchAO benchmark"},
          {"mode", "inference"},
          {"dtype", line.quantization},
          {"extra_info", {{"device", line.device}, {"arch", machine_fingerprint().cpu}}}};
      row["model"] = {{"name", line.model}, {"type", "model"}, {"origins", {"lowbit"}}};
      row["metric"] = {{"name", metric}, {"benchmark_values", {value}}, {"target_value", nullptr}};
    }
    rows.push_back(std::move(row));
  }
  write_file_atomically(c.output_json_path, rows.dump(2) + "\n");
}

HarnessConfig parse_config(const std::vector<std::string>& args, bool* help) {
  HarnessConfig c;
  CommandLine line("", "generate");
  line.add_flags(c);
  std::vector<std::string> canonical;
  for (const std::string& arg : args) canonical.push_back(canonical_flag(arg));
  *help = std::find(args.begin(), args.end(), "--help") != args.end();
  if (!*help) *help = !line.parse(canonical);
  return c;
}

}  // namespace

bool is_harness_command(const std::vector<std::string>& args) {
  HarnessConfig config;
  const std::vector<FieldRef> fields = fields_of(config);
  return std::any_of(args.begin(), args.end(), [&](const std::string& arg) {
    if (!arg.starts_with("-") || arg.starts_with("--model") || arg.starts_with("--format")) {
      return false;
    }
    const std::string flag = canonical_flag(arg);
    const bool shared = std::find(std::begin(kShared), std::end(kShared),
                                  flag.substr(0, flag.find('='))) != std::end(kShared);
    return !shared && is_flag_of(flag, fields);
  });
}

std::string harness_help() {
  HarnessConfig config;
  return std::string(
             "\nThe flags of torchao's llama harness (generate.py) work too, with its defaults; "
             "one that "
             "is none of the\nabove asks for its samples and its record line:\n") +
         flags_help(fields_of(config));
}

namespace {

void write_memory(const HarnessConfig& c, const MemoryTimeline& memory) {
  const std::string path = c.memory_profile + ".json";
  write_file_atomically(path, snapshot_json(memory, memory.failure() ? "OOM" : "0"));
  print(memory_text(memory) + "wrote " + path + "\n");
}

// All samples; `memory` may be null.
int run_samples(const HarnessConfig& c, MemoryTimeline* memory) {
  const ModelOptions options = model_options(c);
  reset_peak_memory();
  if (const DeviceApi* device = chosen_backend(options).device) device->reset_peak();
  const LoadedModel loaded = load_model_for(options, /*plan_only=*/false, memory);
  print(fmt::format("Time to load model: {:.2f} seconds\n", loaded.load_seconds));

  std::string text = prompt_text(c);
  std::vector<int32_t> prompt = prompt_ids(c, loaded, text);
  if (prompt.empty()) throw_error("the prompt has no tokens; give some text with --prompt");
  const int32_t context =
      c.interactive ? loaded.model->max_context() : context_for(c, *loaded.model, prompt.size());
  Stepper stepper(*loaded.model, *loaded.backend,
                  {.max_sequences = c.batch_size,
                   .max_context = context,
                   .plan = loaded.plan,
                   .memory_trace = memory});
  Run run{c, loaded, stepper, memory};
  const auto bytes = static_cast<double>(loaded.model->memory().per_step);
  run_sample(run, prompt, static_cast<uint64_t>(c.seed));  // as its compile run, not counted
  run.memory = nullptr;                                    // samples that count have no hook
  if (memory) write_memory(c, *memory);
  std::vector<Sample> samples;
  for (int32_t i = 0; i < c.num_samples; ++i) {
    if (i > 0 && c.interactive) prompt = prompt_ids(c, loaded, text = prompt_text(c));
    OpTimeline timeline(*loaded.backend);
    const bool profiled = !c.profile.empty() && i + 1 == c.num_samples;
    if (profiled) stepper.set_trace(&timeline);
    samples.push_back(run_sample(run, prompt, static_cast<uint64_t>(c.seed + i)));
    stepper.set_trace(nullptr);
    if (profiled) write_file_atomically(c.profile + ".json", chrome_json(timeline));
    print_text(run, text, samples.back());
    print_sample(i, c, samples.back(), bytes);
  }
  if (!c.profile.empty() && samples.size() > 1) samples.pop_back();  // slowed by the trace
  const Means means = means_of(c, samples);
  const HarnessLine line = line_of(run, means);
  print_averages(run, means, line);
  if (c.max_new_tokens > 1) {
    print(
        fmt::format("By lowbit's definition, steps after the first token / their time: decode "
                    "{:.2f} tokens/s\n",
                    means.ours));
  }
  const std::string record = harness_text(line);
  print(record + "\n");
  note("ran        " + what_runs(loaded, options));
  if (!c.write_result.empty()) append_line(c.write_result, record);
  write_dashboard(c, line);
  return 0;
}

}  // namespace

int run_harness(const std::vector<std::string>& args) {
  bool help = false;
  const HarnessConfig c = parse_config(args, &help);
  if (help) return print(harness_help()), 0;
  check(c);
  for (const std::string& remark : harness_remarks(c)) print(remark + "\n");
  if (c.memory_profile.empty()) return run_samples(c, nullptr);
  constexpr size_t kEntries = 100000;
  MemoryTimeline memory(kEntries, chosen_backend(model_options(c)).device);
  try {
    return run_samples(c, &memory);
  } catch (const OutOfMemory&) {
    write_memory(c, memory);
    throw;
  }
}

}  // namespace lowbit
