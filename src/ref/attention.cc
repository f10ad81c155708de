#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/view.h"
#include "ref/ops.h"

namespace lowbit::ref {
namespace {

void rotate(float* x, const float* cos_sin, int32_t half) {
  for (int32_t i = 0; i < half; ++i) {
    const double c = cos_sin[i], s = cos_sin[half + i];
    const double x1 = x[i], x2 = x[half + i];
    x[i] = static_cast<float>(x1 * c - x2 * s);
    x[half + i] = static_cast<float>(x2 * c + x1 * s);
  }
}

}  // namespace

void rotary_table(const RotaryTableArgs& a, Stream) {
  for (int32_t t = 0; t < a.tokens_count; ++t) {
    float* row = a.cos_sin + int64_t{t} * 2 * a.half;
    for (int32_t i = 0; i < a.half; ++i) {
      const float angle = static_cast<float>(a.pos[t]) * a.inv_freq[i];
      row[i] = std::cos(angle);
      row[a.half + i] = std::sin(angle);
    }
  }
}

void rope_append(const RopeAppendArgs& a, Stream) {
  const int64_t width = int64_t{a.heads + 2 * a.kv_heads} * a.head_dim;
  const int32_t half = a.head_dim / 2;
  for (int32_t t = 0; t < a.tokens_count; ++t) {
    float* q = a.qkv + t * width;
    float* k = q + int64_t{a.heads} * a.head_dim;
    const float* v = k + int64_t{a.kv_heads} * a.head_dim;
    const float* cos_sin = a.cos_sin + int64_t{t} * 2 * half;
    for (int32_t h = 0; h < a.heads + a.kv_heads; ++h) rotate(q + h * a.head_dim, cos_sin, half);
    for (int32_t h = 0; h < a.kv_heads; ++h) {
      const int64_t row = kv_row(a.kv, a.slot[t], a.pos[t], h, a.kv_heads);
      store_row(a.kv.k, row, a.head_dim, k + h * a.head_dim);
      store_row(a.kv.v, row, a.head_dim, v + h * a.head_dim);
    }
  }
}

void attention(const AttentionArgs& a, Stream) {
  const int64_t width = int64_t{a.heads + 2 * a.kv_heads} * a.head_dim;
  std::vector<float> out(static_cast<size_t>(a.heads) * a.head_dim);
  std::vector<double> weight, row(a.head_dim), sum(a.head_dim);
  for (int32_t t = 0; t < a.tokens_count; ++t) {
    const int32_t context = a.pos[t] + 1;
    weight.resize(static_cast<size_t>(context));
    for (int32_t h = 0; h < a.heads; ++h) {
      const int32_t kv_head = h / (a.heads / a.kv_heads);
      const float* q = a.qkv + t * width + h * a.head_dim;
      const auto load = [&](const Act& cache, int32_t p) {
        load_row(cache, kv_row(a.kv, a.slot[t], p, kv_head, a.kv_heads), a.head_dim, row.data());
      };
      double top = -INFINITY, total = 0;
      for (int32_t p = 0; p < context; ++p) {
        load(a.kv.k, p);
        double dot = 0;
        for (int32_t i = 0; i < a.head_dim; ++i) dot += q[i] * row[i];
        weight[p] = dot * a.scale;
        top = std::max(top, weight[p]);
      }
      std::fill(sum.begin(), sum.end(), 0.0);
      for (int32_t p = 0; p < context; ++p) {
        const double e = std::exp(weight[p] - top);
        total += e;
        load(a.kv.v, p);
        for (int32_t i = 0; i < a.head_dim; ++i) sum[i] += e * row[i];
      }
      for (int32_t i = 0; i < a.head_dim; ++i) {
        out[h * a.head_dim + i] = static_cast<float>(sum[i] / total);
      }
    }
    store_row(a.out, t, int64_t{a.heads} * a.head_dim, out.data());
  }
}

}  // namespace lowbit::ref
