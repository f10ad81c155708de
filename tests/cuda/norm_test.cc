#include <cmath>
#include <limits>

#include "base/rng.h"
#include "cuda/gpu.h"
#include "cuda/ops.h"

namespace lowbit {
namespace {

struct Case {
  int rows, d;
  int64_t ld;  // of the output, >= d
};

std::vector<float> random(size_t count, uint64_t stream) {
  const Rng rng(7, stream);
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = rng.gaussian(i);
  return values;
}

class RmsNorm : public GpuTest {};

// |y - r| <= (u sqrt(d) + 6u) |r|: the terms of the sum are all positive, so its relative error is
// that of the roundings on one path (and the root halves it); then come a division, an addition, a
// root, a reciprocal and two products.
TEST_F(RmsNorm, AgreesWithDoublePrecision) {
  for (const Case c : {Case{1, 1, 1},
                       {1, 3, 5},
                       {2, 31, 31},
                       {3, 257, 260},
                       {7, 4096, 4096},
                       {33, 80, 96},
                       {5, 1000, 1001},
                       {300, 65, 65},
                       {2, 14336, 14336}}) {
    SCOPED_TRACE(testing::Message() << c.rows << " x " << c.d << ", ld " << c.ld);
    const float eps = 1e-5f;
    const std::vector<float> x = random(static_cast<size_t>(c.rows) * c.d, 1);
    const std::vector<float> weight = random(c.d, 2);
    const Guarded x_gpu(x);
    const Guarded weight_gpu(weight);
    const Guarded out_gpu(static_cast<size_t>(c.rows * c.ld));
    cuda::rmsnorm({.rows = c.rows,
                   .d = c.d,
                   .x = x_gpu.data(),
                   .weight = weight_gpu.data(),
                   .eps = eps,
                   .out = {out_gpu.data(), nullptr, c.ld, FormatId::kF32}},
                  nullptr);
    LB_CUDA(cudaDeviceSynchronize());
    const std::vector<float> out = out_gpu.read();

    const double u = std::numeric_limits<float>::epsilon() / 2;
    for (int t = 0; t < c.rows; ++t) {
      double squares = 0;
      for (int i = 0; i < c.d; ++i) squares += std::pow(x[t * c.d + i], 2.0);
      const double inverse = 1.0 / std::sqrt(squares / c.d + static_cast<double>(eps));
      for (int i = 0; i < c.d; ++i) {
        const double r = x[t * c.d + i] * inverse * weight[i];
        const double bound = (u * std::sqrt(c.d) + 6 * u) * std::abs(r);
        ASSERT_NEAR(out[t * c.ld + i], r, bound) << "at [" << t << ", " << i << "]";
      }
      for (int64_t i = c.d; i < c.ld; ++i) {
        ASSERT_TRUE(Guarded::is_poison(out[t * c.ld + i])) << "padding written at " << i;
      }
    }
    EXPECT_TRUE(out_gpu.guard_intact());
    EXPECT_TRUE(x_gpu.guard_intact());
  }
}

TEST_F(RmsNorm, RepeatsBitForBit) {
  const int rows = 64;
  const int d = 4097;
  const Guarded x(random(static_cast<size_t>(rows) * d, 3));
  const Guarded weight(random(d, 4));
  std::vector<float> first;
  for (int round = 0; round < 4; ++round) {
    const Guarded out(static_cast<size_t>(rows) * d);
    const Act act = {out.data(), nullptr, d, FormatId::kF32};
    cuda::rmsnorm({rows, d, x.data(), weight.data(), 1e-6f, act}, nullptr);
    LB_CUDA(cudaDeviceSynchronize());
    if (round == 0) first = out.read();
    EXPECT_EQ(out.read(), first);
  }
}

TEST_F(RmsNorm, NoRowsIsNothing) {
  cuda::rmsnorm({.rows = 0, .d = 8, .x = nullptr, .weight = nullptr, .eps = 0, .out = {}}, nullptr);
  LB_CUDA(cudaDeviceSynchronize());
}

}  // namespace
}  // namespace lowbit
