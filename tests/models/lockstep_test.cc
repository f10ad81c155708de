#include "engine/lockstep.h"

#include <gtest/gtest.h>

#include "backends.h"
#include "models/golden_cases.h"

namespace lowbit {
namespace {

LockstepResult against_ref(const std::string& name, const Backend& tested_backend,
                           const std::string& kv_format = "f32", const std::string& format = "") {
  const golden::Case golden = golden::read_case(name);
  const Backend& ref = find_backend("ref");
  const LoadedModel oracle = golden::load_case(golden, ref, kv_format, format);
  const LoadedModel tested = golden::load_case(golden, tested_backend, kv_format, format);
  return lockstep(*oracle.model, ref, *tested.model, tested_backend, golden.prompt, 7);
}

class Lockstep : public testing::TestWithParam<std::string> {};

TEST_P(Lockstep, CpuEqualsRefOpByOp) {
  for (const char* kv : {"f32", "bf16", "int8", "fp8", "int4", "mxfp4", "int8-g8"}) {
    const LockstepResult result = against_ref(GetParam(), find_backend("cpu"), kv);
    EXPECT_FALSE(result.difference) << kv << ": " << result.difference->text();
    EXPECT_GT(result.ops, 4 * 20);  // four steps of a model with two layers
    EXPECT_LE(result.worst, 1);
  }
}

TEST_P(Lockstep, CpuEqualsRefWithQuantizedWeightsAndActivations) {
  for (const char* format : {"int8", "int4-g32", "int8+int8", "int8+fp8", "int8+fp8-tensor",
                             "int8+mxfp8", "int4+mxfp4", "int4+nvfp4", "int8+int4-row-sym"}) {
    const LockstepResult result = against_ref(GetParam(), find_backend("cpu"), "int8", format);
    EXPECT_FALSE(result.difference) << format << ": " << result.difference->text();
  }
}

// With the reference's Linear, which multiplies every pair.
TEST_P(Lockstep, CpuOpsEqualRefInEveryPair) {
  Backend cpu = find_backend("cpu");
  cpu.linear_kernels = find_backend("ref").linear_kernels;
  const struct {
    const char *format, *kv;
  } kRows[] = {{"fp8+fp8", "fp8"},
               {"mxfp4+mxfp4", "int8"},
               {"nvfp4+nvfp4", "int4"},
               {"ternary+int8", "mxfp8"},
               {"mxfp6+mxfp6", "fp4"},
               {"int4+int4", "int4-g32"},
               {"mxfp8-e5m2+fp8-e5m2", "f16"}};
  for (const auto& row : kRows) {
    const LockstepResult result = against_ref(GetParam(), cpu, row.kv, row.format);
    EXPECT_FALSE(result.difference) << row.format << ": " << result.difference->text();
  }
}

INSTANTIATE_TEST_SUITE_P(Llama, Lockstep, testing::ValuesIn(golden::case_names()),
                         [](const auto& each) {
                           std::string name = each.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// The cpu backend with one op that is wrong in one element.
Backend broken(void (*change)(Backend&)) {
  Backend backend = find_backend("cpu");
  change(backend);
  return backend;
}

std::string difference_of(const Backend& backend) {
  const LockstepResult result = against_ref("gqa4", backend);
  return result.difference ? result.difference->op : "none";
}

TEST(LockstepFinds, AWrongActivation) {
  EXPECT_EQ(difference_of(broken([](Backend& b) {
              b.op.silu_mul = [](const SiluMulArgs& a, Stream s) {
                find_backend("cpu").op.silu_mul(a, s);
                static_cast<float*>(a.out.data)[a.d - 1] += 0.01f;
              };
            })),
            "layers.0.silu_mul");
}

TEST(LockstepFinds, ARotationThatForgetsTheCache) {
  EXPECT_EQ(difference_of(broken([](Backend& b) {
              b.op.rope_append = [](const RopeAppendArgs& a, Stream s) {
                RopeAppendArgs shifted = a;
                find_backend("cpu").op.rope_append(a, s);
                static_cast<float*>(shifted.kv.v.data)[0] += 1;  // only attention reads it
              };
            })),
            "layers.0.attention");
}

TEST(LockstepFinds, NanInTheFinalNorm) {
  EXPECT_EQ(difference_of(broken([](Backend& b) {
              b.op.gather_rows = [](const GatherRowsArgs& a, Stream s) {
                find_backend("cpu").op.gather_rows(a, s);
                a.out[1] = std::numeric_limits<float>::quiet_NaN();
              };
            })),
            "last");
}

TEST(LockstepFinds, AWrongLinearKernelAndNamesIt) {
  static std::vector<LinearKernel> kernels(find_backend("cpu").linear_kernels.begin(),
                                           find_backend("cpu").linear_kernels.end());
  static void (*right)(const LinearArgs&, Stream) = find_backend("ref").linear_kernels[0].launch;
  for (LinearKernel& kernel : kernels) {
    if (kernel.layout != LayoutId::kCanonical) continue;
    kernel.launch = [](const LinearArgs& a, Stream s) {
      right(a, s);
      if (a.epilogue == Epilogue::kAdd) a.y[a.n / 2] *= 1.01f;  // o and down only
    };
  }
  const Backend backend = broken([](Backend& b) { b.linear_kernels = kernels; });
  const LockstepResult result = against_ref("gqa4", backend);
  ASSERT_TRUE(result.difference);
  EXPECT_EQ(result.difference->op, "layers.0.o");
  EXPECT_EQ(result.difference->row, 0);
  EXPECT_TRUE(result.difference->kernel.starts_with("cpu.")) << result.difference->kernel;
  EXPECT_NE(result.difference->text().find("layers.0.o (cpu."), std::string::npos);
}

}  // namespace
}  // namespace lowbit
