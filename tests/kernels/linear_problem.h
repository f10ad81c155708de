// One Linear with its exact result and the error that a kernel may make: what the tests of every
// device's kernels share.
#pragma once

#include <fmt/core.h>

#include <map>
#include <string>

#include "bench/linear_cases.h"
#include "kernels/linear_setup.h"

namespace lowbit::test {

// |y - r| <= (kC u_acc sqrt(k) + u_out) * sum |x w| + what rounding x to fixed point may do, which
// is at most u_x * sum of max |x| * sum |w| over the blocks of x, and what rounding w may do, at
// most u_w * sum |x w|. Where zeros are applied apart, |x w| is |x| (|w - c| + |c|), c being the
// middle code's value. Summing k numbers in any order with rounding errors that behave like a
// random walk stays below about 1; the calibration test below measures the worst of many orders,
// sequential ones included, and leaves a factor of at least two.
inline constexpr double kC = 4;
inline constexpr double kUnitOut = 0x1p-24;
inline constexpr uint64_t kSeed = 7;

// One problem with its reference results for every token up to m_max.
class Problem {
 public:
  Problem(const Format& w_format, const Format& act, int32_t m_max_, LinearShape shape)
      : format(w_format),
        act_format(act),
        m_max(m_max_),
        n(shape.n),
        k(shape.k),
        w(random_weights(format, n, k, kSeed)),
        x(act, m_max, k, kSeed),
        bias(gaussian(n, kSeed, 4)),
        before(gaussian(int64_t{m_max} * n, kSeed, 5)),
        exact_(static_cast<size_t>(int64_t{m_max} * n)),
        magnitude_(exact_.size()),
        apart_(exact_.size()),
        weights_(decoded()),
        middles_(middles()) {
    for (int32_t t = 0; t < m_max; ++t) {
      const std::vector<double> row = x.row(t);
      for (int32_t i = 0; i < n; ++i) {
        double sum = 0, size = 0, apart = 0;
        for (int32_t j = 0; j < k; ++j) {
          const double value = row[static_cast<size_t>(j)], weight = weights_[index(i, j)];
          const double middle = middles_[index(i, j)];
          sum += value * weight;
          size += std::abs(value * weight);
          apart += std::abs(value) * (std::abs(weight - middle) + std::abs(middle));
        }
        exact_[static_cast<size_t>(int64_t{t} * n + i)] = sum;
        magnitude_[static_cast<size_t>(int64_t{t} * n + i)] = size;
        apart_[static_cast<size_t>(int64_t{t} * n + i)] = apart;
      }
    }
  }

  LinearArgs args(const WeightView& weights, int32_t m, bool with_bias, Epilogue epilogue,
                  Output& y, void* workspace) {
    return {.m = m,
            .n = n,
            .k = k,
            .x = x.act(),
            .w = weights,
            .bias = with_bias ? bias.data() : nullptr,
            .y = y.data(),
            .ldy = y.ld(),
            .epilogue = epilogue,
            .workspace = workspace};
  }
  size_t workspace_bytes(const LinearKernel& kernel, int32_t m) const {
    const LinearSpec spec{format, act_format, n, k, true, m};
    return kernel.workspace ? kernel.workspace(spec) : 0;
  }

  // "" or the first number out of bounds.
  std::string check(const LinearKernel& kernel, int32_t m, bool with_bias, Epilogue epilogue,
                    Output& y) {
    const std::vector<double>& magnitude = kernel.zeros_apart ? apart_ : magnitude_;
    const double bound = kC * kernel.u_acc * std::sqrt(k) + kUnitOut;
    const std::vector<double>& rounding = rounding_of_x(kernel.x_block, m);
    for (int32_t t = 0; t < m; ++t) {
      for (int32_t i = 0; i < n; ++i) {
        const auto at = static_cast<size_t>(int64_t{t} * n + i);
        const double b = with_bias ? bias[static_cast<size_t>(i)] : 0;
        const double old = epilogue == Epilogue::kAdd ? before[at] : 0;
        const double want = exact_[at] + b + old;
        const double allowed = bound * (magnitude[at] + std::abs(b) + std::abs(old)) +
                               kernel.u_x * rounding[at] + kernel.u_w * magnitude_[at];
        if (std::abs(y.at(t, i) - want) <= allowed) continue;
        return fmt::format("y[{}, {}] = {:.9g}, reference {:.9g}, allowed error {:.3g}", t, i,
                           y.at(t, i), want, allowed);
      }
    }
    return "";
  }

  const Format format;
  const Format act_format;
  const int32_t m_max, n, k;
  const QTensor w;
  Activations x;
  const std::vector<float> bias, before;

 private:
  size_t index(int32_t i, int32_t j) const { return static_cast<size_t>(int64_t{i} * k + j); }

  std::vector<double> decoded() const {
    std::vector<double> values(static_cast<size_t>(int64_t{n} * k));
    for (int64_t i = 0; i < n; ++i) decode_row(w, i, values.data() + i * k);
    return values;
  }

  // For each weight, what the middle code of its block stands for (code 0 where zeros are offsets).
  std::vector<double> middles() const {
    std::vector<double> values(weights_.size());
    if (format.zero == Zero::kNone) return values;
    const double code = format.zero == Zero::kOffset ? 0 : 1 << (format.bits - 1);
    for (int32_t i = 0; i < n; ++i) {
      for (int32_t j = 0; j < k; ++j) {
        const BlockParams p = load_block(w, i, format.block.k == 0 ? 0 : j / format.block.k);
        values[index(i, j)] = (code - p.shift) * p.scale + p.offset;
      }
    }
    return values;
  }

  // For each y, the sum over blocks of x of max |x| * sum |w|; of the first m tokens.
  const std::vector<double>& rounding_of_x(int32_t block, int32_t m) {
    std::vector<double>& sums = rounding_[block];
    for (auto t = static_cast<int32_t>(sums.size()) / n; t < m; ++t) {
      const std::vector<double> row = x.row(t);
      for (int32_t i = 0; i < n; ++i) {
        double sum = 0;
        for (int64_t j = 0; j < k && block > 1; j += block) {
          double top = 0, weights = 0;
          for (auto b = static_cast<int32_t>(j); b < std::min<int64_t>(k, j + block); ++b) {
            top = std::max(top, std::abs(row[static_cast<size_t>(b)]));
            weights += std::abs(weights_[index(i, b)]);
          }
          sum += top * weights;
        }
        sums.push_back(sum);
      }
    }
    return sums;
  }

  std::vector<double> exact_, magnitude_, apart_;
  std::vector<double> weights_, middles_;
  std::map<int32_t, std::vector<double>> rounding_;  // by block of x
};

inline std::string repro(const LinearKernel& kernel, const Problem& p, int32_t m) {
  return fmt::format("repro: --kernel {} --format {}+{} --m {} --n {} --k {} --seed {}",
                     kernel.name, name(p.format), name(p.act_format), m, p.n, p.k, kSeed);
}

}  // namespace lowbit::test
