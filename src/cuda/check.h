// The error check that kernels' files use: nothing here but the runtime's C header, since nvcc does
// not compile what base/check.h includes.
#pragma once

#include <cuda_runtime_api.h>

namespace lowbit {

[[noreturn]] void throw_cuda_error(cudaError_t code, const char* expression);  // a CudaError

}  // namespace lowbit

// LB_CUDA(cudaMemcpy(...)): throws CudaError unless the call succeeds.
#define LB_CUDA(...)                                                                 \
  do {                                                                               \
    if (const cudaError_t lb_cuda_code = (__VA_ARGS__); lb_cuda_code != cudaSuccess) \
        [[unlikely]] {                                                               \
      ::lowbit::throw_cuda_error(lb_cuda_code, #__VA_ARGS__);                        \
    }                                                                                \
  } while (false)
