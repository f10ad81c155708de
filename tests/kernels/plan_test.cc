// The planner on made-up rows, and the cpu backend's rows on made-up machines.
#include <gtest/gtest.h>

#include <algorithm>

#include "bench/linear_cases.h"
#include "cpu/backend.h"
#include "cpu/isa.h"
#include "ops/linear.h"

namespace lowbit {
namespace {

bool any(const Format&) { return true; }
bool only_int4(const Format& f) { return f.id == FormatId::kInt4; }
bool only_f32(const Format& f) { return f.id == FormatId::kF32; }
std::string odd_k(const LinearSpec& spec, const DeviceInfo&) {
  return spec.k % 64 == 0 ? "" : "K is not a multiple of 64";
}
size_t per_token(const LinearSpec& spec) { return static_cast<size_t>(spec.m_max) * 4; }
size_t hundred(const LinearSpec&) { return 100; }
void nothing(const LinearArgs&, Stream) {}

constexpr auto kPacked = static_cast<LayoutId>(0xff);  // of no backend

LinearSpec spec_of(const char* weights, int64_t k = 128, int32_t m_max = 64) {
  return {parse_format(weights), parse_format("f32"), 32, k, false, m_max};
}

std::string reason_of(const LinearPlan& plan, std::string_view kernel) {
  for (const Rejected& rejected : plan.rejected) {
    if (rejected.kernel == kernel) return rejected.reason;
  }
  return "";
}

constexpr LinearKernel row(std::string_view name, int rank, MRange m,
                           LayoutId layout = LayoutId::kCanonical) {
  return {.name = name,
          .weights = any,
          .activations = any,
          .layout = layout,
          .m = m,
          .rank = rank,
          .launch = nothing};
}

TEST(Plan, BucketsCoverEveryTokenCountWithTheBestRow) {
  const LinearKernel rows[] = {row("any", 0, {}), row("gemv", 5, {1, 8}), row("gemm", 3, {17, 32})};
  const LinearPlan plan = plan_linear(spec_of("f32"), rows, {});
  for (int32_t m = 1; m <= 64; ++m) {
    const std::string_view want = m <= 8 ? "gemv" : m >= 17 && m <= 32 ? "gemm" : "any";
    EXPECT_EQ(plan.pick(m).name, want) << "m " << m;
  }
  EXPECT_EQ(plan.buckets.back().m_hi, 64);
}

TEST(Plan, LayoutIsThatOfTheBestRowForOneToken) {
  const LinearKernel rows[] = {row("any", 0, {}), row("packed", 5, {}, kPacked),
                               row("big", 9, {16, 1000})};
  const LinearPlan plan = plan_linear(spec_of("int4"), rows, {});
  EXPECT_EQ(plan.layout, kPacked);
  ASSERT_EQ(plan.buckets.size(), 1u);
  EXPECT_EQ(plan.buckets[0].kernel->name, "packed");
  EXPECT_EQ(reason_of(plan, "big"), "needs layout canonical, plan keeps unnamed");
}

TEST(Plan, ReasonsNameFormatActivationsRowAndRank) {
  LinearKernel format = row("format", 9, {}), acts = row("acts", 9, {}), k = row("k", 9, {});
  format.weights = only_int4;
  acts.activations = only_int4;
  k.reject = odd_k;
  const LinearKernel rows[] = {format, acts, k, row("best", 2, {}), row("worse", 1, {})};
  const LinearPlan plan = plan_linear(spec_of("f32", 70), rows, {});
  EXPECT_EQ(plan.pick(1).name, "best");
  EXPECT_EQ(reason_of(plan, "format"), "reads other formats");
  EXPECT_EQ(reason_of(plan, "acts"), "activations are f32");
  EXPECT_EQ(reason_of(plan, "k"), "K is not a multiple of 64");
  EXPECT_EQ(reason_of(plan, "worse"), "lower rank");
  EXPECT_EQ(plan.rejected.size(), 4u);
}

TEST(Plan, NoAcceptorMeansNoBucketsAndAllReasons) {
  LinearKernel rows[] = {row("a", 0, {}), row("b", 0, {2, 8})};
  rows[0].weights = only_f32;
  const LinearPlan plan = plan_linear(spec_of("int4"), rows, {});
  EXPECT_TRUE(plan.buckets.empty());
  EXPECT_EQ(reason_of(plan, "a"), "reads other formats");
}

TEST(Plan, AHoleInTheTokenCountsMeansNoPlan) {
  const LinearKernel rows[] = {row("small", 0, {1, 8}), row("large", 0, {10, 1000})};
  EXPECT_TRUE(plan_linear(spec_of("f32"), rows, {}).buckets.empty());
}

TEST(Plan, ARowMayTakeOtherTokenCountsOfPairs) {
  LinearKernel rows[] = {row("few", 1, {}), row("many", 5, {9, 1000})};
  rows[1].pair_m = MRange{33};
  LinearSpec spec = spec_of("f32", 64, 64);
  EXPECT_EQ(plan_linear(spec, rows, {}).pick(8).name, "few");
  EXPECT_EQ(plan_linear(spec, rows, {}).pick(9).name, "many");
  spec.a = activation_format(parse_format("int8"));
  EXPECT_EQ(plan_linear(spec, rows, {}).pick(32).name, "few");
  EXPECT_EQ(plan_linear(spec, rows, {}).pick(33).name, "many");
}

TEST(Plan, WorkspaceIsTheLargestOfTheChosenRows) {
  LinearKernel rows[] = {row("gemv", 5, {1, 1}), row("any", 0, {}), row("unused", -1, {})};
  rows[0].workspace = hundred;
  rows[1].workspace = per_token;
  rows[2].workspace = [](const LinearSpec&) -> size_t { return 1 << 20; };
  EXPECT_EQ(plan_linear(spec_of("f32"), rows, {}).workspace, 256u);
  EXPECT_EQ(plan_linear(spec_of("f32", 128, 2), rows, {}).workspace, 100u);
}

TEST(Plan, EveryMachineFindsItsBestCpuRow) {
  using namespace cpu;
  struct Machine {
    uint32_t isa;
    const char *plain, *scaled, *integer, *sparse;  // how the names of the rows for one token end
  };
  for (const Machine& machine :
       {Machine{0, ".baseline", ".baseline", ".baseline", ".baseline"},
        Machine{kIsaAvx2, ".avx2", ".codes.avx2", ".fixed.avx2", ".sparse.avx2"},
        Machine{kIsaAvx2 | kIsaAvx512, ".avx512", ".codes.avx512", ".codes.avx512",
                ".sparse.avx512"},
        Machine{kIsaAvx2 | kIsaAvx512 | kIsaVnni, ".avx512", ".codes.avx512", ".vnni",
                ".sparse.avx512"}}) {
    const DeviceInfo device = {.name = "made up", .isa = machine.isa};
    const auto expect_rows = [&](std::initializer_list<const char*> formats, const char* suffix) {
      for (const char* format : formats) {
        for (const char* act : {"f32", "f16", "bf16"}) {
          LinearSpec spec = spec_of(format, 256);
          spec.a = parse_format(act);
          const LinearPlan plan = plan_linear(spec, cpu_backend().linear_kernels, device);
          ASSERT_FALSE(plan.buckets.empty()) << format;
          EXPECT_TRUE(plan.pick(1).name.ends_with(suffix)) << format << plan.pick(1).name;
        }
      }
    };
    expect_rows({"f32", "f16", "bf16"}, machine.plain);
    expect_rows({"fp8", "mxfp8-e5m2", "ternary5-g8", "int4-g8-24", "codebook"}, machine.scaled);
    expect_rows({"int4-24", "fp8-24"}, machine.sparse);
    // Integers of two bytes.
    expect_rows({"fp6", "fp5-e3m1"}, machine.isa & kIsaVnni ? ".narrow.vnni" : machine.scaled);
    expect_rows(
        {"int8", "int8-tensor", "int8-asym", "q8_0", "int4", "int4-g8-asym", "int4-row-sym", "q4_0",
         "q4_k", "q6_k", "int2", "int1-asym", "mxfp4", "nvfp4", "ternary", "ternary5", "tq1_0"},
        machine.integer);
  }
}

TEST(Plan, CpuRowsReadEveryWeightFormat) {
  for (const uint32_t isa : {0u, uint32_t{cpu::kIsaAvx2}, cpu::machine_isa()}) {
    for (const Format& format : every_weight_format()) {
      const LinearSpec spec = {format, parse_format("f32"), 32, 256, false, 64};
      EXPECT_FALSE(plan_linear(spec, cpu_backend().linear_kernels, {.name = "made up", .isa = isa})
                       .buckets.empty())
          << name(format);
    }
  }
}

TEST(Plan, MissingInstructionSetIsTheReason) {
  const LinearPlan plan = plan_linear(spec_of("int8"), cpu_backend().linear_kernels,
                                      {.name = "made up", .isa = cpu::kIsaAvx2});
  EXPECT_EQ(reason_of(plan, "cpu.linear.codes.avx512"),
            "needs avx512, allowed here: baseline, avx2");
  EXPECT_EQ(reason_of(plan, "cpu.linear.int8.vnni"),
            "needs avx512 with vnni, vbmi and gfni, allowed here: baseline, avx2");
  EXPECT_EQ(reason_of(plan, "cpu.linear.nibbles.fixed.avx2"), "reads other formats");
  EXPECT_EQ(reason_of(plan, "cpu.linear.any.baseline"), "lower rank");
}

}  // namespace
}  // namespace lowbit
