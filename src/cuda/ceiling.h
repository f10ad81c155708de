// What a GPU can do at most: reading and nothing else, multiplying and nothing else.
#pragma once

#include <cstddef>

#include "ops/args.h"

namespace lowbit::cuda {

// As DeviceRead (ops/device_api.h): ordinary loads, eight of 16 bytes in flight for each thread.
bool plain_read(const void* data, size_t bytes, int32_t repeats, Stream stream);
// The same by bulk copies through a ring in shared memory, of sm_90 on: 192 kB in flight for each
// multiprocessor, which loads cannot have.
bool ring_read(const void* data, size_t bytes, int32_t repeats, Stream stream);

// As DeviceBurst::run: mma.sync from registers.
double burst_bf16(int32_t rounds, Stream stream);
double burst_int8(int32_t rounds, Stream stream);
double burst_float8(int32_t rounds, Stream stream);  // sm_89 on
// wgmma from shared memory: sm_90a alone, where mma.sync does not reach what it does.
double burst_bf16_sm90a(int32_t rounds, Stream stream);
double burst_int8_sm90a(int32_t rounds, Stream stream);
double burst_float8_sm90a(int32_t rounds, Stream stream);

// Whether the code that this device runs of a kernel was made for `sm` or newer: an older one lacks
// what the kernel is about.
bool has_code(const void* kernel, int sm);

}  // namespace lowbit::cuda
