#include "engine/calibrate.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/thread_pool.h"
#include "engine/perplexity.h"
#include "formats/codec.h"
#include "ops/view.h"
#include "quantize/matrix.h"

namespace lowbit {
namespace {

// Adds up what some Linears read.
class Collector final : public Trace {
 public:
  Collector(const Backend& backend, bool hessians) : backend_(backend), hessians_(hessians) {}

  void expect(const Linear& linear) { sums_[linear.name].k = linear.k; }
  void begin(const OpTag&) override {}
  void end(const OpTag& tag, std::string_view, const OpCost& cost) override {
    if (cost.inputs.empty()) return;
    const auto found = sums_.find(tag.text());
    if (found != sums_.end()) add(cost.inputs[0], &found->second);
  }
  InputStats take(const std::string& linear);

 private:
  struct Sums {
    int64_t k = 0, rows = 0;
    std::vector<double> square = {}, abs = {};
    std::vector<float> hessian = {};
  };
  void add(const OutBuffer& x, Sums* sums);
  std::vector<float> read(const OutBuffer& x) const;

  const Backend& backend_;
  bool hessians_;
  std::map<std::string, Sums> sums_;
};

std::vector<float> Collector::read(const OutBuffer& x) const {
  const Format format = format_of(x.values);
  if (format.quantized()) {
    throw_error("calibration reads plain activations, not {}; load the model without them",
                name(format));
  }
  std::vector<float> values(static_cast<size_t>(x.rows * x.cols));
  std::vector<std::byte> row(static_cast<size_t>(row_bytes(format, x.cols)));
  for (int64_t r = 0; r < x.rows; ++r) {
    const auto* from =
        static_cast<const std::byte*>(x.values.data) + r * row_bytes(format, x.values.ld);
    backend_.copy_out(row.data(), from, row.size(), nullptr);
    decode_plain(format.id, row.data(), x.cols, &values[r * x.cols]);
  }
  return values;
}

void Collector::add(const OutBuffer& buffer, Sums* sums) {
  const int64_t k = buffer.cols, rows = buffer.rows;
  LB_CHECK(k == sums->k, "{} of {}", k, sums->k);
  const auto size = static_cast<size_t>(k);
  sums->square.resize(size);
  sums->abs.resize(size);
  sums->rows += rows;
  const std::vector<float> x = read(buffer);
  thread_pool().for_ranges(k, 16, [&](int64_t begin, int64_t end) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = begin; i < end; ++i) {
        const double value = x[r * k + i];
        sums->square[i] += value * value;
        sums->abs[i] += std::abs(value);
      }
    }
  });
  if (!hessians_) return;
  sums->hessian.resize(size * size);
  add_second_moments(x.data(), rows, k, sums->hessian.data());
}

InputStats Collector::take(const std::string& linear) {
  Sums sums = std::move(sums_.at(linear));
  InputStats stats{.rows = sums.rows};
  const double scale = 1 / static_cast<double>(std::max<int64_t>(sums.rows, 1));
  for (const double square : sums.square) {
    stats.mean_square.push_back(static_cast<float>(square * scale));
  }
  for (const double abs : sums.abs) stats.mean_abs.push_back(static_cast<float>(abs * scale));
  for (float& moment : sums.hessian) moment = static_cast<float>(moment * scale);
  if (!sums.hessian.empty()) mirror_upper(sums.hessian.data(), sums.k);
  stats.hessian = std::move(sums.hessian);
  return stats;
}

}  // namespace

Calibration::Calibration(const Model& model, const Backend& backend,
                         std::span<const int32_t> tokens, const CalibrateOptions& options)
    : model_(model),
      backend_(backend),
      tokens_(tokens),
      options_(options),
      linears_(model.linears()) {
  check_window(options.ctx, model.max_context());
  if (tokens.empty()) throw_error("the text to calibrate on is empty");
  for (size_t i = 0; i < linears_.size(); ++i) index_[linears_[i]->name] = i;
  for (const TensorUse& use : model.tensors()) {
    if (use.role == TensorRole::kLinear) index_[use.tensor] = index_.at(use.layer);
  }
}

const InputStats* Calibration::find(const std::string& tensor) {
  const auto found = index_.find(tensor);
  if (found == index_.end()) return nullptr;
  if (!held_.count(found->second)) collect(found->second);
  return &held_.at(found->second);
}

void Calibration::collect(size_t first) {
  held_.clear();
  Collector collector(backend_, options_.hessians);
  size_t bytes = 0, last = first;
  for (; last < linears_.size(); ++last) {
    const auto k = static_cast<size_t>(linears_[last]->k);
    bytes += sizeof(float) * (2 * k + (options_.hessians ? k * k : 0));
    if (last > first && bytes > options_.max_bytes) break;
    collector.expect(*linears_[last]);
  }
  const bool head = std::any_of(
      linears_.begin() + static_cast<int64_t>(first), linears_.begin() + static_cast<int64_t>(last),
      [](const Linear* linear) { return !linear->name.starts_with("layers."); });
  run_windows(&collector, head);
  for (size_t i = first; i < last; ++i) held_[i] = collector.take(linears_[i]->name);
  ++passes_;
}

// `head`: somebody wants what the output head reads, which exists only for logits that are asked.
void Calibration::run_windows(Trace* trace, bool head) {
  Stepper stepper(model_, backend_,
                  {.max_context = options_.ctx, .max_step_tokens = std::min(options_.ctx, 512)});
  stepper.set_trace(trace);
  const bool bos = options_.bos >= 0;
  const auto stride = static_cast<size_t>(options_.ctx - (bos ? 1 : 0));
  // With logits or without, so that sums do not depend on it.
  const auto slice =
      static_cast<size_t>(std::min(stepper.max_step_tokens(), stepper.max_logit_rows()));
  for (size_t begin = 0; begin < tokens_.size(); begin += stride) {
    std::vector<int32_t> window(bos ? 1 : 0, options_.bos);
    const auto text = tokens_.subspan(begin, std::min(stride, tokens_.size() - begin));
    window.insert(window.end(), text.begin(), text.end());
    stepper.truncate(0, 0);
    for (size_t at = 0; at < window.size(); at += slice) {
      const auto tokens =
          std::span<const int32_t>(window).subspan(at, std::min(slice, window.size() - at));
      const Chunk chunk{0, tokens, head ? static_cast<int32_t>(tokens.size()) : 0};
      stepper.step(std::span(&chunk, 1));
    }
  }
}

}  // namespace lowbit
