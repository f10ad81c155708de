// Every registry row of the cpu backend against the reference, on the same codes and activations.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "base/thread_pool.h"
#include "bench/linear_cases.h"
#include "cpu/backend.h"
#include "cpu/isa.h"
#include "kernels/linear_problem.h"
#include "ref/backend.h"

namespace lowbit {
namespace {

using namespace test;

DeviceInfo this_machine() { return {.name = "test", .isa = cpu::machine_isa()}; }

std::vector<const LinearKernel*> runnable_kernels() {
  std::vector<const LinearKernel*> kernels;
  for (const LinearKernel& kernel : cpu_backend().linear_kernels) {
    if (!kernel.reject || kernel.reject({}, this_machine()).empty()) kernels.push_back(&kernel);
  }
  return kernels;
}

void run_and_check(const LinearKernel& kernel, Problem& p, int32_t m, bool with_bias,
                   Epilogue epilogue) {
  Output y(m, p.n);
  if (epilogue == Epilogue::kAdd) y.fill(p.before);
  Workspace workspace(p.workspace_bytes(kernel, m));
  kernel.launch(p.args(view(p.w), m, with_bias, epilogue, y, workspace.data()), nullptr);
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
  int32_t shapes = 0;
  for (const LinearShape& shape : ragged_linear_shapes(GetParam())) {
    if (!cannot_take(GetParam(), shape.n, shape.k).empty()) continue;
    ++shapes;
    for (const char* act : kActivations) {
      const int32_t m_max = std::string_view(act) == "f32" ? kMostTokens : 9;
      Problem p(GetParam(), parse_format(act), m_max, shape);
      for (const LinearKernel* kernel : runnable_kernels()) {
        if (!kernel->weights(p.format) || !kernel->activations(p.act_format)) continue;
        for (const int32_t m : kLinearTokens) {
          if (m > m_max) continue;
          run_and_check(*kernel, p, m, m % 2 == 0, Epilogue::kStore);
          run_and_check(*kernel, p, m, m % 2 == 1, Epilogue::kAdd);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
  EXPECT_GE(shapes, 3) << "shapes that " << name(GetParam()) << " takes";
}

enum class Codes { kRandom, kHighest, kLowest };

// Codes under scales of one, as x is, and zeros that are whole numbers: no product and no sum needs
// rounding. Where all are the highest or the lowest, sums of 8 or 16 bits would saturate.
class WholeNumbers {
 public:
  WholeNumbers(const Format& format, LinearShape shape, Codes of_w, Codes of_x)
      : w_(random_weights(format, shape.n, shape.k, kSeed)),
        x_(random_weights(activation_format(format_of(FormatId::kInt8)), kMost, shape.k,
                          kSeed + 1)) {
    make_unit_scales(&w_);
    make_unit_scales(&x_);
    fill(of_w, &w_);
    fill(of_x, &x_);
    std::vector<double> weights(static_cast<size_t>(shape.k)), row(weights.size());
    for (int32_t t = 0; t < kMost; ++t) {
      decode_row(x_, t, row.data());
      for (int32_t i = 0; i < shape.n; ++i) {
        decode_row(w_, i, weights.data());
        sums_.push_back(std::inner_product(row.begin(), row.end(), weights.begin(), 0.0));
      }
    }
  }
  static bool holds(const Format& f) {
    return f.outer == Outer::kNone && f.scale != Scale::kNone && f.zero != Zero::kOffset;
  }

  void expect_equal(const LinearKernel& kernel, int32_t m) {
    const auto n = static_cast<int32_t>(w_.n), k = static_cast<int32_t>(w_.k);
    Output y(m, n);
    const LinearSpec spec{w_.format, x_.format, n, k, false, m};
    Workspace workspace(kernel.workspace ? kernel.workspace(spec) : 0);
    kernel.launch({.m = m,
                   .n = n,
                   .k = k,
                   .x = act_over(planes_of(x_)),
                   .w = view(w_),
                   .bias = nullptr,
                   .y = y.data(),
                   .ldy = y.ld(),
                   .epilogue = Epilogue::kStore,
                   .workspace = workspace.data()},
                  nullptr);
    for (int32_t t = 0; t < m; ++t) {
      for (int32_t i = 0; i < n; ++i) {
        ASSERT_EQ(y.at(t, i), sums_[static_cast<size_t>(t * n + i)])
            << kernel.name << " " << name(w_.format) << " k " << k << " m " << m << " y[" << t
            << ", " << i << "]";
      }
    }
  }

  static constexpr int32_t kMost = 4;

 private:
  static QTensorBuilder planes_of(const QTensor& tensor) {
    const auto writable = [](const Bytes& b) { return const_cast<std::byte*>(b.data.data()); };
    return {tensor,
            writable(tensor.codes),
            writable(tensor.scales),
            writable(tensor.zeros),
            writable(tensor.meta),
            writable(tensor.outer)};
  }
  static void make_unit_scales(QTensor* tensor) {
    const Format& f = tensor->format;
    const QTensorBuilder planes = planes_of(*tensor);
    const auto count = static_cast<int64_t>(tensor->scales.data.size()) * 8 / f.scale_bits();
    for (int64_t i = 0; i < count; ++i) store_scale(f.scale, planes.scales, i, 1);
    if (f.zero == Zero::kFloat || f.zero == Zero::kReal) {
      for (int64_t i = 0; i < count; ++i) {
        store_scale(f.scale, planes.zeros, i, static_cast<double>(i % 3));
      }
    }
  }
  static void fill(Codes codes, QTensor* tensor) {
    if (codes == Codes::kRandom) return;
    const Format& f = tensor->format;
    const double sign = codes == Codes::kHighest ? 1 : -1;
    uint32_t farthest = 0;
    for (uint32_t code = 0; code < 1u << f.bits; ++code) {
      if (sign * decode_code(f, code) > sign * decode_code(f, farthest)) farthest = code;
    }
    const std::vector<uint32_t> row(static_cast<size_t>(stored_codes(f, tensor->k)), farthest);
    const int64_t bytes = row_bytes(f, tensor->k);
    for (int64_t r = 0; r < tensor->n; ++r) {
      pack_codes(f, row, planes_of(*tensor).codes + r * bytes);
    }
  }

  QTensor w_, x_;
  std::vector<double> sums_;  // [kMost, n]
};

TEST(Linear, SumsOfIntegersAreExact) {
  constexpr LinearShape kShapes[] = {{3, 7, "below any vector"},
                                     {17, 65, "run and one"},
                                     {7, 511, "eight runs less 1"},
                                     {35, 1088, "panel and run"}};
  constexpr std::pair<Codes, Codes> kCodes[] = {{Codes::kHighest, Codes::kHighest},
                                                {Codes::kHighest, Codes::kLowest},
                                                {Codes::kLowest, Codes::kLowest},
                                                {Codes::kRandom, Codes::kRandom}};
  std::set<std::string_view> checked, rows;
  std::vector<const LinearKernel*> kernels;
  for (const LinearKernel* kernel : runnable_kernels()) {
    if (kernel->products != Products::kInteger) continue;
    kernels.push_back(kernel);
    rows.insert(kernel->name);
  }
  for (const Format& format : every_weight_format()) {
    const auto reads = [&](const LinearKernel* kernel) { return kernel->weights(format); };
    if (!WholeNumbers::holds(format) || std::ranges::none_of(kernels, reads)) continue;
    for (const LinearShape& shape : kShapes) {
      if (format.bits == 8 && shape.k > 512) continue;  // f32 holds no sum beyond 2^24
      for (const auto& [of_w, of_x] : kCodes) {
        WholeNumbers problem(format, shape, of_w, of_x);
        for (const LinearKernel* kernel : kernels) {
          if (!reads(kernel)) continue;
          checked.insert(kernel->name);
          for (const int32_t m : {1, WholeNumbers::kMost}) problem.expect_equal(*kernel, m);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
  EXPECT_EQ(checked, rows);
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
          run_and_check(*kernel, p, 3, true, Epilogue::kAdd);
        }
        const LinearKernel& reference = ref_backend().linear_kernels[0];
        run_and_check(reference, p, 3, true, Epilogue::kAdd);
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
    run_and_check(kernel, p, 3, true, Epilogue::kAdd);
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
        "ternary5", "ternary5-g64", "fp8", "fp6", "mxfp4", "nvfp4", "int4-24", "q4_k"}) {
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
        for (const int32_t m : {1, 33}) {
          run_and_check(*kernel, p, m, true, Epilogue::kStore);
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
      for (const int32_t m : {1, 33}) {
        Output first(m, p.n);
        Workspace workspace(p.workspace_bytes(*kernel, m));
        for (const int threads : {1, 1, 2, 3}) {
          set_threads(threads);
          Output y(m, p.n);
          kernel->launch(p.args(view(p.w), m, true, Epilogue::kStore, y, workspace.data()),
                         nullptr);
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
      Output all(kTokens, p.n);
      Workspace workspace(p.workspace_bytes(*kernel, kTokens));
      kernel->launch(p.args(view(p.w), kTokens, true, Epilogue::kStore, all, workspace.data()),
                     nullptr);
      for (int32_t t = 0; t < kTokens; ++t) {
        Output one(1, p.n);
        LinearArgs args = p.args(view(p.w), 1, true, Epilogue::kStore, one, workspace.data());
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
