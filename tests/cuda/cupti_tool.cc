// A tool as CUDA and NVTX load it (CUDA_INJECTION64_PATH and NVTX_INJECTION64_PATH, both this
// file): when the process ends, one line for each NVTX range whose kernels CUPTI timed is appended
// to the file that LOWBIT_CUPTI_TIMES names:
//   path<TAB>nanoseconds   the ranges around it and its own name, "decode at 7/head"; from the
//   start
//                          of its first kernel to the end of its last
#include <cupti.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "cuda/nvtx_callbacks.h"

namespace {

constexpr size_t kBufferBytes = 8 << 20;
constexpr auto kRanges = CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM0;

struct Span {
  uint64_t start = UINT64_MAX, end = 0;
};

std::mutex mutex;
std::vector<std::string> paths;                          // of ranges, by id
std::unordered_map<uint32_t, uint64_t> range_of_launch;  // by correlation id
std::unordered_map<uint32_t, Span> kernels;              // by correlation id
thread_local std::vector<std::string> open_ranges;

void want_buffer(uint8_t** buffer, size_t* size, size_t* max_records) {
  *buffer = static_cast<uint8_t*>(std::aligned_alloc(8, kBufferBytes));
  *size = *buffer ? kBufferBytes : 0;
  *max_records = 0;
}

void keep(const CUpti_Activity* record) {
  if (record->kind == CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION) {
    const auto* r = reinterpret_cast<const CUpti_ActivityExternalCorrelation*>(record);
    if (r->externalKind == kRanges) range_of_launch[r->correlationId] = r->externalId;
  } else if (record->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) {
    // The fields used are in all versions of the record.
    const auto* r = reinterpret_cast<const CUpti_ActivityKernel9*>(record);
    Span& span = kernels[r->correlationId];  // of a graph: all its kernels
    span.start = std::min<uint64_t>(span.start, r->start);
    span.end = std::max<uint64_t>(span.end, r->end);
  }
}

void take_buffer(CUcontext, uint32_t, uint8_t* buffer, size_t, size_t valid) {
  const std::scoped_lock lock(mutex);
  CUpti_Activity* record = nullptr;
  while (cuptiActivityGetNextRecord(buffer, valid, &record) == CUPTI_SUCCESS) keep(record);
  std::free(buffer);
}

int push(const char* name) {
  open_ranges.push_back(open_ranges.empty() ? name : open_ranges.back() + "/" + name);
  uint64_t id = 0;
  {
    const std::scoped_lock lock(mutex);
    id = paths.size();
    paths.push_back(open_ranges.back());
  }
  cuptiActivityPushExternalCorrelationId(kRanges, id);
  return 0;
}

int pop() {
  if (open_ranges.empty()) return 0;
  open_ranges.pop_back();
  uint64_t last = 0;
  cuptiActivityPopExternalCorrelationId(kRanges, &last);
  return 0;
}

void write_times() {
  cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
  const std::scoped_lock lock(mutex);
  std::map<uint64_t, Span> ranges;
  for (const auto& [launch, kernel] : kernels) {
    const auto range = range_of_launch.find(launch);
    if (range == range_of_launch.end() || range->second >= paths.size()) continue;
    Span& span = ranges[range->second];
    span.start = std::min(span.start, kernel.start);
    span.end = std::max(span.end, kernel.end);
  }
  const char* path = std::getenv("LOWBIT_CUPTI_TIMES");
  std::FILE* file = path && !ranges.empty() ? std::fopen(path, "a") : nullptr;
  if (!file) return;
  for (const auto& [id, span] : ranges) {
    std::fprintf(file, "%s\t%llu\n", paths[id].c_str(),
                 static_cast<unsigned long long>(span.end - span.start));
  }
  std::fclose(file);
}

}  // namespace

extern "C" {

__attribute__((visibility("default"))) int InitializeInjection() {
  bool good = cuptiActivityRegisterCallbacks(want_buffer, take_buffer) == CUPTI_SUCCESS;
  // Ranges are told of launches through the records of API calls.
  for (const CUpti_ActivityKind kind :
       {CUPTI_ACTIVITY_KIND_RUNTIME, CUPTI_ACTIVITY_KIND_DRIVER,
        CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION, CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL}) {
    good = cuptiActivityEnable(kind) == CUPTI_SUCCESS && good;
  }
  if (!good) std::fputs("cupti_tool: error: CUPTI does not time kernels here\n", stderr);
  std::atexit(write_times);
  return 1;
}

__attribute__((visibility("default"))) int InitializeInjectionNvtx2(
    NvtxGetExportTableFunc_t get_table) {
  return lowbit::hear_ranges(get_table, push, pop);
}

}  // extern "C"
