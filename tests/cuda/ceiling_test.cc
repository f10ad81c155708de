#include "cuda/ceiling.h"

#include "bench/device_ceiling.h"
#include "cuda/backend.h"
#include "cuda/gpu.h"

namespace lowbit {
namespace {

class CudaCeiling : public GpuTest {};

// No GPU reads 40 TB/s from its memory or 100 from its cache, and none of those we know is as slow
// as the lower bounds: a read that is left out by the compiler, or cut short, would show.
TEST_F(CudaCeiling, ReadsAtAPlausibleRateFromMemoryAndFasterFromTheCache) {
  const Backend& gpu = cuda_backend();
  const Ceiling memory = read_ceiling(gpu, int64_t{2} << 30, 0.1);
  const Ceiling cache = read_ceiling(gpu, 8 << 20, 0.1);
  EXPECT_GT(memory.bytes_per_second, 1e11);
  EXPECT_LT(memory.bytes_per_second, 4e13);
  EXPECT_GT(cache.bytes_per_second, memory.bytes_per_second);
  EXPECT_LT(cache.bytes_per_second, 1e14);
  EXPECT_GT(memory.median, 0.8 * memory.bytes_per_second);
}

// Of those kinds that the device has; a burst that did nothing would be faster than any GPU.
TEST_F(CudaCeiling, MultipliesAtAPlausibleRate) {
  const Backend& gpu = cuda_backend();
  const double floats = compute_ceiling(gpu, Products::kFloat, 0.05);
  const double integers = compute_ceiling(gpu, Products::kInteger, 0.05);
  const double float8 = compute_ceiling(gpu, Products::kFloat8, 0.05);
  EXPECT_GT(floats, 1e13);
  EXPECT_GE(integers, floats);
  for (const double rate : {floats, integers, float8}) EXPECT_LT(rate, 2e16);
  EXPECT_EQ(float8 > 0, gpu.info().sm >= 89);
}

// Both ways read everything: twice as much takes about twice as long.
TEST_F(CudaCeiling, EveryWayToReadTakesLongerForMore) {
  const Backend& gpu = cuda_backend();
  const DeviceBytes buffer = gpu.allocate(size_t{1} << 30);
  const auto seconds = [&](DeviceRead read, size_t bytes, int32_t repeats) {
    double best = 1;
    for (int i = 0; i < 5; ++i) {
      Mark begin(*gpu.device), end(*gpu.device);
      begin.record(gpu.stream());
      if (!read(buffer.data, bytes, repeats, gpu.stream())) return 0.0;
      end.record(gpu.stream());
      best = std::min(best, begin.seconds_until(end));
    }
    return best;
  };
  for (const DeviceRead read : gpu.device->reads) {
    const double half = seconds(read, size_t{1} << 29, 4),
                 whole = seconds(read, size_t{1} << 30, 4);
    if (whole == 0) continue;
    EXPECT_NEAR(whole / half, 2, 0.3);
    EXPECT_NEAR(seconds(read, size_t{1} << 30, 8) / whole, 2, 0.3);
    EXPECT_GT(seconds(read, (size_t{1} << 29) + 48, 1), 0);  // a ragged end
  }
}

}  // namespace
}  // namespace lowbit
