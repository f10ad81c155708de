// Prints how long decode attention takes at the size of Llama-3.1-8B; not a test. A graph of
// launches over caches of their own, so that no launch finds its keys in the L2; beside it a plain
// read of as many bytes.
#include <fmt/core.h>

#include <cmath>
#include <cstdlib>

#include "cuda/ceiling.h"
#include "cuda/graph_time.h"
#include "cuda/on_gpu.h"
#include "cuda/ops.h"
#include "kernels/linear_setup.h"

namespace lowbit {
namespace {

constexpr int32_t kHeads = 32, kKvHeads = 8, kDim = 128, kPage = 64, kLaunches = 32;

template <class Body>
double microseconds(const Body& body) {
  return test::graph_microseconds(kLaunches, body);
}

// Random codes under scales near 1: what an arithmetic unit does with them is not timed wrongly by
// NaN, and nothing is encoded on the host.
class Caches {
 public:
  Caches(const char* text, int32_t tokens, int32_t sequences)
      : format_(parse_cache_format(text)), rows_(int64_t{tokens} * sequences * kKvHeads) {
    const QTensor one = build_qtensor(format_, 1, kDim).tensor;
    row_bytes_ = one.bytes();
    codes_ = row_bytes(format_, kDim);
    scales_ = static_cast<int64_t>(one.scales.data.size());
    zeros_ = static_cast<int64_t>(one.zeros.data.size());
    data_ = Buffer(static_cast<size_t>(rows_ * static_cast<int64_t>(row_bytes_) * 2 * kLaunches));
    const std::vector<uint16_t> ones(1 << 20, 0x3c3c);  // 0.011 in bf16, about 1 in f16
    for (size_t at = 0; at < data_.bytes(); at += ones.size() * 2) {
      LB_CUDA(cudaMemcpy(data_.as<char>() + at, ones.data(),
                         std::min(ones.size() * 2, data_.bytes() - at), cudaMemcpyHostToDevice));
    }
    std::vector<int32_t> pages(static_cast<size_t>(tokens / kPage * sequences));
    for (size_t i = 0; i < pages.size(); ++i) {
      pages[i] = static_cast<int32_t>((i * 37 + 11) % pages.size());  // 37: odd, so all occur
    }
    table_ = OnGpu(pages);
    max_pages_ = tokens / kPage;
  }
  KvView view(int layer) const {
    return {act(2 * layer), act(2 * layer + 1), table_.as<int32_t>(), max_pages_, kPage};
  }
  double bytes() const {
    return 2.0 * static_cast<double>(row_bytes_) * static_cast<double>(rows_);
  }
  const void* data(int layer) const {
    return data_.as<char>() + static_cast<int64_t>(row_bytes_) * rows_ * 2 * layer;
  }

 private:
  Act act(int index) const {
    Act act = act_of(format_, kDim);
    char* at = data_.as<char>() + static_cast<int64_t>(row_bytes_) * rows_ * index;
    act.data = at;
    if (scales_ > 0) act.scales = at + codes_ * rows_;
    if (zeros_ > 0) act.zeros = at + (codes_ + scales_) * rows_;
    return act;
  }
  Format format_;
  int64_t rows_, codes_ = 0, scales_ = 0, zeros_ = 0;
  size_t row_bytes_ = 0;
  int32_t max_pages_ = 0;
  Buffer data_;
  OnGpu table_;
};

void measure(const char* format, int32_t context, int32_t sequences) {
  const Caches caches(format, context, sequences);
  constexpr int64_t kWidth = (kHeads + 2 * kKvHeads) * kDim;
  const OnGpu qkv(test::gaussian(sequences * kWidth, 1, 1));
  const OnGpu cos_sin(test::gaussian(int64_t{sequences} * kDim, 1, 2));
  const OnGpu out(std::vector<float>(static_cast<size_t>(sequences) * kHeads * kDim));
  std::vector<int32_t> slots(static_cast<size_t>(sequences));
  for (size_t i = 0; i < slots.size(); ++i) slots[i] = static_cast<int32_t>(i);
  const OnGpu pos(std::vector<int32_t>(slots.size(), context - 1)), slot(slots);
  const auto args = [&](int layer) {
    return AttentionArgs{sequences,
                         kHeads,
                         kKvHeads,
                         kDim,
                         qkv.as<float>(),
                         pos.as<int32_t>(),
                         slot.as<int32_t>(),
                         caches.view(layer),
                         0.088f,
                         {out.as(), nullptr, kHeads * kDim, FormatId::kF32}};
  };
  const double plain = microseconds([&](int layer, Stream s) { cuda::attention(args(layer), s); });
  const double fused = microseconds([&](int layer, Stream s) {
    const RopeAppendArgs rope = {sequences,         kHeads,
                                 kKvHeads,          kDim,
                                 qkv.as<float>(),   cos_sin.as<float>(),
                                 pos.as<int32_t>(), slot.as<int32_t>(),
                                 caches.view(layer)};
    cuda::rope_attention(rope, args(layer), s);
  });
  const double read = microseconds([&](int layer, Stream s) {
    cuda::plain_read(caches.data(layer), static_cast<size_t>(caches.bytes()), 1, s);
  });
  fmt::print(
      "{:<6} context {:>6} x {:<3} {:>8.1f} MB  attention {:>8.2f} us {:>5.0f} GB/s  "
      "with rope {:>8.2f} us  plain read {:>8.2f} us  {:>3.0f} %\n",
      format, context, sequences, caches.bytes() * 1e-6, plain, caches.bytes() * 1e-3 / plain,
      fused, read, 100 * read / plain);
}

}  // namespace
}  // namespace lowbit

// Usage: cuda_attention_speed [format context [sequences] | short]
int main(int argc, char** argv) {
  using lowbit::measure;
  if (lowbit::cuda_devices().empty()) return 0;
  if (argc > 2) {
    measure(argv[1], std::atoi(argv[2]), argc > 3 ? std::atoi(argv[3]) : 1);
    return 0;
  }
  for (const char* format : {"bf16", "int8", "fp8", "int4", "f16", "f32"}) {
    for (const int context : {256, 1024, 8192, 65536}) {
      if (argc > 1 && context > 8192) continue;
      measure(format, context, 1);
    }
  }
  for (const char* format : {"bf16", "int8", "int4"}) {
    for (const int sequences : {4, 16, 32}) measure(format, 1024, sequences);
  }
}
