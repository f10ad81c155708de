// Memory of a backend that runs on the host: device pointers are host pointers.
#pragma once

#include "ops/backend.h"

namespace lowbit {

DeviceBytes host_allocate(size_t bytes);
DeviceBytes host_upload(const Bytes& bytes);  // no copy: shares the owner
void host_copy(void* to, const void* from, size_t bytes, Stream);
void host_synchronize(Stream);

// CPU name and total memory; the ISA is the cpu backend's business.
DeviceInfo host_info();

}  // namespace lowbit
