#include "bench/ceiling.h"

#include <gtest/gtest.h>

namespace lowbit {
namespace {

TEST(Ceiling, IsAPlausibleBandwidthForSmallAndLargeWorkingSets) {
  for (const int64_t bytes : {int64_t{1}, int64_t{100'000}, int64_t{50'000'000}}) {
    const Ceiling ceiling = read_ceiling(bytes, 0.01);
    // Slower than any machine that runs this, faster than none.
    EXPECT_GT(ceiling.bytes_per_second, 1e7) << bytes;
    EXPECT_LT(ceiling.bytes_per_second, 1e15) << bytes;
  }
}

TEST(Ceiling, ReadsABufferOfTheWorkingSetsSize) {
  EXPECT_NEAR(static_cast<double>(read_ceiling(8'000'000, 0.01).bytes), 8e6, 1024);
  EXPECT_LE(read_ceiling(int64_t{1} << 50, 0).bytes, int64_t{1} << 30);
}

}  // namespace
}  // namespace lowbit
