#include "cuda/runtime.h"

#include <algorithm>
#include <atomic>

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

namespace {

// The device's pool, which keeps what is freed: getting memory from the driver takes milliseconds
// on some machines. Work on other streams is ordered with the default stream, so that neither
// getting nor freeing memory there needs a thought of streams. Null where there are no pools.
cudaMemPool_t pool() {
  static const cudaMemPool_t pool = [] {
    int device = 0, has_pools = 0;
    cudaMemPool_t of_device = nullptr;
    LB_CUDA(cudaGetDevice(&device));
    LB_CUDA(cudaDeviceGetAttribute(&has_pools, cudaDevAttrMemoryPoolsSupported, device));
    if (!has_pools) return of_device;
    LB_CUDA(cudaDeviceGetDefaultMemPool(&of_device, device));
    uint64_t keep = UINT64_MAX;
    LB_CUDA(cudaMemPoolSetAttribute(of_device, cudaMemPoolAttrReleaseThreshold, &keep));
    return of_device;
  }();
  return pool;
}

cudaError_t get_memory(void** data, size_t bytes) {
  if (!pool()) return cudaMalloc(data, bytes);
  const cudaError_t code = cudaMallocAsync(data, bytes, nullptr);
  if (code != cudaErrorMemoryAllocation) return code;
  // What the pool keeps may be in pieces: back to the driver, and once more.
  cudaGetLastError();
  LB_CUDA(cudaDeviceSynchronize());
  LB_CUDA(cudaMemPoolTrimTo(pool(), 0));
  return cudaMallocAsync(data, bytes, nullptr);
}

std::atomic<size_t> g_taken{0}, g_peak{0};

void count(size_t bytes) {
  const size_t taken = g_taken += bytes;
  size_t peak = g_peak;
  while (peak < taken && !g_peak.compare_exchange_weak(peak, taken)) {
  }
}

}  // namespace

BufferBytes buffer_bytes() {
  BufferBytes bytes{g_taken, g_peak};
  if (!pool()) return bytes;
  uint64_t reserved = 0, used = 0;
  LB_CUDA(cudaMemPoolGetAttribute(pool(), cudaMemPoolAttrReservedMemCurrent, &reserved));
  LB_CUDA(cudaMemPoolGetAttribute(pool(), cudaMemPoolAttrUsedMemCurrent, &used));
  bytes.kept = reserved - std::min(used, reserved);
  return bytes;
}

void reset_peak_bytes() { g_peak = g_taken.load(); }

Buffer::Buffer(size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  const cudaError_t code = get_memory(&data_, bytes);
  if (code == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    size_t free_bytes = 0;
    size_t total_bytes = 0;
    cudaMemGetInfo(&free_bytes, &total_bytes);
    throw OutOfMemory(
        fmt::format("out of GPU memory: {:.2f} GiB wanted, {:.2f} of {:.2f} GiB "
                    "free; use a smaller format, context or batch",
                    static_cast<double>(bytes) * 0x1p-30, static_cast<double>(free_bytes) * 0x1p-30,
                    static_cast<double>(total_bytes) * 0x1p-30));
  }
  if (code != cudaSuccess) throw_cuda_error(code, "cudaMallocAsync");
  count(bytes);
}

// An error here is either the process ending or one that the next checked call reports.
Buffer::~Buffer() {
  if (!data_) return;
  pool() ? cudaFreeAsync(data_, nullptr) : cudaFree(data_);
  g_taken -= bytes_;
}

}  // namespace lowbit
