// The quantize op on the GPU chooses the codes and scales of the reference, bit for bit.
#include <cfloat>
#include <cmath>

#include "bench/op_cases.h"
#include "cuda/on_gpu.h"
#include "cuda/ops.h"
#include "kernels/linear_setup.h"
#include "ref/backend.h"

namespace lowbit {
namespace {

using test::gaussian;
using test::kPoison;

constexpr const char* kFormats[] = {
    "int8",      "int8-tensor",  "int8-g32",    "int8-g8",     "int8-asym",  "int8-tensor-asym",
    "int8-sf16", "fp8",          "fp8-tensor",  "fp8-e5m2",    "fp8-g64",    "fp8-sbf16",
    "mxfp8",     "mxfp8-floor",  "mxfp8-e5m2",  "mxfp6",       "mxfp6-e3m2", "mxfp6-even",
    "mxfp4",     "mxfp4-ceil",   "mxfp4-even",  "mxfp4-rceil", "nvfp4",      "int4",
    "int4-g16",  "int4-row-sym", "int4-tensor", "int4-rzero",  "int8-fzero"};

// "" or where the GPU's planes are not the reference's; both were full of something else before.
std::string differs(const char* text, int32_t rows, const std::vector<float>& x) {
  const auto k = static_cast<int32_t>(x.size()) / rows;
  const QTensorBuilder want = build_qtensor(activation_format(parse_format(text)), rows, k);
  for (const Plane plane : kPlanes) {
    if (want.plane(plane)) {
      std::memset(want.plane(plane), 0x5a, want.tensor.plane(plane).data.size());
    }
  }
  const TensorOnGpu got(want.tensor);
  const OnGpu x_gpu(x);
  ref_backend().op.quantize({rows, k, x.data(), test::act_over(want)}, nullptr);
  cuda::quantize({rows, k, x_gpu.as<float>(), got.act()}, nullptr);
  return got.differs(want.tensor);
}

class CudaQuantize : public GpuTest {};

// One row of each kind that rounding, scales or zeros could stumble over.
std::vector<float> hostile_rows(int32_t k, int32_t* rows) {
  std::vector<float> all;
  const auto add = [&](const auto& number) {
    for (int32_t i = 0; i < k; ++i) all.push_back(number(i));
    ++*rows;
  };
  const std::vector<float> noise = gaussian(k, 3, 1);
  const auto at = [&](int32_t i) { return noise[static_cast<size_t>(i)]; };
  *rows = 0;
  add(at);
  add([&](int32_t i) { return at(i) * at(i) * at(i) * 1e-3f; });
  add([](int32_t) { return 0.0f; });
  add([](int32_t i) { return i % 2 ? -0.0f : 0.0f; });
  add([](int32_t) { return 1.0f; });
  add([](int32_t i) { return static_cast<float>(i % 7) * 1e-44f; });
  add([&](int32_t i) { return at(i) * 1e-38f; });
  add([&](int32_t i) { return std::fmod(at(i), 1.0f) * 3.4e38f; });
  add([&](int32_t i) { return i == k / 2 ? 3.3e38f : at(i); });
  add([&](int32_t i) { return i == k / 2 ? -1000.0f : at(i); });
  add([&](int32_t i) { return std::abs(at(i)) + 100.0f; });  // far from zero
  for (const float size : {127.0f, 128.0f, 448.0f, 6.0f, 7.5f, 28.0f}) {
    add([=](int32_t i) {  // exact ties between codes, whatever the scale
      return i == 0 ? size : static_cast<float>(i % 255 - 127) * 0.5f;
    });
  }
  return all;
}

TEST_F(CudaQuantize, CodesAndScalesAreThoseOfTheReference) {
  for (const char* text : kFormats) {
    for (const int32_t k : kOpWidths) {
      int32_t rows = 0;
      const std::vector<float> x = hostile_rows(k, &rows);
      EXPECT_EQ(differs(text, rows, x), "") << text << " k " << k;
      for (int32_t r = 0; r < rows && k < 300; ++r) {
        const auto row = x.begin() + int64_t{r} * k;
        EXPECT_EQ(differs(text, 1, {row, row + k}), "") << text << " k " << k << " row " << r;
      }
    }
  }
}

TEST_F(CudaQuantize, NumbersNearTheEndOfF32RoundOrBecomeNan) {
  for (const char* text : kFormats) {
    for (const float size : {1.7e38f, 2.6e38f, 3.3e38f, FLT_MAX}) {
      std::vector<float> x(64, size);
      EXPECT_EQ(differs(text, 1, x), "") << text << " " << size;
      for (size_t i = 0; i < x.size(); i += 2) x[i] = -size * 0.97f;
      EXPECT_EQ(differs(text, 1, x), "") << text << " " << size;
    }
  }
}

TEST_F(CudaQuantize, ManyRandomNumbersRoundAsTheReferenceDoes) {
  constexpr int32_t kRows = 256, kWidth = 512;  // enough to share out the range of a tensor
  std::vector<float> x = gaussian(kRows * kWidth, 11, 1);
  for (size_t i = 0; i < x.size(); ++i) x[i] *= std::exp2(static_cast<float>(i / kWidth % 40) - 20);
  for (const char* text : kFormats) EXPECT_EQ(differs(text, kRows, x), "") << text;
}

TEST_F(CudaQuantize, ARowWithoutFiniteNumbersIsNan) {
  for (const char* text : kFormats) {
    for (const float bad : {kPoison, INFINITY, -INFINITY}) {
      for (const int32_t rows : {5, 500}) {  // 500: one scale over all is found in parts
        std::vector<float> x = gaussian(rows * 80, 7, 1);
        x[2 * 80 + 77] = bad;
        EXPECT_EQ(differs(text, rows, x), "") << text << " " << bad;
      }
    }
  }
}

}  // namespace
}  // namespace lowbit
