// cuda.rmsnorm.f32: out[t, :] = x[t, :] / sqrt(mean(x[t, :]^2) + eps) * weight
// One block per row. Each thread sums its strided share of the squares; a warp shuffle and one
// shared word per warp make the row's sum; the row is then read again (from L1 or L2) and scaled.
// Bytes moved: 4 (2 rows d + d). Any d and any row count; no alignment asked for.
#include "cuda/check.h"
#include "cuda/ops.h"

namespace lowbit::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarp = 32;

// The sum over the block, known to all threads; a fixed tree, so runs repeat bit for bit.
__device__ float block_sum(float value) {
  __shared__ float warp_sums[kThreads / kWarp];
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) {
    value += __shfl_xor_sync(0xffffffffu, value, lanes);
  }
  if (threadIdx.x % kWarp == 0) warp_sums[threadIdx.x / kWarp] = value;
  __syncthreads();
  float sum = 0.0f;
  for (int warp = 0; warp < kThreads / kWarp; ++warp) sum += warp_sums[warp];
  return sum;
}

__global__ void __launch_bounds__(kThreads) rmsnorm_kernel(RmsNormArgs args) {
  const int64_t row = blockIdx.x;
  const float* x = args.x + row * args.d;
  float* out = static_cast<float*>(args.out.data) + row * args.out.ld;

  float squares = 0.0f;
  for (int i = threadIdx.x; i < args.d; i += kThreads) squares += x[i] * x[i];
  const float mean = block_sum(squares) / static_cast<float>(args.d);
  const float inverse = 1.0f / sqrtf(mean + args.eps);
  for (int i = threadIdx.x; i < args.d; i += kThreads) out[i] = x[i] * inverse * args.weight[i];
}

}  // namespace

void rmsnorm(const RmsNormArgs& args, Stream stream) {
  if (args.rows == 0) return;
  rmsnorm_kernel<<<static_cast<unsigned>(args.rows), kThreads, 0,
                   static_cast<cudaStream_t>(stream)>>>(args);
  LB_CUDA(cudaGetLastError());
}

}  // namespace lowbit::cuda
