// Linear without any ISA flags: every format in its canonical layout, a decoded row at a time.
#include <vector>

#include "cpu/bodies.h"
#include "ops/view.h"

namespace lowbit::cpu {
namespace {

constexpr int kLanes = 16;  // independent sums, so that the compiler may use the baseline's SIMD

float dot(const float* x, const float* w, int32_t k) {
  float lanes[kLanes] = {};
  int32_t i = 0;
  for (; i + kLanes <= k; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += x[i + lane] * w[i + lane];
  }
  for (int lane = 0; i < k; ++i, ++lane) lanes[lane] += x[i] * w[i];
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
  }
  return lanes[0];
}

}  // namespace

void linear_any_baseline(const LinearArgs& a, int32_t n0, int32_t n1) {
  std::vector<float> w(static_cast<size_t>(a.k));
  const auto* x = static_cast<const float*>(a.x.data);
  for (int32_t n = n0; n < n1; ++n) {
    decode_row(a.w, n, a.k, w.data());
    for (int32_t t = 0; t < a.m; ++t) {
      const float value = dot(x + t * a.x.ld, w.data(), a.k) + (a.bias ? a.bias[n] : 0.0f);
      float& y = a.y[t * a.ldy + n];
      y = a.epilogue == Epilogue::kAdd ? y + value : value;
    }
  }
}

}  // namespace lowbit::cpu
