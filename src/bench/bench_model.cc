#include "bench/bench_model.h"

#include <algorithm>
#include <functional>
#include <new>
#include <set>

#include "base/check.h"
#include "base/file.h"
#include "base/text.h"
#include "bench/device_ceiling.h"
#include "bench/device_watch.h"
#include "bench/host_load.h"
#include "bench/machine_ceilings.h"
#include "bench/measure.h"
#include "bench/quality.h"
#include "bench/stats.h"
#include "bench/work.h"
#include "engine/launch_blocking.h"
#include "load/embedded.h"
#include "models/method_policy.h"

namespace lowbit {
namespace {

constexpr std::string_view kDefaultModel = "prose-7m";
constexpr int32_t kHashTokens = 8;  // logits_hash() needs that much context

struct Case {
  const BenchCase& keys;
  const Backend& backend;
  const CaseOptions& options;
  Profiler& profiler;

  void phase(std::string_view text) const { options.on_phase(text); }
};

// From the sizes that every transformer's config names; 0 where it does not.
int64_t estimated_parameters(const Hyperparams& config) {
  constexpr int64_t kMost = int64_t{1} << 24;
  const auto get = [&](const char* key) { return config.integer_or(key, 0, 0, kMost); };
  const int64_t hidden = get("hidden_size"), layers = get("num_hidden_layers");
  const int64_t heads = std::max<int64_t>(get("num_attention_heads"), 1);
  const int64_t kv = hidden / heads * config.integer_or("num_key_value_heads", heads, 0, kMost);
  const int64_t tables = config.boolean_or("tie_word_embeddings", false) ? 1 : 2;
  const double total =
      static_cast<double>(tables * get("vocab_size")) * static_cast<double>(hidden) +
      static_cast<double>(layers) * static_cast<double>(hidden) *
          static_cast<double>(2 * hidden + 2 * kv + 3 * get("intermediate_size"));
  return total < 1e15 ? static_cast<int64_t>(total) : 0;
}

FormatPair stored_pair() { return {format_of(FormatId::kBF16), std::nullopt}; }

// "" or why the case cannot run on this machine.
std::string reason_to_skip(const BenchCase& c, const Backend& backend) {
  const FormatPair pair = c.format == "stored" ? stored_pair() : parse_method(c.format).formats;
  const int64_t parameters = estimated_parameters(open_checkpoint(c.model)->config());
  const double needed = static_cast<double>(parameters) * pair.weights.bits_per_weight() / 8;
  const DeviceApi* device = backend.device;
  const double available =
      device ? static_cast<double>(device->memory().free) : static_cast<double>(available_memory());
  if (available == 0 || needed <= available) return "";
  return fmt::format("needs about {:.1f} GB of {}memory for its weights; {:.1f} GB are free{}",
                     needed / 1e9, device ? "GPU " : "", available / 1e9,
                     fmt::format(", enough for {:.1f} bits per weight",
                                 8 * available / static_cast<double>(parameters)));
}

std::string distinct(const Model& model, Format Linear::*member) {
  std::set<std::string> names;
  for (const Linear* linear : model.linears()) names.insert(name(linear->*member));
  return join({names.begin(), names.end()}, ",");
}

std::string count_text(int64_t count) {
  const auto number = static_cast<double>(count);
  return count >= 1'000'000'000 ? fmt::format("{:.1f}B", number / 1e9)
                                : fmt::format("{:.1f}M", number / 1e6);
}

// A read bandwidth that nothing on this machine exceeds, and of what it is.
struct Roof {
  double bytes_per_second = 0;
  std::string of = {};
};

// Of a working set that was read at `rate`; no lower than `least`, which one at least as large had.
Roof read_roof(const Backend& backend, double working_set, double rate,
               const std::optional<Ceilings>& known, const Roof& least = {}) {
  Roof roof = least;
  if (known && known->level_of(working_set).bytes_per_second > roof.bytes_per_second) {
    const Level& level = known->level_of(working_set);
    roof = {level.bytes_per_second,
            fmt::format("{}, as lowbit roofline measured it {}", level.name, known->measured)};
  }
  // Unknown; or a set that lives in two levels, or a machine that was busy when it was measured.
  if (rate <= roof.bytes_per_second) return roof;
  roof.of = "a buffer as large as the working set, measured with the case";
  const auto size = static_cast<int64_t>(working_set);
  const auto measure = [&](double seconds) {
    roof.bytes_per_second =
        std::max(roof.bytes_per_second, read_ceiling(backend, size, seconds).bytes_per_second);
  };
  measure(0.3);
  if (rate > roof.bytes_per_second) measure(1.5);  // before we call it wrong: for longer
  return roof;
}

// How near decode steps and prompts are to what this machine reads at most.
void add_read_ceilings(Record* record, const Backend& backend, std::span<const RunTiming> runs,
                       const Work& decode, const Work& prefill,
                       const std::optional<Ceilings>& known) {
  Roof roof;
  if (const Estimate* tpot = record->find("tpot")) {
    roof = read_roof(backend, decode.bytes, decode.bytes / tpot->hi, known);
    record->roof = roof.of;
    add_ceiling(record, runs, decode.bytes, roof.bytes_per_second);
  }
  std::vector<double> rates;
  for (const RunTiming& run : runs) rates.push_back(prefill.bytes / run.prefill);
  const bool smaller = prefill.working_set() <= decode.bytes;
  roof = read_roof(backend, prefill.working_set(), series_estimate(rates).lo, known,
                   smaller ? roof : Roof());
  if (record->roof.empty()) record->roof = roof.of;
  add_prefill_ceiling(record, runs, prefill.bytes, roof.bytes_per_second);
}

// How far a case is from what this machine can do.
void measure_ceilings_of(Record* record, const Case& c, const LoadedModel& loaded,
                         std::span<const RunTiming> runs, const SpeedOptions& options) {
  const WorkCounter counter(loaded);
  const double context = options.depth + options.prompt_tokens + options.new_tokens / 2.0;
  const Work decode = counter.decode(options.batch, context);
  const Work prefill = counter.prefill_all(options.batch, options.prompt_tokens);
  const bool decodes = options.new_tokens > 1;
  if (decodes) record->set("bytes_per_token", exact(decode.bytes / options.batch));
  c.phase("measuring the ceiling");
  const std::optional<Ceilings> known = known_ceilings(record->fingerprint);
  const HostLoad before = host_load();
  Ceilings ceilings = known.value_or(Ceilings{});
  const auto measure = [&](double seconds) {
    for (const Products products : products_of(c.backend)) {
      double& flops = ceilings.flops(products);
      flops = std::max(flops, compute_ceiling(c.backend, products, seconds));
    }
  };
  if (!known) measure(0.2);
  // Before we call it wrong: was the machine busy?
  if (highest_share(runs, decode, prefill, ceilings) > 1) measure(1);
  add_work(record, runs, decode, prefill, ceilings, options.batch);
  add_read_ceilings(record, c.backend, runs, decode, prefill, known);
  if (known) {
    record->roof_unstable = known->unstable;
  } else if (!c.backend.device) {
    record->roof_unstable = disturbances(before, host_load());
  }
}

// The times of a case, with what the device and its other users did meanwhile.
std::vector<RunTiming> watched_runs(Record* record, const Case& c, Stepper& stepper,
                                    SpeedOptions options) {
  const bool on_gpu = c.backend.info().sm != 0;
  FoundSource found = on_gpu ? open_nvml() : open_rapl();
  std::optional<DeviceWatch> watch;
  if (found.source) {
    record->fingerprint.gpu_driver = found.source->driver();
    record->fingerprint.power_limit = found.source->power_limit();
    watch.emplace(*found.source);
    if (!found.source->polled()) options.between_runs = [&] { watch->look(); };
  } else {
    record->not_measured.emplace_back("energy_per_token", found.reason);
  }
  const HostLoad before = host_load();
  std::vector<RunTiming> runs = measure_speed(stepper, options);
  const std::vector<std::string> disturbed = disturbances(before, host_load());
  record->unstable.insert(record->unstable.end(), disturbed.begin(), disturbed.end());
  if (launch_blocking(c.backend)) {
    record->unstable.emplace_back(
        "the host waited after every op (LOWBIT_LAUNCH_BLOCKING or CUDA_LAUNCH_BLOCKING is 1)");
  }
  add_speed(record, runs, options);
  if (watch) add_energy(record, runs, watch->stop(), options.new_tokens * options.batch);
  return runs;
}

void run_speed(Record* record, const Case& c, const LoadedModel& loaded, bool peak_is_ours) {
  const SpeedOptions options = speed_options(c.keys, loaded.tokenizer.get());
  StepperOptions room = stepper_options(options, loaded.plan);
  c.profiler.listen(&room);
  Stepper stepper(*loaded.model, c.backend, room);
  c.profiler.ready(loaded);
  describe(record, loaded, stepper);
  record->fingerprint.logits_hash = logits_hash(stepper);
  c.phase("measuring");
  const std::vector<RunTiming> runs = watched_runs(record, c, stepper, options);
  if (peak_is_ours) {
    record->set("peak_memory", exact(static_cast<double>(peak_memory())));
  } else {
    record->not_measured.emplace_back("peak_memory", "/proc/self/clear_refs cannot be written");
  }
  if (const DeviceApi* device = c.backend.device) {
    record->set("peak_device_memory", exact(static_cast<double>(device->memory().peak)));
  }
  // After the peak, in which the pages that it reads would show.
  record->fingerprint.model_hash = loaded.checkpoint->hash();
  measure_ceilings_of(record, c, loaded, runs, options);
  if (c.options.profile.any()) {
    c.phase("profiling");
    c.profiler.run(loaded, stepper, options, record->fingerprint);
  }
}

// The text that `reference` writes itself: what an earlier case left in the scratch folder, or new.
ScoredText generated_text(const Case& c, const LoadedModel& reference) {
  SelfTextOptions options{.seed = static_cast<uint64_t>(c.keys.seed)};
  if (c.keys.ctx > 0) options.tokens = c.keys.ctx - 1;
  if (c.keys.quality_tokens > 0) {
    options.tokens = std::min(options.tokens, c.keys.quality_tokens);
    options.sequences = std::max(1, c.keys.quality_tokens / options.tokens);
  }
  if (c.options.scratch.empty()) return self_text(reference, options);
  const std::string key = fmt::format("{}\n{}\n{} {} {}", c.keys.model, c.keys.device, options.seed,
                                      options.sequences, options.tokens);
  const std::string path =
      fmt::format("{}/text-{:016x}", c.options.scratch, std::hash<std::string>()(key));
  if (file_exists(path)) return parse_text(map_file(path).text());
  ScoredText text = self_text(reference, options);
  write_file_atomically(path, to_json(text));
  return text;
}

void run_quality(Record* record, const Case& c, const LoadedModel& loaded) {
  const BenchCase& keys = c.keys;
  if (keys.quality == "none" || record->random_weights) return;
  c.phase("scoring");
  const LoadedModel reference = load(keys.model, c.backend, {});  // its cache in bf16
  const ScoredText text = keys.text.empty()
                              ? generated_text(c, reference)
                              : file_text(reference, keys.text, keys.ctx, keys.quality_tokens);
  add_quality(record, loaded, reference, text);
}

void run_loaded(Record* record, const Case& c) {
  c.phase("loading");
  const bool peak_is_ours = reset_peak_memory();
  if (c.backend.device) c.backend.device->reset_peak();
  LoadOptions options = load_options(c.keys, c.backend);
  c.profiler.listen(&options);
  const LoadedModel loaded =
      load(c.keys.model, c.backend, options, {c.keys.calibration, c.keys.calibration_tokens});
  record->random_weights = loaded.checkpoint->synthetic();
  run_speed(record, c, loaded, peak_is_ours);
  with_context("quality", [&] { run_quality(record, c, loaded); });
}

int64_t context_of(const Checkpoint& checkpoint) {  // the range and the default of LlamaConfig
  return checkpoint.config().integer_or("max_position_embeddings", 2048, 1, 1 << 24);
}

// Windows longer than the model's context, found out before anything is loaded.
void check_quality_context(const BenchCase& c, const Checkpoint& checkpoint) {
  if (c.quality == "none") return;
  if (const int64_t context = context_of(checkpoint); c.ctx > context) {
    throw_error("ctx = {}: {} was made for {} tokens", c.ctx, checkpoint.source(), context);
  }
}

}  // namespace

LoadOptions load_options(const BenchCase& c, const Backend& backend) {
  LoadOptions options;
  options.plan = parse_plan(c.plan, backend);
  if (c.format != "stored") options.policy = policy_of(parse_method(c.format));
  if (!c.head.empty()) options.policy.head = parse_tensor_policy(c.head);
  options.kv_format = parse_cache_name(c.kv_format);
  return options;
}

SpeedOptions speed_options(const BenchCase& c, const Tokenizer* tokenizer) {
  const auto seed = static_cast<uint64_t>(c.seed);
  SpeedOptions options{
      .prompt_tokens = c.prompt_tokens,
      .new_tokens = c.new_tokens,
      .depth = c.depth,
      .batch = c.batch,
      .cache_size = c.cache_size,
      .seed = seed,
      .min_samples = c.min_samples,
      .max_seconds = c.max_seconds,
      .ci_width = c.ci_width,
      .prompt = {},
      .sampling = {static_cast<float>(c.temperature), c.top_k, static_cast<float>(c.top_p), seed},
      .schedule = {c.skip_first, c.wait, c.warmup, c.active, c.repeat}};
  if (!c.prompt.empty() && tokenizer) {
    options.prompt = tokenizer->encode(c.prompt);
    options.prompt_tokens = static_cast<int32_t>(options.prompt.size());
  }
  return options;
}

StepperOptions stepper_options(const SpeedOptions& options, StepPlan plan) {
  const int64_t context = int64_t{options.depth} + options.prompt_tokens + options.new_tokens - 1;
  const int64_t room = std::max<int64_t>({context, kHashTokens, options.cache_size});
  return {.max_sequences = options.batch, .max_context = static_cast<int32_t>(room), .plan = plan};
}

void describe(Record* record, const Backend& backend) {
  record->fingerprint.threads = record->llama_bench.n_threads = backend.info().threads;
  if (backend.info().sm == 0) return;
  record->fingerprint.gpu = record->llama_bench.gpu_info = backend.info().name;
}

void describe(Record* record, const LoadedModel& loaded, const Stepper& stepper) {
  const Model& model = *loaded.model;
  record->format = distinct(model, &Linear::format);
  if (const auto& act = model.linears().front()->activations) record->format += "+" + name(*act);
  record->resident = distinct(model, &Linear::resident);
  record->fingerprint.plan = name(stepper.plan());
  record->fingerprint.kernels = kernel_choices(model);
  record->head = head_format(model);
  double bytes = 0, weights = 0;
  for (const Linear* linear : model.linears()) {
    bytes += static_cast<double>(linear->bytes());
    weights += static_cast<double>(linear->n) * static_cast<double>(linear->k);
  }
  record->set("load_time", exact(loaded.load_seconds));
  record->set("model_bytes", exact(static_cast<double>(model.memory().total())));
  record->set("kv_bytes", exact(static_cast<double>(stepper.state().bytes())));
  record->set("kv_bytes_per_token", exact(static_cast<double>(stepper.state().bytes_per_token())));
  record->set("bits_per_weight", exact(8 * bytes / weights));

  LlamaBenchFields& fields = record->llama_bench;
  fields.model_size = static_cast<int64_t>(model.memory().total());
  fields.model_n_params = model.parameters();
  fields.model_type =
      fmt::format("{} {} {}", loaded.checkpoint->config().text_or("model_type", "unknown"),
                  count_text(model.parameters()), record->format);
  fields.n_batch = stepper.max_step_tokens();
}

std::string default_bench_model() {
  const std::vector<std::string> names = embedded_names();
  if (std::find(names.begin(), names.end(), kDefaultModel) != names.end()) {
    return fmt::format("embedded:{}", kDefaultModel);
  }
  std::string folder = fmt::format("models/{}", kDefaultModel);
  if (is_directory(folder)) return folder;
  throw_error("no model is linked into this binary and {} is not here; name one: model=FOLDER",
              folder);
}

void check_case(const BenchCase& c) {
  if (!c.text.empty()) map_file(c.text);
  const std::unique_ptr<Checkpoint> checkpoint = open_checkpoint(c.model);
  if (!checkpoint->synthetic()) check_quality_context(c, *checkpoint);
}

void check_length(const BenchCase& c) {
  if (!c.prompt.empty()) return;  // its tokens are counted once there is a tokenizer
  const std::unique_ptr<Checkpoint> checkpoint = open_checkpoint(c.model);
  with_context(checkpoint->source(),
               [&] { check_context(speed_options(c, nullptr), context_of(*checkpoint)); });
}

Record blank_record(const BenchCase& c) {
  Record record;
  record.config = case_json(c);
  record.repro = repro_command(c);
  record.format = record.resident = c.format;
  Fingerprint& print = record.fingerprint = machine_fingerprint();
  print.device = c.device;
  print.threads = c.threads;
  LlamaBenchFields& fields = record.llama_bench;
  fields.build_commit = print.commit;
  fields.cpu_info = print.cpu;
  fields.backends = c.device;
  fields.model_filename = c.model;
  fields.n_threads = print.threads;
  fields.type_k = fields.type_v = c.kv_format;
  fields.n_prompt = c.prompt_tokens;
  fields.n_gen = c.new_tokens - 1;
  fields.n_depth = c.depth;
  fields.test_time = utc_now();
  return record;
}

Record run_case(const BenchCase& c, const Backend& backend, const CaseOptions& options) {
  Record record = blank_record(c);
  describe(&record, backend);
  Profiler profiler(options.profile, backend, options.on_text);
  const auto fail = [&](const std::string& reason, bool out_of_memory) {
    record.status = Status::kFail;
    record.reason = one_line(reason);
    profiler.failed(out_of_memory);
  };
  try {
    check_length(c);
    record.reason = reason_to_skip(c, backend);
    if (!record.reason.empty()) {
      record.status = Status::kSkip;
    } else {
      run_loaded(&record, {c, backend, options, profiler});
    }
  } catch (const OutOfMemory& error) {
    fail(error.what(), true);
  } catch (const Error& error) {
    fail(error.what(), false);
  } catch (const std::bad_alloc&) {
    fail("out of memory", true);
  }
  profiler.finish(&record);
  return record;
}

}  // namespace lowbit
