// cuda.rmsnorm: out[t, :] = x[t, :] / sqrt(mean(x[t, :]^2) + eps) * weight, out f32, f16 or bf16
// One block per row. Each thread sums its strided share of the squares; a warp shuffle and one
// shared word per warp make the row's sum, in an order that d alone decides; the row is then read
// again (from L1 or L2) and scaled.
#include "cuda/check.h"
#include "cuda/ops.h"
#include "cuda/rows.cuh"

namespace lowbit::cuda {
namespace {

constexpr int kThreads = 512;
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

// `whole`: four numbers of x, of the weight and of out may be moved at once.
__global__ void __launch_bounds__(kThreads) rmsnorm_kernel(RmsNormArgs args, bool whole) {
  const int64_t row = blockIdx.x;
  const float* x = args.x + row * args.d;
  void* out = row_of(args.out, row);
  const int first = static_cast<int>(threadIdx.x) * 4;

  float squares = 0.0f;
  for (int i = first; i < args.d; i += 4 * kThreads) {
    const Four four = load_four(x, i, args.d, whole);
    for (const float v : four.v) squares += v * v;
  }
  const float mean = block_sum(squares) / static_cast<float>(args.d);
  const float inverse = 1.0f / sqrtf(mean + args.eps);
  for (int i = first; i < args.d; i += 4 * kThreads) {
    Four four = load_four(x, i, args.d, whole);
    const Four weight = load_four(args.weight, i, args.d, whole);
    for (int j = 0; j < 4; ++j) four.v[j] = four.v[j] * inverse * weight.v[j];
    store_four(args.out.format, out, i, args.d, whole, four);
  }
}

}  // namespace

void rmsnorm(const RmsNormArgs& args, Stream stream) {
  if (args.rows == 0) return;
  const bool whole =
      rows_aligned(args.x, args.d) && is_aligned16(args.weight) && rows_aligned(args.out);
  rmsnorm_kernel<<<static_cast<unsigned>(args.rows), kThreads, 0,
                   static_cast<cudaStream_t>(stream)>>>(args, whole);
  LB_CUDA(cudaGetLastError());
}

}  // namespace lowbit::cuda
