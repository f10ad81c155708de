// Copies of host memory on the GPU, each between guards, so that a kernel's argument struct can be
// filled as for the host and what it wrote beside its outputs is seen.
#pragma once

#include <algorithm>

#include "cuda/gpu.h"
#include "formats/qtensor.h"
#include "ops/view.h"

namespace lowbit {

class OnGpu {
 public:
  OnGpu() = default;
  explicit OnGpu(std::span<const std::byte> content)
      : bytes_(content.size()), buffer_(content.size() + 2 * kGuard) {
    LB_CUDA(cudaMemset(buffer_.data(), kFill, buffer_.bytes()));
    LB_CUDA(cudaMemcpy(start(), content.data(), content.size(), cudaMemcpyHostToDevice));
  }
  template <class T>
  explicit OnGpu(const std::vector<T>& values) : OnGpu(std::as_bytes(std::span(values))) {}

  template <class T = void>
  T* as() const {
    return bytes_ == 0 ? nullptr : reinterpret_cast<T*>(start());
  }
  // What is there now; a failure if a guard was written to.
  template <class T = std::byte>
  std::vector<T> read() const {
    if (bytes_ == 0) return {};
    std::vector<unsigned char> all(buffer_.bytes());
    LB_CUDA(cudaMemcpy(all.data(), buffer_.data(), all.size(), cudaMemcpyDeviceToHost));
    const auto begin = all.begin() + kGuard, end = begin + static_cast<ptrdiff_t>(bytes_);
    const auto intact = [](unsigned char byte) { return byte == kFill; };
    EXPECT_TRUE(std::all_of(all.begin(), begin, intact) && std::all_of(end, all.end(), intact))
        << "written beside " << bytes_ << " bytes";
    std::vector<T> values(bytes_ / sizeof(T));
    std::memcpy(values.data(), all.data() + kGuard, bytes_);
    return values;
  }
  // As many bytes as were there first.
  void write(std::span<const std::byte> content) const {
    ASSERT_EQ(content.size(), bytes_);
    LB_CUDA(cudaMemcpy(start(), content.data(), content.size(), cudaMemcpyHostToDevice));
  }

 private:
  static constexpr size_t kGuard = 256;
  static constexpr unsigned char kFill = 0xa5;
  std::byte* start() const { return buffer_.as<std::byte>() + kGuard; }

  size_t bytes_ = 0;
  Buffer buffer_;
};

// All planes of a tensor.
class TensorOnGpu {
 public:
  explicit TensorOnGpu(const QTensor& tensor) : tensor_(tensor) {
    for (const Plane plane : kPlanes) {
      if (!tensor.plane(plane).data.empty()) at(plane) = OnGpu(tensor.plane(plane).data);
    }
  }
  Act act() const {
    Act act = act_of(tensor_.format, tensor_.k);
    act.data = at(Plane::kCodes).as();
    act.scales = at(Plane::kScales).as();
    act.zeros = at(Plane::kZeros).as();
    act.outer = at(Plane::kOuter).as();
    return act;
  }
  WeightView weights(WeightView host) const {
    host.codes = at(Plane::kCodes).as();
    host.scales = at(Plane::kScales).as();
    host.zeros = at(Plane::kZeros).as();
    host.meta = at(Plane::kMeta).as();
    host.outer = at(Plane::kOuter).as();
    return host;
  }
  // "" or the first plane that differs from that of `want`, and where.
  std::string differs(const QTensor& want) const {
    for (const Plane plane : kPlanes) {
      const auto got = at(plane).read();
      const std::span<const std::byte> bytes = want.plane(plane).data;
      if (std::ranges::equal(got, bytes)) continue;
      const auto where = std::ranges::mismatch(got, bytes).in1 - got.begin();
      return std::string(name(plane)) + " at byte " + std::to_string(where) + " of " +
             std::to_string(bytes.size());
    }
    return "";
  }

 private:
  OnGpu& at(Plane plane) { return planes_[static_cast<size_t>(plane)]; }
  const OnGpu& at(Plane plane) const { return planes_[static_cast<size_t>(plane)]; }
  QTensor tensor_;
  OnGpu planes_[kPlanes.size()];
};

}  // namespace lowbit
