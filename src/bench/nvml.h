// The functions of NVIDIA's management library that are used, by the names and values of its
// documentation; the toolkit may lack nvml.h. The library is opened when a GPU is measured.
#pragma once

#include <cstdint>

#include "bench/device_watch.h"

namespace lowbit {

using NvmlDevice = void*;

struct NvmlProcess {  // nvmlProcessInfo_t, version 2
  uint32_t pid;
  unsigned long long memory;
  uint32_t gpu_instance, compute_instance;
};

// All return 0 for success. Null: this driver has no such function.
struct NvmlApi {
  int (*init)();                                          // nvmlInit_v2
  int (*by_index)(uint32_t, NvmlDevice*);                 // nvmlDeviceGetHandleByIndex_v2
  int (*by_uuid)(const char*, NvmlDevice*);               // nvmlDeviceGetHandleByUUID
  int (*driver)(char*, uint32_t);                         // nvmlSystemGetDriverVersion
  int (*energy)(NvmlDevice, unsigned long long*);         // ...GetTotalEnergyConsumption, mJ
  int (*power)(NvmlDevice, uint32_t*);                    // ...GetPowerUsage, mW
  int (*power_limit)(NvmlDevice, uint32_t*);              // ...GetEnforcedPowerLimit, mW
  int (*clock)(NvmlDevice, int, uint32_t*);               // ...GetClockInfo, MHz
  int (*temperature)(NvmlDevice, int, uint32_t*);         // ...GetTemperature, degrees C
  int (*slowed)(NvmlDevice, unsigned long long*);         // ...GetCurrentClocksThrottleReasons
  int (*processes)(NvmlDevice, uint32_t*, NvmlProcess*);  // ...GetComputeRunningProcesses_v3
};

// `visible`: CUDA_VISIBLE_DEVICES, "" if it is not set; the first device it names. One of the
// processes on it is taken to be this one.
FoundSource nvml_source(const NvmlApi& api, const std::string& visible);

}  // namespace lowbit
