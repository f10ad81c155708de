// The GPUs of this machine, asked through the CUDA runtime. Starts on a machine without a driver.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lowbit {

struct CudaDevice {
  std::string name;
  int sm;  // compute capability as one number: 90 for 9.0
  int multiprocessors;
  uint64_t memory_bytes;
  uint64_t l2_bytes;
  int driver_version;   // the newest CUDA the driver knows: 13000 for 13.0
  int runtime_version;  // of the runtime linked in
};

// All of them in the runtime's order. Empty where there is none: then *why_none, if given, says why
// and what to do. Never throws for want of a GPU.
std::vector<CudaDevice> cuda_devices(std::string* why_none = nullptr);

}  // namespace lowbit
