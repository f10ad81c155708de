#include "bench/quality_table.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/check.h"
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
};

Variant weight_variant(const QualityConfig& config, const std::string& text) {
  const size_t at = text.find('@');
  Method method = parse_method(std::string_view(text).substr(0, at));
  if (at != std::string::npos) method.quantizer = &find_quantizer(text.substr(at + 1));
  Variant variant{
      name(method.formats), std::string(method.quantizer->name), std::string(kDefaultKv), {}};
  set_method(method, &variant.options);
  LayerPolicy& policy = variant.options.policy;
  if (!config.head.empty()) policy.head = parse_tensor_policy(config.head);
  if (!config.embedding.empty()) policy.embedding = parse_tensor_policy(config.embedding);
  return variant;
}

std::vector<Variant> variants_of(const QualityConfig& config) {
  std::vector<Variant> variants = {{"stored", "", std::string(kDefaultKv), {}}};
  for (const std::string& text : config.formats) {
    variants.push_back(
        with_context("format " + printable(text), [&] { return weight_variant(config, text); }));
  }
  for (const std::string& text : config.kv_formats) {
    const Format format =
        with_context("kv_format " + printable(text), [&] { return parse_cache_format(text); });
    Variant variant{"stored", "", text, {}};
    variant.options.kv_format = format;
    variants.push_back(std::move(variant));
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

void describe(const QualityConfig& config, const Variant& variant, const Subject& subject) {
  Record& record = *subject.record;
  const Model& model = *subject.model.model;
  record.kind = "quality";
  record.config = {{"model", config.model},
                   {"format", variant.format},
                   {"quantizer", variant.quantizer},
                   {"kv_format", variant.kv_format},
                   {"head", config.head},
                   {"embedding", config.embedding}};
  record.resident = format_summary(model);
  record.fingerprint.kernels = kernel_choices(model);
  record.set("stored_bits", exact(stored_bits(model)));
  record.set("model_bytes", exact(static_cast<double>(model.memory().total())));
  record.set("kv_bytes_per_token",
             exact(static_cast<double>(subject.stepper->state().bytes_per_token())));
}

// Loads as many variants as a part of the free memory holds, at least one.
std::vector<Subject> load_some(const QualityConfig& config, const Backend& backend,
                               std::span<const Variant> variants, int32_t ctx,
                               std::span<Record> records, QualityListener* listener) {
  const double budget = static_cast<double>(available_memory()) / 2;
  double used = 0;
  std::vector<Subject> subjects;
  for (size_t i = 0; i < variants.size(); ++i) {
    const int64_t before = available_memory();
    if (listener) {
      listener->on_phase(static_cast<int64_t>(i), static_cast<int64_t>(variants.size()),
                         "loading " + variants[i].format);
    }
    Subject subject{load(config.model, backend, variants[i].options), {}, &records[i]};
    subject.stepper.emplace(*subject.model.model, backend,
                            StepperOptions{.max_context = ctx, .max_step_tokens = ctx});
    used += static_cast<double>(std::max(before - available_memory(), int64_t{1} << 20));
    subjects.push_back(std::move(subject));
    if (used > budget) break;
  }
  return subjects;
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
}

std::vector<Record> measure_quality(const QualityConfig& asked, const Backend& backend,
                                    QualityListener* listener) {
  check(asked);
  QualityConfig config = asked;
  if (config.model.empty()) config.model = default_bench_model();
  if (config.text.empty()) throw_error("text is missing; it names the file to score");
  std::vector<Variant> variants = variants_of(config);
  const LoadedModel reference = load(config.model, backend, {});
  if (reference.checkpoint->synthetic()) {
    throw_error("{}: random weights have no quality to measure", config.model);
  }
  const ScoredText text = file_text(reference, config.text, config.ctx, config.tokens);
  Stepper stored(*reference.model, backend, {.max_context = text.ctx, .max_step_tokens = text.ctx});

  std::optional<ScoredText> seen;
  std::optional<Calibration> calibration;
  if (!config.calibration.empty()) {
    seen = file_text(reference, config.calibration, config.ctx, config.calibration_tokens);
    calibration.emplace(*reference.model, backend, seen->ids,
                        CalibrateOptions{.ctx = seen->ctx, .bos = seen->bos, .hessians = true});
    for (Variant& variant : variants) variant.options.inputs = &*calibration;
  }
  std::vector<Record> records(variants.size());
  for (size_t begin = 0; begin < variants.size();) {
    const auto rest = std::span(variants).subspan(begin);
    std::vector<Subject> subjects =
        load_some(config, backend, rest, text.ctx, std::span(records).subspan(begin), listener);
    std::vector<Stepper*> steppers;
    for (size_t i = 0; i < subjects.size(); ++i) {
      steppers.push_back(&*subjects[i].stepper);
      Record& record = *subjects[i].record;
      record.format = rest[i].format;
      record.fingerprint = machine_fingerprint();
      record.fingerprint.device = backend.name;
      record.fingerprint.threads = backend.info().threads;
      record.llama_bench.model_filename = config.model;
      record.llama_bench.test_time = utc_now();
      describe(config, rest[i], subjects[i]);
    }
    WindowListener windows(listener);
    const std::vector<Scores> scores =
        score_all(steppers, &stored, text.ids, {.ctx = text.ctx, .bos = text.bos}, &windows);
    for (size_t i = 0; i < subjects.size(); ++i) {
      Record& record = *subjects[i].record;
      try {
        add_quality(&record, scores[i]);
        record.quality =
            QualityText{text.label, "the weights as stored, KV " + std::string(kDefaultKv),
                        text.ctx, static_cast<int64_t>(scores[i].nll.size())};
      } catch (const Error& error) {
        record.status = Status::kFail;
        record.reason = error.what();
      }
    }
    begin += subjects.size();
  }
  return records;
}

}  // namespace lowbit
