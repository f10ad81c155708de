// y = x W^T in double: decode a row of W, then one dot product per token.
#include <vector>

#include "ops/view.h"
#include "ref/ops.h"

namespace lowbit::ref {

void linear(const LinearArgs& a, Stream) {
  std::vector<float> x(static_cast<size_t>(a.m) * a.k), w(a.k);
  for (int32_t t = 0; t < a.m; ++t) load_row(a.x, t, a.k, x.data() + int64_t{t} * a.k);
  for (int32_t n = 0; n < a.n; ++n) {
    decode_row(a.w, n, a.k, w.data());
    for (int32_t t = 0; t < a.m; ++t) {
      const float* row = x.data() + int64_t{t} * a.k;
      double sum = a.bias ? a.bias[n] : 0;
      for (int32_t k = 0; k < a.k; ++k) sum += double{row[k]} * double{w[k]};
      float& y = a.y[t * a.ldy + n];
      y = static_cast<float>(a.epilogue == Epilogue::kAdd ? y + sum : sum);
    }
  }
}

}  // namespace lowbit::ref
