// Every registry row of the cpu backend against the reference, on the same codes and activations.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/thread_pool.h"
#include "bench/linear_cases.h"
#include "cpu/backend.h"
#include "cpu/isa.h"
#include "kernels/linear_setup.h"
#include "ref/backend.h"

namespace lowbit {
namespace {

using namespace test;

// |y - r| <= (kC u_acc sqrt(k) + u_out) * sum |x w| + what rounding x to fixed point may do, which
// is at most u_x * sum of max |x| * sum |w| over the blocks of x. Where zeros are applied apart,
// |x w| is |x| (|w - c| + |c|), c being the middle code's value. Summing k numbers in any order
// with rounding errors that behave like a random walk stays below about 1; the calibration test
// below measures the worst of many orders, sequential ones included, and leaves a factor of at
// least two.
constexpr double kC = 4;
constexpr double kUnitOut = 0x1p-24;
constexpr uint64_t kSeed = 7;

DeviceInfo this_machine() { return {.name = "test", .isa = cpu::machine_isa()}; }

std::vector<const LinearKernel*> runnable_kernels() {
  std::vector<const LinearKernel*> kernels;
  for (const LinearKernel& kernel : cpu_backend().linear_kernels) {
    if (!kernel.reject || kernel.reject({}, this_machine()).empty()) kernels.push_back(&kernel);
  }
  return kernels;
}

// One problem with its reference results for every token up to m_max.
class Problem {
 public:
  Problem(const Format& w_format, const Format& act, int32_t m_max, LinearShape shape)
      : format(w_format),
        act_format(act),
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

  LinearArgs args(const QTensor& packed, int32_t m, bool with_bias, Epilogue epilogue, Output& y,
                  Workspace& workspace) {
    return {.m = m,
            .n = n,
            .k = k,
            .x = x.act(),
            .w = view(packed),
            .bias = with_bias ? bias.data() : nullptr,
            .y = y.data(),
            .ldy = y.ld(),
            .epilogue = epilogue,
            .workspace = workspace.data()};
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
        const double allowed =
            bound * (magnitude[at] + std::abs(b) + std::abs(old)) + kernel.u_x * rounding[at];
        if (std::abs(y.at(t, i) - want) <= allowed) continue;
        return fmt::format("y[{}, {}] = {:.9g}, reference {:.9g}, allowed error {:.3g}", t, i,
                           y.at(t, i), want, allowed);
      }
    }
    return "";
  }

  const Format format;
  const Format act_format;
  const int32_t n, k;
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
        for (int32_t j = 0; j < k && block > 1; j += block) {
          double top = 0, weights = 0;
          for (int32_t b = j; b < std::min(k, j + block); ++b) {
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

std::string repro(const LinearKernel& kernel, const Problem& p, int32_t m) {
  return fmt::format("repro: --kernel {} --format {}+{} --m {} --n {} --k {} --seed {}",
                     kernel.name, name(p.format), name(p.act_format), m, p.n, p.k, kSeed);
}

void run_and_check(const LinearKernel& kernel, Problem& p, const QTensor& packed, int32_t m,
                   bool with_bias, Epilogue epilogue) {
  Output y(m, p.n);
  if (epilogue == Epilogue::kAdd) y.fill(p.before);
  Workspace workspace(p.workspace_bytes(kernel, m));
  kernel.launch(p.args(packed, m, with_bias, epilogue, y, workspace), nullptr);
  const std::string error = p.check(kernel, m, with_bias, epilogue, y);
  ASSERT_EQ(error, "") << repro(kernel, p, m) << " bias " << with_bias << " epilogue "
                       << (epilogue == Epilogue::kAdd ? "add" : "store");
  ASSERT_TRUE(y.padding_untouched()) << repro(kernel, p, m);
  ASSERT_TRUE(workspace.guard_untouched()) << repro(kernel, p, m);
}

#ifdef LB_SANITIZED  // ten times slower: the reads and writes of each kind of tile once
constexpr int32_t kMostTokens = 9;
constexpr const char* kActivations[] = {"f32", "int8"};
#else
constexpr int32_t kMostTokens = 128;
constexpr const char* kActivations[] = {"f32", "bf16", "f16", "int8"};
#endif

class LinearFormat : public testing::TestWithParam<Format> {};

TEST_P(LinearFormat, EveryRowAgreesWithTheReferenceOnRaggedShapes) {
  for (const LinearShape& shape : kRaggedLinearShapes) {
    if (!cannot_take(GetParam(), shape.n, shape.k).empty()) continue;
    for (const char* act : kActivations) {
      const int32_t m_max = std::string_view(act) == "f32" ? kMostTokens : 9;
      Problem p(GetParam(), parse_format(act), m_max, shape);
      for (const LinearKernel* kernel : runnable_kernels()) {
        if (!kernel->weights(p.format) || !kernel->activations(p.act_format)) continue;
        const QTensor packed = in_layout(p.w, kernel->layout, cpu_backend().packers);
        for (const int32_t m : kLinearTokens) {
          if (m > m_max) continue;
          run_and_check(*kernel, p, packed, m, m % 2 == 0, Epilogue::kStore);
          run_and_check(*kernel, p, packed, m, m % 2 == 1, Epilogue::kAdd);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

// What every format of activations stands for is what every row multiplies.
TEST(Linear, EveryActivationFormatAgreesWithTheReference) {
  for (const char* act :
       {"int8", "int8-tensor", "int8-g8", "int8-g32", "int8-asym", "int8-rzero", "fp8", "fp8-e5m2",
        "fp8-tensor", "fp8-sf16", "mxfp8", "mxfp8-e5m2", "mxfp6", "mxfp6-e3m2", "mxfp4", "nvfp4",
        "int4", "int4-asym", "int4-row-sym"}) {
    for (const char* weights : {"f32", "bf16", "int8", "int4", "mxfp4", "ternary"}) {
      for (const LinearShape& shape : kRaggedLinearShapes) {
        Problem p(parse_format(weights), activation_format(parse_format(act)), 3, shape);
        for (const LinearKernel* kernel : runnable_kernels()) {
          if (!kernel->weights(p.format) || !kernel->activations(p.act_format)) continue;
          const QTensor packed = in_layout(p.w, kernel->layout, cpu_backend().packers);
          run_and_check(*kernel, p, packed, 3, true, Epilogue::kAdd);
        }
        const LinearKernel& reference = ref_backend().linear_kernels[0];
        run_and_check(reference, p, p.w, 3, true, Epilogue::kAdd);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// The reference kernel itself, where the double sum above is the oracle.
TEST_P(LinearFormat, ReferenceKernelIsWithinItsOwnBound) {
  const bool whole = GetParam().outer == Outer::kSuper;
  Problem p(GetParam(), format_of(FormatId::kBF16), 3,
            whole ? LinearShape{9, 512, "whole blocks"} : LinearShape{9, 200, "short last block"});
  for (const LinearKernel& kernel : ref_backend().linear_kernels) {
    run_and_check(kernel, p, p.w, 3, true, Epilogue::kAdd);
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, LinearFormat, testing::ValuesIn(every_weight_format()),
                         [](const auto& p) {
                           std::string text = name(p.param);
                           std::replace(text.begin(), text.end(), '-', '_');
                           return text;
                         });

std::vector<Format> one_format_per_row() {
  std::vector<Format> formats;
  for (const char* text :
       {"f32", "f16", "bf16", "int8", "q8_0", "int4", "int4-g16-asym", "int2", "int1", "int5",
        "ternary5", "fp8", "fp6", "mxfp4", "nvfp4", "int4-24", "q4_k"}) {
    formats.push_back(parse_format(text));
  }
  return formats;
}

TEST(Linear, ModelShapesAgreeWithTheReference) {
  for (const LinearShape& shape : kModelLinearShapes) {
    if (int64_t{shape.n} * shape.k > 1 << 20) continue;  // bench only
    for (const Format& format : one_format_per_row()) {
      Problem p(format, format_of(FormatId::kF32), 33, shape);
      for (const LinearKernel* kernel : runnable_kernels()) {
        if (!kernel->weights(format) || !kernel->activations(p.act_format)) continue;
        const QTensor packed = in_layout(p.w, kernel->layout, cpu_backend().packers);
        for (const int32_t m : {1, 33}) {
          run_and_check(*kernel, p, packed, m, true, Epilogue::kStore);
        }
      }
    }
  }
}

// Shapes large enough to be split over threads.
LinearShape split_shape(const Format& format) {
  return {123, format.outer == Outer::kSuper ? 1280 : 1100, "split"};
}

TEST(Linear, BitsDoNotDependOnTheThreadCountOrTheRun) {
  const int before = thread_pool().workers();
  for (const Format& format : one_format_per_row()) {
    Problem p(format, format_of(FormatId::kBF16), 33, split_shape(format));
    for (const LinearKernel* kernel : runnable_kernels()) {
      if (!kernel->weights(format) || !kernel->activations(p.act_format)) continue;
      const QTensor packed = in_layout(p.w, kernel->layout, cpu_backend().packers);
      for (const int32_t m : {1, 33}) {
        Output first(m, p.n);
        Workspace workspace(p.workspace_bytes(*kernel, m));
        for (const int threads : {1, 1, 2, 3}) {
          set_threads(threads);
          Output y(m, p.n);
          kernel->launch(p.args(packed, m, true, Epilogue::kStore, y, workspace), nullptr);
          if (std::isnan(first.at(0, 0))) first = y;
          EXPECT_TRUE(y.same_bits(first)) << repro(*kernel, p, m) << " threads " << threads;
        }
      }
    }
  }
  set_threads(before);
}

// A token's result is the same bits alone, in a batch and in a prefill, as long as one row computes
// it. Rows differ from each other (order of summation, x in f32 or in fixed point), so where a plan
// has several buckets, a token's bits may depend on the bucket.
TEST(Linear, BitsDoNotDependOnTheOtherTokens) {
  for (const Format& format : one_format_per_row()) {
    constexpr int32_t kTokens = 71;  // a block of 64 and a remainder of every tile size
    Problem p(format, format_of(FormatId::kF32), kTokens, split_shape(format));
    for (const LinearKernel* kernel : runnable_kernels()) {
      if (!kernel->weights(format) || !kernel->activations(p.act_format)) continue;
      const QTensor packed = in_layout(p.w, kernel->layout, cpu_backend().packers);
      Output all(kTokens, p.n);
      Workspace workspace(p.workspace_bytes(*kernel, kTokens));
      kernel->launch(p.args(packed, kTokens, true, Epilogue::kStore, all, workspace), nullptr);
      for (int32_t t = 0; t < kTokens; ++t) {
        Output one(1, p.n);
        LinearArgs args = p.args(packed, 1, true, Epilogue::kStore, one, workspace);
        args.x = p.x.act(t);
        kernel->launch(args, nullptr);
        for (int32_t i = 0; i < p.n; ++i) {
          ASSERT_EQ(one.at(0, i), all.at(t, i)) << repro(*kernel, p, kTokens) << " token " << t;
        }
      }
    }
  }
}

// Where kC comes from: single-precision sums of the same products in many orders.
TEST(Linear, BoundHoldsTwiceOverForAnySummationOrder) {
  constexpr int kOrders = 200;
  for (const int32_t k : {7, 64, 320, 1025, 4096}) {
    const std::vector<float> x = gaussian(k, kSeed, 11), w = gaussian(k, kSeed, 12);
    std::vector<float> product(static_cast<size_t>(k));
    double exact = 0, magnitude = 0;
    for (size_t i = 0; i < product.size(); ++i) {
      product[i] = x[i] * w[i];
      exact += double{x[i]} * w[i];
      magnitude += std::abs(double{x[i]} * w[i]);
    }
    const Rng rng(kSeed, 13);
    double worst = 0;
    for (uint64_t order = 0; order < kOrders; ++order) {
      float sum = 0;
      for (const float value : product) sum += value;
      worst = std::max(worst, std::abs(sum - exact));
      for (size_t i = product.size(); i > 1; --i) {
        std::swap(product[i - 1], product[rng.bits(order * product.size() + i) % i]);
      }
    }
    EXPECT_LE(worst, kC / 2 * 0x1p-24 * std::sqrt(k) * magnitude) << "k " << k;
    EXPECT_GT(worst, 0) << "k " << k;
  }
}

}  // namespace
}  // namespace lowbit
