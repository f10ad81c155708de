#include "bench/ceiling.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>

#include "base/check.h"
#include "base/thread_pool.h"
#include "base/timer.h"
#include "ops/host_memory.h"

namespace lowbit {
namespace {

constexpr int64_t kBlock = 1024;  // bytes per turn of the loop: eight accumulators, two loads each
constexpr int64_t kLargest = int64_t{1} << 30;
constexpr int64_t kPassBytes = 64 << 20;  // a timed pass reads at least this much

// A vector type lets the compiler use the widest registers that a clone's instruction set has.
using Lanes = uint64_t __attribute__((vector_size(64)));

// Sum of [0, bytes), a multiple of kBlock, of 64-byte aligned memory.
__attribute__((target_clones("avx512f", "avx2", "default"))) uint64_t sum(const std::byte* data,
                                                                          int64_t bytes) {
  Lanes total[8] = {};
  for (int64_t at = 0; at < bytes; at += kBlock) {
    const auto* lanes = reinterpret_cast<const Lanes*>(data + at);
    for (int i = 0; i < 8; ++i) total[i] += lanes[i];
    for (int i = 0; i < 8; ++i) total[i] ^= lanes[8 + i];
  }
  uint64_t result = 0;
  for (const Lanes& lane : total) {
    for (int i = 0; i < 8; ++i) result += lane[i];
  }
  return result;
}

}  // namespace

Ceiling read_ceiling(int64_t bytes, double seconds) {
  LB_CHECK(bytes > 0, "{}", bytes);
  const auto memory = static_cast<int64_t>(host_info().memory_bytes);
  int64_t size = std::min({bytes, kLargest, std::max(memory / 8, int64_t{1} << 20)});
  ThreadPool& pool = thread_pool();
  size = std::max(size / kBlock, int64_t{pool.workers()}) * kBlock;
  const DeviceBytes buffer = host_allocate(static_cast<size_t>(size));
  auto* data = static_cast<std::byte*>(buffer.data);
  // Each thread writes the part it will read: untouched pages would all be the same zero page.
  pool.for_ranges(size, kBlock, [&](int64_t begin, int64_t end) {
    std::memset(data + begin, 1, static_cast<size_t>(end - begin));
  });

  const int64_t repeats = std::max<int64_t>(1, kPassBytes / size);
  std::atomic<uint64_t> sink{0};  // keeps the loop alive
  Ceiling ceiling{0, size};
  const Timer total;
  for (int pass = 0; pass < 4 || total.seconds() < seconds; ++pass) {
    const Timer timer;
    pool.for_ranges(size, kBlock, [&](int64_t begin, int64_t end) {
      uint64_t result = 0;
      for (int64_t i = 0; i < repeats; ++i) {
        result += sum(data + begin, end - begin);
        asm volatile("" ::: "memory");  // the next repeat must read again
      }
      sink.fetch_add(result, std::memory_order_relaxed);
    });
    const double rate = static_cast<double>(size) * static_cast<double>(repeats) / timer.seconds();
    ceiling.bytes_per_second = std::max(ceiling.bytes_per_second, rate);
  }
  return ceiling;
}

}  // namespace lowbit
