// Ranges that Nsight Systems and Nsight Compute show (NVTX): `nsys profile lowbit bench ...
// kernel_profile=True`.
#pragma once

namespace lowbit::cuda {

void push_range(const char* name);
void pop_range();

}  // namespace lowbit::cuda
