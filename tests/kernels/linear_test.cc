// Every registry row of the cpu backend against the reference, on the same codes and activations.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

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
