// y = x W^T in double: what the codes of x and of W stand for, one dot product per row and token.
#include <vector>

#include "ops/view.h"
#include "ref/ops.h"

namespace lowbit::ref {

void linear(const LinearArgs& a, Stream) {
  std::vector<double> x(static_cast<size_t>(a.m) * a.k), w(a.k);
  for (int32_t t = 0; t < a.m; ++t) load_row(a.x, t, a.k, x.data() + int64_t{t} * a.k);
  const QTensor weights = tensor_of(a.w, a.n, a.k);
  for (int32_t n = 0; n < a.n; ++n) {
    decode_row(weights, n, w.data());
    for (int32_t t = 0; t < a.m; ++t) {
      const double* row = x.data() + int64_t{t} * a.k;
      double sum = a.bias ? a.bias[n] : 0;
      for (int32_t k = 0; k < a.k; ++k) sum += row[k] * w[k];
      float& y = a.y[t * a.ldy + n];
      y = static_cast<float>(a.epilogue == Epilogue::kAdd ? y + sum : sum);
    }
  }
}

}  // namespace lowbit::ref
