// Tests of the embedded model on the GPU, skipped where either is absent.
#pragma once

#include <algorithm>

#include "cuda/gpu.h"
#include "load/embedded.h"

namespace lowbit {

inline constexpr const char* kModel = "prose-7m";

class EmbeddedOnGpu : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    const std::vector<std::string> names = embedded_names();
    if (std::find(names.begin(), names.end(), kModel) == names.end()) {
      GTEST_SKIP() << kModel << " is not linked in";
    }
  }
};

}  // namespace lowbit
