// What the GPU tests share: skipping without a GPU, and buffers with poison around their contents.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "cuda/device.h"
#include "cuda/runtime.h"

namespace lowbit {

class GpuTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string why;
    if (cuda_devices(&why).empty()) GTEST_SKIP() << "no GPU: " << why;
  }
};

// Device memory between two guards. Reads of a guard give NaN; guard_intact() finds writes to one.
class Guarded {
 public:
  explicit Guarded(const std::vector<float>& content)
      : count_(content.size()), buffer_((count_ + 2 * kGuard) * sizeof(float)) {
    LB_CUDA(cudaMemset(buffer_.data(), kPoison, buffer_.bytes()));
    LB_CUDA(cudaMemcpy(data(), content.data(), count_ * sizeof(float), cudaMemcpyHostToDevice));
  }
  // Nothing but poison, to be written by a kernel.
  explicit Guarded(size_t count) : count_(count), buffer_((count + 2 * kGuard) * sizeof(float)) {
    LB_CUDA(cudaMemset(buffer_.data(), kPoison, buffer_.bytes()));
  }

  float* data() const { return buffer_.as<float>() + kGuard; }

  std::vector<float> read() const {
    std::vector<float> all = read_all();
    return {all.begin() + kGuard, all.begin() + static_cast<ptrdiff_t>(kGuard + count_)};
  }
  void write(const std::vector<float>& content) const {
    LB_CUDA(cudaMemcpy(data(), content.data(), count_ * sizeof(float), cudaMemcpyHostToDevice));
  }
  bool guard_intact() const {
    const std::vector<float> all = read_all();
    for (size_t i = 0; i < all.size(); ++i) {
      if ((i < kGuard || i >= kGuard + count_) && !is_poison(all[i])) return false;
    }
    return true;
  }
  static bool is_poison(float value) {
    unsigned char bytes[sizeof(float)];
    std::memcpy(bytes, &value, sizeof value);
    for (const unsigned char byte : bytes) {
      if (byte != kPoison) return false;
    }
    return true;
  }

 private:
  static constexpr size_t kGuard = 64;
  static constexpr unsigned char kPoison = 0xff;  // as a float: a NaN

  std::vector<float> read_all() const {
    std::vector<float> all(count_ + 2 * kGuard);
    LB_CUDA(cudaMemcpy(all.data(), buffer_.data(), buffer_.bytes(), cudaMemcpyDeviceToHost));
    return all;
  }

  size_t count_;
  Buffer buffer_;
};

}  // namespace lowbit
