// Formats whose codes mean what their tensor's table says: who reads them, and that they read
// right.
#include <gtest/gtest.h>

#include "cpu/backend.h"
#include "cpu/isa.h"
#include "kernels/linear_problem.h"
#include "ref/backend.h"

namespace lowbit {
namespace {

using namespace test;

TEST(Codebook, OnlyRowsThatLookNumbersUpTakeIt) {
  const LinearSpec spec = {parse_format("codebook"), parse_format("f32"), 32, 256, false, 64};
  const DeviceInfo machine = {.name = "made up", .isa = cpu::machine_isa()};
  for (const Backend* backend : {&ref_backend(), &cpu_backend()}) {
    const LinearPlan plan = plan_linear(spec, backend->linear_kernels, machine);
    ASSERT_FALSE(plan.buckets.empty()) << backend->name;
    for (const LinearPlan::Bucket& bucket : plan.buckets) EXPECT_TRUE(bucket.kernel->tables);
    std::vector<LinearKernel> rows(backend->linear_kernels.begin(), backend->linear_kernels.end());
    for (LinearKernel& row : rows) row.tables = false;
    const LinearPlan none = plan_linear(spec, rows, machine);
    EXPECT_TRUE(none.buckets.empty());
    EXPECT_EQ(none.rejected.back().reason, "looks up no learned numbers");
  }
}

TEST(Codebook, ProductsAreThoseOfTheDecodedWeights) {
  constexpr int32_t kTokens = 3;
  for (const int32_t k : {64, 200}) {
    constexpr int32_t kRows = 9;
    const QTensorBuilder source = build_qtensor(format_of(FormatId::kF32), kRows, k);
    const std::vector<float> values = gaussian(kRows * k, 5, 1), x = gaussian(kTokens * k, 6, 1);
    encode_plain(FormatId::kF32, values.data(), kRows * k, source.codes);
    const QTensor w = quantize_rtn(source.tensor, parse_format("codebook-g32"), {"w"});
    const std::vector<float> decoded = decode_rows(w);
    // Whole runs of 16, as the cpu's rows read x.
    const int32_t ld = (k + 63) / 64 * 64;
    std::vector<float> padded(static_cast<size_t>(kTokens * ld));
    for (int32_t t = 0; t < kTokens; ++t) {
      std::copy_n(x.begin() + t * k, k, padded.begin() + t * ld);
    }
    for (const Backend* backend : {&ref_backend(), &cpu_backend()}) {
      for (const LinearKernel& kernel : backend->linear_kernels) {
        if (!kernel.tables || (kernel.reject && !kernel.reject({}, backend->info()).empty())) {
          continue;
        }
        std::vector<float> y(static_cast<size_t>(kTokens * kRows)), workspace(1 << 14);
        const auto expect = [&](int32_t tokens) {
          for (int32_t t = 0; t < tokens; ++t) {
            for (int32_t n = 0; n < kRows; ++n) {
              double sum = 0;
              for (int32_t i = 0; i < k; ++i) sum += double{x[t * k + i]} * decoded[n * k + i];
              EXPECT_NEAR(y[t * kRows + n], sum, 1e-4) << kernel.name << " of " << tokens;
            }
          }
        };
        LinearArgs args{};
        args.m = kTokens;
        args.n = kRows;
        args.k = k;
        args.x = {.data = padded.data(), .scales = nullptr, .ld = ld, .format = FormatId::kF32};
        args.w = view(w);
        args.y = y.data();
        args.ldy = kRows;
        args.workspace = workspace.data();
        kernel.launch(args, nullptr);
        expect(kTokens);
        args.m = 1;  // has a loop of its own
        kernel.launch(args, nullptr);
        expect(1);
      }
    }
  }
}

}  // namespace
}  // namespace lowbit
