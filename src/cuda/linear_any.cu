// y[m, n] (+)= x[m, k] w[n, k]^T for every format of weights and of activations, from canonical
// planes: what the tuned kernels leave, by the codec's own arithmetic. One warp for each row of w
// and up to kTokens tokens; lanes take neighbouring columns, a tree adds lanes.
//   bytes   the planes, once for every kTokens tokens
//   limits  none; far from the memory limit
#include "cuda/chain.h"
#include "cuda/check.h"
#include "cuda/codes.cuh"
#include "cuda/linear_any.h"

namespace lowbit::cuda {
namespace {

constexpr int kThreads = 256, kWarp = 32, kTokens = 4;

__global__ void __launch_bounds__(kThreads) linear_any_kernel(const LinearArgs a) {
  const int n = static_cast<int>(blockIdx.x * (kThreads / kWarp) + threadIdx.x / kWarp);
  const int first = blockIdx.y * kTokens, lane = threadIdx.x % kWarp;
  if (n >= a.n) return;
  const PlanesView w = view_of(a.w, a.k), x = view_of(a.x);
  float sums[kTokens] = {};
  for (int k = lane; k < a.k; k += kWarp) {
    const float weight = load_f32(w, n, k);
#pragma unroll
    for (int t = 0; t < kTokens; ++t) {
      if (first + t < a.m) sums[t] = fmaf(weight, load_f32(x, first + t, k), sums[t]);
    }
  }
#pragma unroll
  for (int t = 0; t < kTokens; ++t) {
    for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) {
      sums[t] += __shfl_xor_sync(0xffffffffu, sums[t], lanes);
    }
    if (lane != 0 || first + t >= a.m) continue;
    float* y = a.y + (first + t) * a.ldy + n;
    const float v = sums[t] + (a.bias ? a.bias[n] : 0);
    *y = a.epilogue == Epilogue::kAdd ? *y + v : v;
  }
}

}  // namespace

void linear_any(const LinearArgs& args, Stream stream) {
  if (args.m == 0) return;
  end_chain(stream);
  constexpr int kRows = kThreads / kWarp;
  const dim3 grid((args.n + kRows - 1) / kRows, (args.m + kTokens - 1) / kTokens);
  linear_any_kernel<<<grid, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(args);
  LB_CUDA(cudaGetLastError());
}

}  // namespace lowbit::cuda
