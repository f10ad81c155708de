#include "cuda/runtime.h"

namespace lowbit {

bool CudaError::sticky() const {
  // Only what was refused before it ran leaves the context usable; the rest is taken as lost.
  switch (code_) {
    case cudaErrorInvalidValue:
    case cudaErrorMemoryAllocation:
    case cudaErrorInvalidConfiguration:
    case cudaErrorInvalidDevice:
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorNoKernelImageForDevice:
      return false;
    default:
      return true;
  }
}

void throw_cuda_error(cudaError_t code, const char* expression) {
  cudaGetLastError();  // reported here, so the next check must not find it again
  std::string message = fmt::format("CUDA: {} ({}) in {}", cudaGetErrorString(code),
                                    cudaGetErrorName(code), expression);
  if (code == cudaErrorNoKernelImageForDevice) {
    message += ": this build has no code for this GPU; build with LB_CUDA_ARCHITECTURES set to its";
  }
  throw CudaError(code, std::move(message));
}

Buffer::Buffer(size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  const cudaError_t code = cudaMalloc(&data_, bytes);
  if (code == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    size_t free_bytes = 0;
    size_t total_bytes = 0;
    cudaMemGetInfo(&free_bytes, &total_bytes);
    throw CudaError(code, fmt::format("out of GPU memory: {:.2f} GiB wanted, {:.2f} of {:.2f} GiB "
                                      "free; use a smaller format, context or batch",
                                      static_cast<double>(bytes) * 0x1p-30,
                                      static_cast<double>(free_bytes) * 0x1p-30,
                                      static_cast<double>(total_bytes) * 0x1p-30));
  }
  if (code != cudaSuccess) throw_cuda_error(code, "cudaMalloc");
}

// An error here is either the process ending or one that the next checked call reports.
Buffer::~Buffer() {
  if (data_) cudaFree(data_);
}

}  // namespace lowbit
