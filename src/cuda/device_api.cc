#include "cuda/device_api.h"

#include "cuda/ceiling.h"
#include "cuda/hold.h"
#include "cuda/nvtx.h"
#include "cuda/runtime.h"

namespace lowbit::cuda {
namespace {

DeviceMemory memory() {
  DeviceMemory memory;
  const BufferBytes buffers = buffer_bytes();
  memory.taken = buffers.taken;
  memory.peak = buffers.peak;
  LB_CUDA(cudaMemGetInfo(&memory.free, &memory.total));
  memory.free += buffers.kept;
  return memory;
}

cudaEvent_t event_of(void* mark) { return static_cast<cudaEvent_t>(mark); }

void* make_mark() {
  cudaEvent_t event = nullptr;
  LB_CUDA(cudaEventCreate(&event));
  return event;
}

void record_mark(void* mark, Stream stream) {
  LB_CUDA(cudaEventRecord(event_of(mark), static_cast<cudaStream_t>(stream)));
}

double seconds_between(void* first, void* second) {
  float milliseconds = 0;
  LB_CUDA(cudaEventSynchronize(event_of(first)));
  LB_CUDA(cudaEventSynchronize(event_of(second)));
  LB_CUDA(cudaEventElapsedTime(&milliseconds, event_of(first), event_of(second)));
  return double{milliseconds} * 1e-3;
}

// An error here is one that the next checked call reports.
void destroy_mark(void* mark) { cudaEventDestroy(event_of(mark)); }

constexpr DeviceRead kReads[] = {plain_read, ring_read};

constexpr DeviceBurst kBursts[] = {
    {Products::kFloat, burst_bf16},          {Products::kInteger, burst_int8},
    {Products::kFloat8, burst_float8},
#ifdef LB_CUDA_SM90A
    {Products::kFloat, burst_bf16_sm90a},    {Products::kInteger, burst_int8_sm90a},
    {Products::kFloat8, burst_float8_sm90a},
#endif
};

}  // namespace

const DeviceApi& device_api() {
  static constexpr DeviceApi kApi = {.memory = memory,
                                     .reset_peak = reset_peak_bytes,
                                     .make_mark = make_mark,
                                     .record_mark = record_mark,
                                     .seconds_between = seconds_between,
                                     .destroy_mark = destroy_mark,
                                     .hold = hold,
                                     .push_range = push_range,
                                     .pop_range = pop_range,
                                     .reads = kReads,
                                     .bursts = kBursts};
  return kApi;
}

}  // namespace lowbit::cuda
