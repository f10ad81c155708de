#include <cmath>
#include <cstring>
#include <vector>

#include "ops/view.h"
#include "ref/ops.h"

namespace lowbit::ref {

void embed(const EmbedArgs& a, Stream) {
  for (int32_t t = 0; t < a.tokens_count; ++t) {
    decode_row(a.table, a.tokens[t], a.d, a.out + int64_t{t} * a.d);
  }
}

void quantize(const QuantizeArgs& a, Stream) { store_rows(a.out, 0, a.rows, a.k, a.x); }

void rmsnorm(const RmsNormArgs& a, Stream) {
  std::vector<float> out(static_cast<size_t>(a.d));
  for (int32_t r = 0; r < a.rows; ++r) {
    const float* x = a.x + int64_t{r} * a.d;
    double sum = 0;
    for (int32_t i = 0; i < a.d; ++i) sum += double{x[i]} * double{x[i]};
    const double inverse = 1 / std::sqrt(sum / a.d + a.eps);
    for (int32_t i = 0; i < a.d; ++i) out[i] = static_cast<float>(x[i] * inverse * a.weight[i]);
    store_row(a.out, r, a.d, out.data());
  }
}

void silu_mul(const SiluMulArgs& a, Stream) {
  std::vector<float> out(static_cast<size_t>(a.d));
  for (int32_t r = 0; r < a.rows; ++r) {
    const float* gate = a.gate_up + int64_t{r} * 2 * a.d;
    const float* up = gate + a.d;
    for (int32_t i = 0; i < a.d; ++i) {
      const double g = gate[i];
      out[i] = static_cast<float>(g / (1 + std::exp(-g)) * up[i]);
    }
    store_row(a.out, r, a.d, out.data());
  }
}

void gather_rows(const GatherRowsArgs& a, Stream) {
  for (int32_t r = 0; r < a.rows; ++r) {
    std::memcpy(a.out + int64_t{r} * a.d, a.x + int64_t{a.row[r]} * a.d, sizeof(float) * a.d);
  }
}

}  // namespace lowbit::ref
