#include <cuda_runtime.h>

#include "cuda/plain_read.h"

namespace lowbit::cuda {
namespace {

__global__ void __launch_bounds__(512)
    read_kernel(const uint4* __restrict__ data, size_t count, uint4* never) {
  constexpr int kAtOnce = 8;
  uint4 sum = {};
  const size_t step = size_t{gridDim.x} * blockDim.x;
  for (size_t i = size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += kAtOnce * step) {
    uint4 x[kAtOnce];
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j)
      x[j] = i + j * step < count ? __ldg(data + i + j * step) : uint4{};
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) {
      sum.x ^= x[j].x, sum.y ^= x[j].y, sum.z ^= x[j].z, sum.w ^= x[j].w;
    }
  }
  if ((sum.x ^ sum.y ^ sum.z ^ sum.w) == 0x12345678u && never) *never = sum;
}

}  // namespace

void plain_read(const void* data, size_t bytes, Stream stream) {
  read_kernel<<<132 * 2, 512, 0, static_cast<cudaStream_t>(stream)>>>(
      static_cast<const uint4*>(data), bytes / 16, nullptr);
}

}  // namespace lowbit::cuda
