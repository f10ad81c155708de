#include <cuda_runtime.h>

#include "cuda/check.h"
#include "cuda/hold.h"

namespace lowbit::cuda {
namespace {

__device__ __forceinline__ uint64_t nanoseconds() {
  uint64_t now;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  return now;
}

__global__ void hold_kernel(uint64_t duration) {
  constexpr uint64_t kAwake = 3000;  // at the end, so that it takes no longer than it was asked to
  const uint64_t begin = nanoseconds();
  for (uint64_t past = 0; past < duration; past = nanoseconds() - begin) {
    if (past + kAwake < duration) __nanosleep(1000);
  }
}

}  // namespace

void hold(double seconds, Stream stream) {
  hold_kernel<<<1, 1, 0, static_cast<cudaStream_t>(stream)>>>(static_cast<uint64_t>(seconds * 1e9));
  LB_CUDA(cudaGetLastError());
}

}  // namespace lowbit::cuda
