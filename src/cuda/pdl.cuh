// Programmatic dependent launch: a kernel may start while the one before it in the stream still
// runs, when that one has gone on from its own pdl_wait() in all CTAs. So every kernel may read at
// once what was written before the kernel before it began, and calls pdl_wait() before it touches
// what that one wrote, and before it ends. Kernels that let the next start earlier say so: that one
// then reads nothing but weights before its own pdl_wait().
#pragma once

#include <cuda_runtime.h>

#include "cuda/check.h"

namespace lowbit::cuda {

// The kernels before this one have finished and what they wrote can be read; from here on the next
// may start as soon as there is room for it.
__device__ __forceinline__ void pdl_wait() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// In a kernel whose next one reads only weights before it waits: that one may start as soon as
// there is room for it.
__device__ __forceinline__ void pdl_start_next() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// Before a launch of a kernel that asks for more than 48 KB of shared memory: the first call allows
// it `bytes`.
template <auto kKernel>
void allow_shared_memory(int bytes) {
  static const bool allowed = [&] {
    LB_CUDA(cudaFuncSetAttribute(kKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
    return true;
  }();
  (void)allowed;
}

struct LaunchShape {
  dim3 grid, block;
  size_t shared_bytes;
  unsigned cluster = 1;  // CTAs of a cluster, along x
};
// All ask for the largest share of shared memory: an SM has to run empty before it can divide its
// memory differently, and then nothing starts beside anything.
template <class... Params, class... Args>
void launch_pdl(void (*kernel)(Params...), const LaunchShape& shape, cudaStream_t stream,
                Args... args) {
  cudaLaunchAttribute attributes[3] = {};
  attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[0].val.programmaticStreamSerializationAllowed = 1;
  attributes[1].id = cudaLaunchAttributePreferredSharedMemoryCarveout;
  attributes[1].val.sharedMemCarveout = cudaSharedmemCarveoutMaxShared;
  attributes[2].id = cudaLaunchAttributeClusterDimension;
  attributes[2].val.clusterDim = {shape.cluster, 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = shape.cluster > 1 ? 3 : 2;
  LB_CUDA(cudaLaunchKernelEx(&config, kernel, Params(args)...));
}
template <class... Params, class... Args>
void launch_pdl(void (*kernel)(Params...), dim3 grid, dim3 block, size_t shared_bytes,
                cudaStream_t stream, Args... args) {
  launch_pdl(kernel, LaunchShape{grid, block, shared_bytes}, stream, args...);
}

}  // namespace lowbit::cuda
