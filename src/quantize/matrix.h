// The little dense algebra that GPTQ and calibration need, in f32 on all threads. Results do not
// depend on how many there are.
#pragma once

#include <cstdint>
#include <span>

namespace lowbit {

// A matrix inside a larger one: rows `stride` numbers apart.
struct ConstMatrix {
  const float* data;
  int64_t stride;
};

// c[rows, cols] += sign * a[rows, depth] b[depth, cols], on the calling thread. Sums over `depth`
// are made apart and added to c once.
struct MatMul {
  int64_t rows, cols, depth;
  float sign = 1;
};
void add_product(const MatMul& size, ConstMatrix a, ConstMatrix b, float* c, int64_t c_stride);

// h[k, k] += x^T x of x [rows, k], the upper triangle only.
void add_second_moments(const float* x, int64_t rows, int64_t k, float* h);
void mirror_upper(float* h, int64_t k);  // to the lower triangle

// The positive definite a[k, k] as U D U^T with U of ones on the diagonal and zeros below: U's
// upper triangle replaces that of `a`, its diagonal holds sqrt(D), below it stays as it was. False
// if `a` is not positive definite to f32's precision.
bool factor_udu(float* a, int64_t k);

}  // namespace lowbit
