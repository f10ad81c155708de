// What backends on the host have in common: device pointers are host pointers.
#pragma once

#include "ops/backend.h"

namespace lowbit {

inline constexpr int32_t kHostStepTokens = 512;

DeviceBytes host_allocate(size_t bytes);
DeviceBytes host_upload(const Bytes& bytes);  // no copy: shares the owner
void host_copy(void* to, const void* from, size_t bytes, Stream);
void host_synchronize(Stream);
void host_advance(const AdvanceArgs& args, Stream);

// CPU name and total memory; the ISA is the cpu backend's business.
DeviceInfo host_info();

}  // namespace lowbit
