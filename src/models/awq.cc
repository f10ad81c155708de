#include "models/awq.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "base/thread_pool.h"
#include "formats/codec.h"
#include "quantize/matrix.h"

namespace lowbit {
namespace {

constexpr int kSteps = 20;
constexpr float kSmallest = 1e-4f;  // of a scale before it is normalised

// mean|x| of each element of the producer: the mean over the columns that read it.
std::vector<double> element_means(const ScalingGroup& group, const InputStats& stats) {
  std::vector<double> mean(static_cast<size_t>(group.elements()));
  std::vector<int64_t> columns(mean.size());
  for (size_t i = 0; i < stats.mean_abs.size(); ++i) {
    const auto element = static_cast<size_t>(group.element_of(static_cast<int64_t>(i)));
    mean[element] += stats.mean_abs[i];
    ++columns[element];
  }
  for (size_t i = 0; i < mean.size(); ++i)
    mean[i] /= static_cast<double>(std::max<int64_t>(columns[i], 1));
  return mean;
}

// mean^alpha, its smallest and largest 1 / c and c for some c.
std::vector<float> scales_of(const std::vector<double>& mean, double alpha) {
  std::vector<float> s(mean.size(), 1.0f);
  float least = 0, most = 0;
  for (size_t i = 0; i < mean.size(); ++i) {
    if (!(mean[i] > 0)) continue;  // reads nothing: stays
    s[i] = std::max(static_cast<float>(std::pow(mean[i], alpha)), kSmallest);
    least = least == 0 ? s[i] : std::min(least, s[i]);
    most = std::max(most, s[i]);
  }
  if (most == 0) return s;
  const float middle = std::sqrt(least * most);
  for (size_t i = 0; i < mean.size(); ++i) {
    if (mean[i] > 0) s[i] /= middle;
  }
  return s;
}

// Of the outputs: sum over rows e of the weights' errors of e H e^T.
double output_error(const QTensor& w, const QTensor& quantized, std::span<const float> s,
                    const InputStats& stats) {
  const int64_t k = w.k;
  std::vector<double> of_row(static_cast<size_t>(w.n));
  thread_pool().for_ranges(w.n, 4, [&](int64_t begin, int64_t end) {
    constexpr int64_t kRows = 4;
    std::vector<float> row(static_cast<size_t>(k)), errors(static_cast<size_t>(kRows * k)),
        weighted(errors.size());
    for (int64_t first = begin; first < end; first += kRows) {
      const int64_t rows = std::min(kRows, end - first);
      for (int64_t r = 0; r < rows; ++r) {
        float* e = &errors[r * k];
        decode_row(w, first + r, row.data());
        decode_row(quantized, first + r, e);
        for (int64_t i = 0; i < k; ++i) e[i] = row[i] - e[i] / s[i];
        for (int64_t i = 0; i < k; ++i) weighted[r * k + i] = e[i] * stats.mean_square[i];
      }
      if (!stats.hessian.empty()) {
        std::fill(weighted.begin(), weighted.end(), 0.0f);
        add_product({rows, k, k}, {errors.data(), k}, {stats.hessian.data(), k}, weighted.data(),
                    k);
      }
      for (int64_t i = 0; i < rows * k; ++i) {
        of_row[first + i / k] += double{errors[i]} * weighted[i];
      }
    }
  });
  return std::accumulate(of_row.begin(), of_row.end(), 0.0);
}

QTensor scaled_columns(const QTensor& w, std::span<const float> s) {
  const QTensorBuilder scaled = build_qtensor(format_of(FormatId::kF32), w.n, w.k);
  thread_pool().for_ranges(w.n, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> row(static_cast<size_t>(w.k));
    for (int64_t r = begin; r < end; ++r) {
      decode_row(w, r, row.data());
      for (int64_t i = 0; i < w.k; ++i) row[i] *= s[i];
      encode_plain(FormatId::kF32, row.data(), w.k,
                   scaled.codes + r * row_bytes(scaled.tensor.format, w.k));
    }
  });
  return scaled.tensor;
}

// The scales of one group, for the checkpoint as the groups before have left it.
std::vector<float> best_scales(const ScalingGroup& group, const ScaledCheckpoint& checkpoint,
                               const InputStats& stats, const LayerChoice& choice) {
  const Quantizer& quantizer =
      choice.quantizer->needs == Needs::kNothing ? *choice.quantizer : quantizers()[0];
  std::vector<QTensor> weights;
  for (const ScalingGroup::Tensor& consumer : group.consumers) {
    weights.push_back(checkpoint.tensor(consumer.name, consumer.n, consumer.k));
  }
  const std::vector<double> mean = element_means(group, stats);
  std::vector<float> best, columns(static_cast<size_t>(group.consumers[0].k));
  double least = 0;
  for (int step = 0; step < kSteps; ++step) {
    const std::vector<float> s = scales_of(mean, static_cast<double>(step) / kSteps);
    for (size_t i = 0; i < columns.size(); ++i) {
      columns[i] = s[static_cast<size_t>(group.element_of(static_cast<int64_t>(i)))];
    }
    double error = 0;
    for (size_t i = 0; i < weights.size(); ++i) {
      const QTensor quantized = quantizer.run(scaled_columns(weights[i], columns), *choice.format,
                                              {group.consumers[i].name});
      error += output_error(weights[i], quantized, columns, stats);
    }
    if (!best.empty() && !(error < least)) continue;
    least = error;
    best = s;
  }
  return best;
}

}  // namespace

std::unique_ptr<ScaledCheckpoint> awq(const Checkpoint& checkpoint, InputStatsSource& inputs,
                                      const LayerPolicy& policy) {
  auto scaled = std::make_unique<ScaledCheckpoint>(checkpoint);
  ScaledInputs scaled_inputs(inputs, *scaled);
  for (const ScalingGroup& group : scaling_groups(checkpoint)) {
    const LayerChoice choice = policy.choose(group.layer);
    if (!choice.format || !choice.format->quantized()) continue;
    const std::string& reader = group.consumers[0].name;
    const InputStats* stats = scaled_inputs.find(reader);
    if (!stats || static_cast<int64_t>(stats->mean_abs.size()) != group.consumers[0].k) {
      throw_error("tensor {}: awq needs to know the inputs of this tensor; calibrate on a text",
                  reader);
    }
    scaled->scale(group, best_scales(group, *scaled, *stats, choice));
  }
  return scaled;
}

}  // namespace lowbit
