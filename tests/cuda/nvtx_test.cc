// Ranges reach a tool that watches the process; no GPU is needed.
#include "cuda/nvtx.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

namespace lowbit {
namespace {

TEST(Nvtx, AToolSeesRangesByTheirNamesInsideEachOther) {
  const auto binary = std::filesystem::read_symlink("/proc/self/exe");
  const std::string path = binary.parent_path() / "libnvtx_tool.so";
  ASSERT_TRUE(std::filesystem::exists(path)) << path << " is built beside this test";
  ASSERT_EQ(::setenv("NVTX_INJECTION64_PATH", path.c_str(), 1), 0);  // read by the first call
  cuda::push_range("decode at 7");
  cuda::push_range("layers.3.qkv");
  cuda::pop_range();
  cuda::pop_range();
  void* tool = ::dlopen(path.c_str(), RTLD_NOW | RTLD_NOLOAD);
  ASSERT_NE(tool, nullptr) << "NVTX did not load the tool";
  using Ranges = const char* (*)();
  const auto ranges = reinterpret_cast<Ranges>(::dlsym(tool, "nvtx_tool_ranges"));
  ASSERT_NE(ranges, nullptr);
  EXPECT_STREQ(ranges(), "(decode at 7(layers.3.qkv))");
}

}  // namespace
}  // namespace lowbit
