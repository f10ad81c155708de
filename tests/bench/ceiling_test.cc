#include "bench/ceiling.h"

#include <gtest/gtest.h>

#include "bench/device_ceiling.h"
#include "bench/fake_device.h"
#include "bench/machine_ceilings.h"

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

class DeviceCeiling : public testing::Test {
 protected:
  void SetUp() override { fakes::fake_device() = {}; }
  void TearDown() override { EXPECT_EQ(fakes::fake_device().marks, 0); }
  Backend backend_ = fakes::device_backend();
};

TEST_F(DeviceCeiling, IsThatOfTheFastestWayToReadByTheDevicesClock) {
  fakes::fake_device().read_rate = 4.5e12;
  const Ceiling ceiling = read_ceiling(backend_, 1'000'000, 0.001);
  EXPECT_NEAR(ceiling.bytes_per_second, 4.5e12, 1e6);
  EXPECT_NEAR(ceiling.median, 4.5e12, 1e6);
  EXPECT_NEAR(static_cast<double>(ceiling.bytes), 1e6, 1024);
}

TEST_F(DeviceCeiling, TakesAQuarterOfTheFreeMemoryAtMost) {
  fakes::fake_device().free = 4 << 20;
  EXPECT_EQ(read_ceiling(backend_, 100 << 20, 0.001).bytes, 1 << 20);
  EXPECT_EQ(fakes::fake_device().largest_read, size_t{1} << 20);
}

TEST_F(DeviceCeiling, OfMultiplyAddsIsThatOfTheFastestKernelThatTheDeviceHas) {
  fakes::fake_device().multiply_rate = 8e14;
  EXPECT_NEAR(compute_ceiling(backend_, Products::kFloat, 0.001), 8e14, 1e9);
  EXPECT_NEAR(compute_ceiling(backend_, Products::kInteger, 0.001), 8e14, 1e9);
  EXPECT_EQ(compute_ceiling(backend_, Products::kFloat8, 0.001), 0);
  EXPECT_EQ(products_of(backend_),
            (std::vector<Products>{Products::kFloat, Products::kInteger, Products::kFloat8}));
}

TEST_F(DeviceCeiling, HasTheDevicesCacheAndMemoryAsLevelsAndIsFoundByItsName) {
  fakes::fake_device().free = 64 << 20;
  fakes::fake_device().multiply_rate = 8e14;
  const Ceilings ceilings = measure_ceilings(backend_, [](std::string_view) {});
  ASSERT_EQ(ceilings.levels.size(), 2u);
  EXPECT_EQ(ceilings.levels[0].name, "L2");
  EXPECT_EQ(ceilings.levels[0].bytes, 40'000'000);
  EXPECT_NEAR(ceilings.levels[1].bytes_per_second, 1e12, 1e6);
  EXPECT_NEAR(ceilings.levels[0].bytes_per_second, 1e12, 1e6);
  EXPECT_NEAR(ceilings.float_flops, 8e14, 1e9);
  EXPECT_NEAR(ceilings.integer_flops, 8e14, 1e9);
  EXPECT_EQ(ceilings.gpu, "Fake GPU");
  EXPECT_EQ(ceilings.float8_flops, 0);
  const Record record = ceilings_record(ceilings, machine_fingerprint());
  EXPECT_EQ(record.fingerprint.gpu, "Fake GPU");
  EXPECT_EQ(ceilings_of(parse_record("test", to_json_line(record))), ceilings);
}

}  // namespace
}  // namespace lowbit
