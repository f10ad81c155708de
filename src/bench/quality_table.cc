#include "bench/quality_table.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/check.h"
#include "base/file.h"
#include "base/text.h"
#include "bench/bench_model.h"
#include "bench/quality.h"
#include "engine/calibrate.h"
#include "engine/perplexity.h"
#include "models/method_policy.h"

namespace lowbit {
namespace {

constexpr std::string_view kDefaultKv = "bf16";

// One row of the table before it is measured.
struct Variant {
  std::string format;     // "stored" or a canonical pair
  std::string quantizer;  // "" for weights as stored
  std::string kv_format;
  LoadOptions options;
  MethodScope scope = {};        // of the name
  Preparation prepare = {};      // of the name
  std::string named = {};        // the name itself where it says more than formats and quantizer
  std::string calibration = {};  // the text whose inputs it looks at

  bool same_as(const Variant& other) const {
    return format == other.format && quantizer == other.quantizer && scope == other.scope &&
           prepare == other.prepare && options.kv_format == other.options.kv_format;
  }
};

Variant weight_variant(const QualityConfig& config, const std::string& text) {
  const size_t at = text.find('@');
  Method method = parse_method(std::string_view(text).substr(0, at));
  if (at != std::string::npos) method.quantizer = &find_quantizer(text.substr(at + 1));
  const bool says_more = method.scope != MethodScope{} || method.prepare.any();
  Variant variant{.format = name(method.formats),
                  .quantizer = std::string(method.quantizer->name),
                  .kv_format = std::string(kDefaultKv),
                  .options = {},
                  .scope = method.scope,
                  .prepare = method.prepare,
                  .named = says_more ? text : ""};
  variant.options.policy = policy_of(method);
  LayerPolicy& policy = variant.options.policy;
  if (!config.head.empty()) policy.head = parse_tensor_policy(config.head);
  if (!config.embedding.empty()) policy.embedding = parse_tensor_policy(config.embedding);
  return variant;
}

std::vector<Variant> variants_of(const QualityConfig& config) {
  std::vector<Variant> variants = {{"stored", "", std::string(kDefaultKv), {}}};
  const auto add = [&](Variant variant) {  // once, whatever its names
    const auto same = [&](const Variant& other) { return other.same_as(variant); };
    if (std::none_of(variants.begin(), variants.end(), same)) variants.push_back(variant);
  };
  for (const std::string& text : config.formats) {
    if (text == "stored") continue;  // always scored
    with_context("format " + printable(text), [&] {
      Variant variant = weight_variant(config, text);
      const std::string_view asking = variant.options.policy.needs_inputs();
      if (!asking.empty() && config.calibration.empty()) {
        throw_error("{} has to know what layers read on a text; give calibration=TEXT", asking);
      }
      add(std::move(variant));
    });
  }
  for (const std::string& text : config.kv_formats) {
    const Format format =
        with_context("kv_format " + printable(text), [&] { return parse_cache_name(text); });
    Variant variant{"stored", "", text, {}};
    variant.options.kv_format = format;
    add(std::move(variant));
  }
  return variants;
}

struct Subject {
  LoadedModel model;
  std::optional<Stepper> stepper;
  Record* record;
};

double stored_bits(const Model& model) {
  double bytes = 0, weights = 0;
  for (const Linear* linear : model.linears()) {
    bytes += static_cast<double>(tensor_bytes(linear->format, linear->n, linear->k));
    weights += static_cast<double>(linear->n) * static_cast<double>(linear->k);
  }
  return 8 * bytes / weights;
}

Record record_of(const QualityConfig& config, const Variant& variant, const Backend& backend) {
  Record record;
  record.kind = "quality";
  record.format = variant.format;
  record.repro = config.command;
  record.fingerprint = machine_fingerprint();
  record.fingerprint.device = backend.name;
  record.fingerprint.threads = backend.info().threads;
  record.llama_bench.model_filename = config.model;
  record.llama_bench.test_time = utc_now();
  record.config = {{"model", config.model},
                   {"format", variant.format},
                   {"quantizer", variant.quantizer},
                   {"kv_format", variant.kv_format},
                   {"head", config.head},
                   {"embedding", config.embedding}};
  if (!variant.named.empty()) record.config["named"] = variant.named;
  if (!variant.calibration.empty()) record.config["calibration"] = variant.calibration;
  return record;
}

void fail(Record* record, const Error& error) {
  record->status = Status::kFail;
  record->reason = one_line(error.what());
}

void describe(const Subject& subject) {
  Record& record = *subject.record;
  const Model& model = *subject.model.model;
  record.resident = format_summary(model);
  record.head = head_format(model);
  record.fingerprint.kernels = kernel_choices(model);
  record.set("stored_bits", exact(stored_bits(model)));
  record.set("model_bytes", exact(static_cast<double>(model.memory().total())));
  record.set("kv_bytes_per_token",
             exact(static_cast<double>(subject.stepper->state().bytes_per_token())));
}

// The first variants that a part of the free memory holds, at least one, and how many those are.
// One that cannot be loaded is a failed record and no subject.
struct Batch {
  std::vector<Subject> subjects;
  size_t variants = 0;
};

Batch load_some(const QualityConfig& config, const Backend& backend,
                std::span<const Variant> variants, int32_t ctx, std::span<Record> records,
                QualityListener* listener) {
  const double budget = static_cast<double>(available_memory()) / 2;
  double used = 0;
  Batch batch;
  while (batch.variants < variants.size() && used <= budget) {
    const size_t i = batch.variants++;
    const int64_t before = available_memory();
    if (listener) {
      listener->on_phase(static_cast<int64_t>(i), static_cast<int64_t>(variants.size()),
                         "loading " + variants[i].format);
    }
    records[i] = record_of(config, variants[i], backend);
    try {
      Subject subject{load(config.model, backend, variants[i].options), {}, &records[i]};
      subject.stepper.emplace(*subject.model.model, backend,
                              StepperOptions{.max_context = ctx, .max_step_tokens = ctx});
      describe(subject);
      batch.subjects.push_back(std::move(subject));
    } catch (const Error& error) {
      fail(&records[i], error);
    }
    used += static_cast<double>(std::max(before - available_memory(), int64_t{1} << 20));
  }
  return batch;
}

// What an earlier run has scored. Error: a file of something else.
std::vector<Record> read_known(const std::string& path) {
  std::vector<Record> scored;
  if (path.empty()) return scored;
  const auto records = with_context("known", [&] { return read_records(path); });
  for (const Record& record : records) {
    if (record.kind != "quality") {
      throw_error(
          "known = {}: holds results of another command (kind `{}`), but the figures of lowbit "
          "quality are needed: give the `out` of such a run",
          path, printable(record.kind));
    }
    if (record.status == Status::kOk && record.quality) scored.push_back(record);
  }
  if (scored.empty()) throw_error("known = {}: every row of it has failed; run without it", path);
  return scored;
}

// A calibration on the same text gets this run's label.
void take_calibration(const std::string& label, std::vector<Record>* records) {
  for (Record& record : *records) {
    const std::string theirs = record.config_text("calibration");
    if (same_text(theirs, label)) record.config["calibration"] = label;
  }
}

// `records` are of the same text in the same windows; their labels become this run's. Error: not.
void take_text(const QualityConfig& config, const ScoredText& text, std::vector<Record>* records) {
  for (Record& record : *records) {
    QualityText& theirs = *record.quality;
    if (!same_text(theirs.text, text.label)) {
      throw_error(
          "known = {}: was scored on {}, this run is on {}; give that text, with that many tokens, "
          "or run without known=",
          config.known, theirs.text, text.label);
    }
    if (theirs.ctx != text.ctx) {
      throw_error(
          "known = {}: was scored in windows of {}, this run is in windows of {}: give ctx={}",
          config.known, theirs.ctx, text.ctx, theirs.ctx);
    }
    theirs.text = text.label;
  }
}

// A record of the same variant of the same model, whatever else its run had.
template <class Records>
auto find_variant(Records& records, const Record& wanted) {
  const auto same = [&](const Record& record) { return record.config == wanted.config; };
  const auto at = std::find_if(records.begin(), records.end(), same);
  return at == records.end() ? nullptr : &*at;
}

// `stored` is scored in every run: it says whether two runs can be compared.
void check_same_figures(const QualityConfig& config, const std::vector<Record>& known,
                        const Record& stored) {
  if (known.empty()) return;
  const Record* before = find_variant(known, stored);
  if (before == nullptr) {
    throw_error("known = {}: has no row of {} as stored, so nothing says that it is of this model",
                config.known, config.model);
  }
  const double then = before->find("perplexity")->median, now = stored.find("perplexity")->median;
  if (before->quality->tokens != stored.quality->tokens || !(std::abs(then / now - 1) < 1e-4)) {
    throw_error(
        "known = {}: the stored weights scored {:.4f} on {} tokens there, and {:.4f} on {} here",
        config.known, then, before->quality->tokens, now, stored.quality->tokens);
  }
}

class WindowListener final : public ScoreListener {
 public:
  explicit WindowListener(QualityListener* listener) : listener_(listener) {}
  void on_window(int64_t done, int64_t total, const Scores&) override {
    if (listener_) listener_->on_phase(done, total, "scoring");
  }

 private:
  QualityListener* listener_;
};

// One record of each variant, as many at a time as the memory holds.
std::vector<Record> score(const QualityConfig& config, const Backend& backend,
                          std::span<const Variant> variants, const ScoredText& text,
                          const Model& reference, QualityListener* listener) {
  Stepper stored(reference, backend, {.max_context = text.ctx, .max_step_tokens = text.ctx});
  std::vector<Record> records(variants.size());
  for (size_t begin = 0; begin < variants.size();) {
    const auto rest = variants.subspan(begin);
    Batch batch =
        load_some(config, backend, rest, text.ctx, std::span(records).subspan(begin), listener);
    begin += batch.variants;
    std::vector<Stepper*> steppers;
    for (Subject& subject : batch.subjects) steppers.push_back(&*subject.stepper);
    if (steppers.empty()) continue;
    WindowListener windows(listener);
    const std::vector<Scores> scores =
        score_all(steppers, &stored, text.ids, {.ctx = text.ctx, .bos = text.bos}, &windows);
    for (size_t i = 0; i < batch.subjects.size(); ++i) {
      Record& record = *batch.subjects[i].record;
      try {
        add_quality(&record, scores[i]);
        record.quality =
            QualityText{text.label, "the weights as stored, KV " + std::string(kDefaultKv),
                        text.ctx, static_cast<int64_t>(scores[i].nll.size())};
      } catch (const Error& error) {
        fail(&record, error);
      }
    }
  }
  return records;
}

}  // namespace

void check(const QualityConfig& config) {
  const std::pair<const char*, int32_t> counts[] = {
      {"ctx", config.ctx},
      {"tokens", config.tokens},
      {"threads", config.threads},
      {"calibration_tokens", config.calibration_tokens}};
  for (const auto& [key, value] : counts) {
    if (value < 0) throw_error("{} = {}: must be at least 0", key, value);
  }
  if (config.ctx != 0) check_window(config.ctx, INT32_MAX);
  const std::pair<const char*, const std::string&> files[] = {
      {"out", config.out}, {"markdown", config.markdown}, {"plot", config.plot}};
  for (const auto& file : files) {
    if (!file.second.empty()) with_context(file.first, [&] { check_can_write(file.second); });
  }
}

std::vector<Record> measure_quality(const QualityConfig& asked, const Backend& backend,
                                    QualityListener* listener) {
  check(asked);
  QualityConfig config = asked;
  if (config.model.empty()) config.model = default_bench_model();
  if (config.text.empty()) throw_error("text is missing; it names the file to score");
  std::vector<Variant> variants = variants_of(config);
  std::vector<Record> known = read_known(config.known);
  const LoadedModel reference = load(config.model, backend, {});
  if (reference.checkpoint->synthetic()) {
    throw_error("{}: random weights have no quality to measure", config.model);
  }
  const ScoredText text = file_text(reference, config.text, config.ctx, config.tokens);
  take_text(config, text, &known);

  std::optional<ScoredText> seen;
  std::optional<Calibration> calibration;
  if (!config.calibration.empty()) {
    seen = file_text(reference, config.calibration, config.ctx, config.calibration_tokens);
    calibration.emplace(*reference.model, backend, seen->ids,
                        CalibrateOptions{.ctx = seen->ctx, .bos = seen->bos, .hessians = true});
    take_calibration(seen->label, &known);
    for (Variant& variant : variants) {
      variant.options.inputs = &*calibration;
      if (!variant.options.policy.needs_inputs().empty()) variant.calibration = seen->label;
    }
  }
  std::vector<Record> all;  // those that are known are complete
  std::vector<Variant> wanted;
  for (Variant& variant : variants) {
    all.push_back(record_of(config, variant, backend));
    // The stored weights, which come first, are scored in every run.
    const Record* found = wanted.empty() ? nullptr : find_variant(known, all.back());
    if (found != nullptr) {
      all.back() = *found;
    } else {
      wanted.push_back(std::move(variant));
    }
  }
  const std::string hash = reference.checkpoint->hash();
  for (Record& record : score(config, backend, wanted, text, *reference.model, listener)) {
    record.fingerprint.model_hash = hash;
    *find_variant(all, record) = std::move(record);
  }
  check_same_figures(config, known, all[0]);
  for (const Record& record : known) {  // `out` may be the same file: nothing is lost
    if (find_variant(all, record) == nullptr) all.push_back(record);
  }
  return all;
}

}  // namespace lowbit
