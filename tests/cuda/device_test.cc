#include "cuda/device.h"

#include "cuda/gpu.h"

namespace lowbit {
namespace {

// Runs everywhere: with a GPU the fields make sense, without one there is a reason and no crash.
TEST(CudaDevices, AreDescribedOrTheirAbsenceExplained) {
  std::string why;
  const std::vector<CudaDevice> devices = cuda_devices(&why);
  EXPECT_EQ(devices.empty(), !why.empty()) << why;
  for (const CudaDevice& device : devices) {
    EXPECT_FALSE(device.name.empty());
    EXPECT_GE(device.sm, 50);
    EXPECT_GT(device.multiprocessors, 0);
    EXPECT_GT(device.memory_bytes, uint64_t{1} << 28);
    EXPECT_GT(device.l2_bytes, 0u);
    EXPECT_GE(device.driver_version, 12000);
    EXPECT_GE(device.runtime_version, 12080);
  }
}

TEST(CudaDevices, CanBeAskedAgain) {
  std::string first;
  std::string second;
  EXPECT_EQ(cuda_devices(&first).size(), cuda_devices(&second).size());
  EXPECT_EQ(first, second);
  EXPECT_EQ(cuda_devices().size(), cuda_devices(&first).size());
}

TEST(CudaErrors, SayWhatFailedAndWhere) {
  try {
    LB_CUDA(cudaErrorInvalidValue);
    FAIL() << "no exception";
  } catch (const CudaError& error) {
    EXPECT_EQ(error.code(), cudaErrorInvalidValue);
    EXPECT_FALSE(error.sticky());
    EXPECT_NE(std::string(error.what()).find("cudaErrorInvalidValue"), std::string::npos);
  }
  EXPECT_TRUE(CudaError(cudaErrorIllegalAddress, "").sticky());
}

class CudaBuffer : public GpuTest {};

TEST_F(CudaBuffer, MovesLeaveOneOwner) {
  Buffer a(100);
  void* const data = a.data();
  Buffer b(std::move(a));
  EXPECT_EQ(b.data(), data);
  EXPECT_EQ(b.bytes(), 100u);
  EXPECT_EQ(Buffer().data(), nullptr);
  a = std::move(b);
  EXPECT_EQ(a.data(), data);
}

TEST_F(CudaBuffer, OutOfMemorySaysHowMuchWasWanted) {
  reset_peak_bytes();
  const size_t taken = buffer_bytes().taken;
  try {
    const Buffer huge(size_t{1} << 50);
    FAIL() << "no exception";
  } catch (const OutOfMemory& error) {
    EXPECT_NE(std::string(error.what()).find("1048576.00 GiB wanted"), std::string::npos)
        << error.what();
  }
  EXPECT_EQ(buffer_bytes().peak, taken);
  const Buffer small(1 << 20);  // the context is still good
  EXPECT_NE(small.data(), nullptr);
}

TEST_F(CudaBuffer, AreCountedWithTheMostThatWereThereAtOnce) {
  const size_t before = buffer_bytes().taken;
  reset_peak_bytes();
  {
    Buffer a(1000);
    const Buffer b(2000);
    EXPECT_EQ(buffer_bytes().taken, before + 3000);
    const Buffer moved(std::move(a));
    EXPECT_EQ(buffer_bytes().taken, before + 3000);
  }
  const Buffer c(500);
  EXPECT_EQ(buffer_bytes().taken, before + 500);
  EXPECT_EQ(buffer_bytes().peak, before + 3000);
  reset_peak_bytes();
  EXPECT_EQ(buffer_bytes().peak, before + 500);
}

}  // namespace
}  // namespace lowbit
