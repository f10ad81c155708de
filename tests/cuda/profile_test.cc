// Times that are taken by the GPU's clock: ops of a step, and Linears alone.
#include "bench/linear_bench.h"
#include "bench/op_timeline.h"
#include "bench/stats.h"
#include "cuda/backend.h"
#include "cuda/gpu.h"
#include "engine/loaded_model.h"
#include "engine/stepper.h"

namespace lowbit {
namespace {

class CudaProfile : public GpuTest {};

TEST_F(CudaProfile, OpsFollowEachOtherAndEachTakesTime) {
  const Backend& gpu = cuda_backend();
  const LoadedModel loaded = load("synthetic:tiny", gpu, {.plan = StepPlan::kGraph});
  Stepper stepper(*loaded.model, gpu, {.max_context = 64, .plan = StepPlan::kGraph});
  const std::vector<int32_t> prompt = {1, 2, 3};
  stepper.prefill(0, prompt);  // what kernels need at their first use
  OpTimeline timeline(gpu);
  stepper.set_trace(&timeline);
  for (int i = 0; i < 3; ++i) {
    timeline.start_step("step");
    stepper.prefill(0, prompt);
  }
  stepper.set_trace(nullptr);
  const std::span<const TimedStep> steps = timeline.steps();
  ASSERT_EQ(steps.size(), 3u);
  for (const TimedStep& step : steps) {
    EXPECT_GT(step.ops.size(), 5u);
    double end = 0, sum = 0;
    for (const TimedOp& op : step.ops) {
      EXPECT_GT(op.seconds, 0) << op.tag();
      EXPECT_LT(op.seconds, 2e-3) << op.tag();
      EXPECT_GE(op.begin, end - 2e-6) << op.tag();  // the clock's resolution is half a microsecond
      end = op.begin + op.seconds;
      sum += op.seconds;
    }
    EXPECT_LE(sum, step.seconds() + 1e-5);
  }
}

// Three megabytes stay in the L2 of every GPU that this runs on, 256 do not.
TEST_F(CudaProfile, ALinearAloneIsFasterWarmThanColdAndNeitherIsNothing) {
  const LinearProblem problem{.m = 1, .k = 2048, .n = 2048, .choice = {parse_format("int8")}};
  LinearBench bench(cuda_backend(), problem);
  const LinearSampling sampling{6, 0.2, 0.01};
  const double warm = median(bench.time_warm(sampling));
  const double cold = median(bench.time_cold(sampling, cold_bytes(cuda_backend())));
  EXPECT_GT(warm, 5e-7);
  EXPECT_LT(cold, 1e-3);
  EXPECT_GT(cold, warm);
  const double rate = static_cast<double>(bench.weights().bytes()) / cold;
  EXPECT_GT(rate, 1e10);
  EXPECT_LT(rate, 2e13);
}

}  // namespace
}  // namespace lowbit
