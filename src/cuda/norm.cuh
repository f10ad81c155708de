// The RMS norm's sum, taken in the same order wherever x itself is normalised (token_kernel sums by
// the columns of its warps): 512 threads, each four neighbours of every 2048 elements; then lanes
// of a warp, then warps.
#pragma once

#include "cuda/ptx.cuh"
#include "ops/args.h"

namespace lowbit::cuda {

inline constexpr int kNormThreads = 512;
inline constexpr int kNormWarps = kNormThreads / 32;

// From the sum of x^2.
__device__ inline float inverse_rms(float sum, int d, float eps) {
  return 1.0f / sqrtf(sum / static_cast<float>(d) + eps);
}
// From the parts of all warps.
__device__ inline float inverse_rms(const float* warp_sums, int d, float eps) {
  float sum = 0;
#pragma unroll
  for (int warp = 0; warp < kNormWarps; ++warp) sum += warp_sums[warp];
  return inverse_rms(sum, d, eps);
}

// x / (1 + exp(-x)), with an exponential that does not overflow; within a few units in the last
// place.
__device__ inline float silu(float x) {
  const float e = expf(-fabsf(x)), part = reciprocal(1.0f + e);
  return x >= 0 ? x * part : x * e * part;
}

}  // namespace lowbit::cuda
