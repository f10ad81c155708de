#include "cuda/device.h"

#include "cuda/runtime.h"

namespace lowbit {
namespace {

// Driver 13.0 is 13000.
std::string version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

std::string reason(cudaError_t error, int driver_version, int runtime_version) {
  if (driver_version == 0) return "no NVIDIA driver on this machine";
  if (error == cudaErrorInsufficientDriver) {
    return fmt::format("the driver knows CUDA {}, this build needs {}: update the driver",
                       version_text(driver_version), version_text(runtime_version));
  }
  if (error == cudaErrorNoDevice || error == cudaSuccess) {
    return "the driver sees no GPU (is CUDA_VISIBLE_DEVICES empty?)";
  }
  return fmt::format("the CUDA runtime does not start: {}", cudaGetErrorString(error));
}

}  // namespace

std::vector<CudaDevice> cuda_devices(std::string* why_none) {
  int driver_version = 0;
  int runtime_version = 0;
  int count = 0;
  cudaDriverGetVersion(&driver_version);  // stays 0 without a driver
  cudaRuntimeGetVersion(&runtime_version);
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) {
    cudaGetLastError();  // the absence of a GPU is an answer, not an error for the next call to
                         // find
    if (why_none) *why_none = reason(error, driver_version, runtime_version);
    return {};
  }
  std::vector<CudaDevice> devices;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties;
    LB_CUDA(cudaGetDeviceProperties(&properties, i));
    devices.push_back({.name = properties.name,
                       .sm = properties.major * 10 + properties.minor,
                       .multiprocessors = properties.multiProcessorCount,
                       .memory_bytes = properties.totalGlobalMem,
                       .l2_bytes = static_cast<uint64_t>(properties.l2CacheSize),
                       .driver_version = driver_version,
                       .runtime_version = runtime_version});
  }
  return devices;
}

}  // namespace lowbit
