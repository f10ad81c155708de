#include "bench/ceiling.h"

#include <immintrin.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/thread_pool.h"
#include "base/timer.h"
#include "ops/host_memory.h"

namespace lowbit {
namespace {

constexpr int64_t kBlock = 1024;  // bytes per turn of the loop: four accumulators, four loads each
constexpr int64_t kLargest = int64_t{1} << 30;
constexpr int64_t kPassBytes = 64 << 20;  // a timed pass reads at least this much

// A vector type lets the compiler use the widest registers that a clone's instruction set has.
using Lanes = uint64_t __attribute__((vector_size(64)));

// Sum of [0, bytes), a multiple of kBlock, of 64-byte aligned memory.
__attribute__((target_clones("avx512f", "avx2", "default"))) uint64_t sum(const std::byte* data,
                                                                          int64_t bytes) {
  Lanes a = {}, b = {}, c = {}, d = {};
  for (int64_t at = 0; at < bytes; at += kBlock) {
    const auto* lanes = reinterpret_cast<const Lanes*>(data + at);
    a += lanes[0], b += lanes[1], c += lanes[2], d += lanes[3];
    a ^= lanes[4], b ^= lanes[5], c ^= lanes[6], d ^= lanes[7];
    a += lanes[8], b += lanes[9], c += lanes[10], d += lanes[11];
    a ^= lanes[12], b ^= lanes[13], c ^= lanes[14], d ^= lanes[15];
  }
  const Lanes total = (a + b) ^ (c + d);
  uint64_t result = 0;
  for (int i = 0; i < 8; ++i) result += total[i];
  return result;
}

constexpr int64_t kAhead = 2048;  // bytes from a load to the prefetch beside it
constexpr int kStreams = 4;

// The same sum over [0, bytes) of kStreams parts at once, asking for what comes next: past what the
// hardware's prefetchers alone reach where the memory is slower than a core.
__attribute__((target_clones("avx512f", "avx2", "default"))) uint64_t sum_streams(
    const std::byte* data, int64_t bytes) {
  const int64_t part = bytes / kStreams / kBlock * kBlock;
  Lanes sums[kStreams] = {};
  for (int64_t at = 0; at < part; at += 128) {
    for (int s = 0; s < kStreams; ++s) {
      const std::byte* from = data + s * part + at;
      const auto* lanes = reinterpret_cast<const Lanes*>(from);
      __builtin_prefetch(from + kAhead, 0, 2);  // into L2
      __builtin_prefetch(from + kAhead + 64, 0, 2);
      sums[s] += lanes[0];
      sums[s] ^= lanes[1];
    }
  }
  const Lanes total = (sums[0] + sums[1]) ^ (sums[2] + sums[3]);
  uint64_t result = sum(data + kStreams * part, bytes - kStreams * part);
  for (int i = 0; i < 8; ++i) result += total[i];
  return result;
}

// ---- multiply-adds from registers ---------------------------------------------------------------

constexpr int64_t kRounds = 1 << 14;  // of a burst: tens of microseconds
// Sums that do not wait for each other, as many as latency times units. They start apart, or the
// compiler would see that they are equal.
using Chains = std::make_index_sequence<12>;
constexpr double kBurst = 2.0 * kRounds * Chains::size();  // operations per lane

struct Burst {
  double operations;  // of one call
  float (*run)();     // returns what keeps the sums alive
};

template <size_t... I>
__attribute__((target("avx512f"))) float float512(std::index_sequence<I...>) {
  __m512 sums[] = {_mm512_set1_ps(I)...};
  const __m512 a = _mm512_set1_ps(0.5F), b = _mm512_set1_ps(0.25F);
  for (int64_t i = 0; i < kRounds; ++i) ((sums[I] = _mm512_fmadd_ps(sums[I], a, b)), ...);
  return (sums[I][0] + ...);
}

template <size_t... I>
__attribute__((target("avx2,fma"))) float float256(std::index_sequence<I...>) {
  __m256 sums[] = {_mm256_set1_ps(I)...};
  const __m256 a = _mm256_set1_ps(0.5F), b = _mm256_set1_ps(0.25F);
  for (int64_t i = 0; i < kRounds; ++i) ((sums[I] = _mm256_fmadd_ps(sums[I], a, b)), ...);
  return (sums[I][0] + ...);
}

template <size_t... I>
float float128(std::index_sequence<I...>) {
  __m128 sums[] = {_mm_set1_ps(I)...};
  const __m128 a = _mm_set1_ps(0.5F), b = _mm_set1_ps(0.25F);
  for (int64_t i = 0; i < kRounds; ++i) {
    ((sums[I] = _mm_add_ps(_mm_mul_ps(sums[I], a), b)), ...);
  }
  return (sums[I][0] + ...);
}

template <size_t... I>
__attribute__((target("avx512f,avx512vnni"))) float integer512(std::index_sequence<I...>) {
  __m512i sums[] = {_mm512_set1_epi32(I)...};
  const __m512i a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(1);
  for (int64_t i = 0; i < kRounds; ++i) ((sums[I] = _mm512_dpbusd_epi32(sums[I], a, b)), ...);
  return static_cast<float>((sums[I][0] + ...));
}

// Pairs of products in 16 bits, as long as those hold them: the least that AVX2 needs.
template <size_t... I>
__attribute__((target("avx2"))) float integer256(std::index_sequence<I...>) {
  __m256i sums[] = {_mm256_set1_epi8(I)...};
  const __m256i a = _mm256_set1_epi8(3);
  for (int64_t i = 0; i < kRounds; ++i) {
    ((sums[I] = _mm256_add_epi16(sums[I], _mm256_maddubs_epi16(sums[I], a))), ...);
  }
  return static_cast<float>((sums[I][0] + ...));
}

// What this CPU has.
std::vector<Burst> bursts(Products products) {
  std::vector<Burst> list = {{kBurst * 4, [] { return float128(Chains()); }}};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    list.push_back({kBurst * 8, [] { return float256(Chains()); }});
  }
  if (__builtin_cpu_supports("avx512f")) {
    list.push_back({kBurst * 16, [] { return float512(Chains()); }});
  }
  if (products == Products::kFloat) return list;
  if (__builtin_cpu_supports("avx2")) {
    list.push_back({kBurst * 32, [] { return integer256(Chains()); }});
  }
  if (__builtin_cpu_supports("avx512vnni")) {
    list.push_back({kBurst * 64, [] { return integer512(Chains()); }});
  }
  return list;
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
  uint64_t (*const ways[])(const std::byte*, int64_t) = {sum, sum_streams};
  std::vector<double> rates[std::size(ways)];
  const Timer total;
  for (size_t pass = 0; pass < 8 || total.seconds() < seconds; ++pass) {
    const size_t way = pass % std::size(ways);
    const Timer timer;
    pool.for_ranges(size, kBlock, [&](int64_t begin, int64_t end) {
      uint64_t result = 0;
      for (int64_t i = 0; i < repeats; ++i) {
        result += ways[way](data + begin, end - begin);
        asm volatile("" ::: "memory");  // the next repeat must read again
      }
      sink.fetch_add(result, std::memory_order_relaxed);
    });
    const double rate = static_cast<double>(size) * static_cast<double>(repeats) / timer.seconds();
    rates[way].push_back(rate);
  }
  for (std::vector<double>& of : rates) {
    std::sort(of.begin(), of.end());
    if (of.back() <= ceiling.bytes_per_second) continue;
    ceiling.bytes_per_second = of.back();
    ceiling.median = of[of.size() / 2];
  }
  return ceiling;
}

double compute_ceiling(Products products, double seconds) {
  constexpr int kBursts =
      64;  // of a pass: milliseconds, so that starting the threads costs nothing
  ThreadPool& pool = thread_pool();
  std::atomic<float> sink{0};
  double best = 0;
  const std::vector<Burst> list = bursts(products);
  for (const Burst& burst : list) {
    const Timer total;
    for (int pass = 0; pass < 4 || total.seconds() < seconds / static_cast<double>(list.size());
         ++pass) {
      const Timer timer;
      pool.run([&](int) {
        float last = 0;
        for (int i = 0; i < kBursts; ++i) last += burst.run();
        sink.store(last, std::memory_order_relaxed);
      });
      best = std::max(best, burst.operations * kBursts * pool.workers() / timer.seconds());
    }
  }
  return best;
}

}  // namespace lowbit
