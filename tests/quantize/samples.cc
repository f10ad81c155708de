#include "quantize/samples.h"

#include <algorithm>

namespace lowbit::samples {

QTensor tensor_of(const std::vector<float>& values, int64_t n, int64_t k) {
  QTensorBuilder b = build_qtensor(format_of(FormatId::kF32), n, k);
  encode_plain(FormatId::kF32, values.data(), n * k, b.codes);
  return b.tensor;
}

namespace {

double next_gaussian(Rng& rng) {
  const double radius = std::sqrt(-2 * std::log(1 - double{rng.next_uniform()}));
  return radius * std::cos(2 * M_PI * rng.next_uniform());
}

}  // namespace

std::vector<float> gaussian(int64_t count, float deviation, uint64_t seed) {
  std::vector<float> values(static_cast<size_t>(count));
  Rng rng(seed);
  for (float& value : values) value = static_cast<float>(deviation * next_gaussian(rng));
  return values;
}

std::vector<float> student_t5(int64_t count, float deviation, uint64_t seed) {
  std::vector<float> values(static_cast<size_t>(count));
  Rng rng(seed);
  for (float& value : values) {
    double squares = 0;
    for (int i = 0; i < 5; ++i) {
      const double z = next_gaussian(rng);
      squares += z * z;
    }
    const double t = next_gaussian(rng) / std::sqrt(squares / 5);
    value = static_cast<float>(deviation * t / std::sqrt(5.0 / 3));
  }
  return values;
}

double sqnr_db(const std::vector<float>& w, const std::vector<float>& q) {
  double signal = 0, noise = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    signal += double{w[i]} * w[i];
    noise += (double{w[i]} - q[i]) * (double{w[i]} - q[i]);
  }
  return 10 * std::log10(signal / noise);
}

std::vector<float> correlated_inputs(int64_t rows, int64_t k, uint64_t seed) {
  std::vector<float> x = gaussian(rows * k, 1, seed);
  const std::vector<float> size = gaussian(k, 1, seed + 1);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 1; i < k; ++i) x[r * k + i] = 0.8f * x[r * k + i - 1] + 0.6f * x[r * k + i];
  }
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < k; ++i) x[r * k + i] *= std::exp(size[i]);
  }
  return x;
}

std::vector<const Quantizer*> our_quantizers() {
  std::vector<const Quantizer*> ours;
  for (const Quantizer& quantizer : quantizers()) {
    const auto follows = [&](const char* tool) { return quantizer.name.starts_with(tool); };
    if (!follows("torchao") && !follows("gemlite") && !follows("gguf")) ours.push_back(&quantizer);
  }
  return ours;
}

InputStats stats_of(const std::vector<float>& x, int64_t rows, int64_t k) {
  InputStats stats{.rows = rows};
  stats.hessian.resize(static_cast<size_t>(k * k));
  const auto scale = 1 / static_cast<float>(rows);
  for (int64_t i = 0; i < k; ++i) {
    double abs = 0;
    for (int64_t r = 0; r < rows; ++r) abs += std::abs(x[r * k + i]);
    for (int64_t j = 0; j < k; ++j) {
      double sum = 0;
      for (int64_t r = 0; r < rows; ++r) sum += double{x[r * k + i]} * x[r * k + j];
      stats.hessian[i * k + j] = static_cast<float>(sum) * scale;
    }
    stats.mean_abs.push_back(static_cast<float>(abs) * scale);
    stats.mean_square.push_back(stats.hessian[i * k + i]);
  }
  return stats;
}

InputStats identity_stats(int64_t k) {
  const auto size = static_cast<size_t>(k);
  InputStats stats{.rows = 1,
                   .mean_square = std::vector<float>(size, 1),
                   .mean_abs = std::vector<float>(size, 1),
                   .hessian = std::vector<float>(size * size)};
  for (size_t i = 0; i < size; ++i) stats.hessian[i * size + i] = 1;
  return stats;
}

double output_error(const std::vector<float>& w, const std::vector<float>& q,
                    const InputStats& stats) {
  const size_t k = stats.mean_square.size();
  double total = 0;
  std::vector<double> e(k);
  for (size_t row = 0; row < w.size(); row += k) {
    for (size_t i = 0; i < k; ++i) e[i] = double{w[row + i]} - q[row + i];
    for (size_t i = 0; i < k; ++i) {
      double sum = 0;
      for (size_t j = 0; j < k; ++j) sum += stats.hessian[i * k + j] * e[j];
      total += e[i] * sum;
    }
  }
  return total;
}

bool same_planes(const QTensor& a, const QTensor& b) {
  return std::all_of(kPlanes.begin(), kPlanes.end(), [&](Plane plane) {
    const auto left = a.plane(plane).data, right = b.plane(plane).data;
    return std::equal(left.begin(), left.end(), right.begin(), right.end());
  });
}

}  // namespace lowbit::samples
