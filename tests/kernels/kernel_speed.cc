// Speed of every cpu kernel row on this machine: weights read per second for one token, with weight
// sets that exceed the last-level cache in turn, beside plain reads of the same memory; and
// arithmetic for 128 tokens. Usage: kernel_speed [n] [k] [name filter] [threads] [format]
#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/rng.h"
#include "base/thread_pool.h"
#include "base/timer.h"
#include "bench/ceiling.h"
#include "bench/linear_cases.h"
#include "cpu/backend.h"
#include "ops/view.h"

namespace lowbit {
namespace {

constexpr int64_t kColdBytes = 256u << 20;  // far above any L3 that a few cores share
constexpr double kSeconds = 0.4;            // spent on each figure

constexpr const char* kFormats[] = {
    "f32",         "f16",      "bf16",         "int8",       "int8-g64", "int8-asym", "q8_0",
    "int7",        "int6",     "int5",         "q5_1",       "int4",     "int4-sym",  "int4-asym",
    "int4-g32",    "int4-g8",  "int4-row",     "int4-rzero", "q4_0",     "q4_1",      "int3",
    "int2",        "int2-g8",  "int1",         "int1-asym",  "ternary",  "ternary5",  "fp8",
    "fp8-e5m2",    "fp8-g128", "fp8-b128x128", "mxfp8",      "fp6",      "fp6-e2m3",  "mxfp6",
    "fp5",         "fp4",      "fp4-e3m0",     "mxfp4",      "nvfp4",    "fp3",       "int4-24",
    "int4-sym-24", "int8-24",  "fp8-24",       "q6_k",       "q5_k",     "q4_k",      "q3_k",
    "q2_k",        "tq2_0",    "tq1_0",        "qqq",        "codebook"};

// The shortest of the calls body(0), body(1), ... body(count - 1), body(0), ... made within
// kSeconds: a machine that is busy with something else now and then does not change it.
template <class Body>
double best_seconds(size_t count, const Body& body) {
  double best = 1e9;
  const Timer total;
  for (size_t i = 0; total.seconds() < kSeconds || i < count; ++i) {
    const Timer timer;
    body(i % count);
    best = std::min(best, timer.seconds());
  }
  return best;
}

// Random codes; scales of 1 (the speed does not depend on them).
QTensor any_weights(const Format& format, int64_t n, int64_t k, uint64_t seed) {
  QTensorBuilder w = build_qtensor(format, n, k);
  const Rng rng(seed);
  for (size_t i = 0; i + 8 <= w.tensor.codes.data.size(); i += 8) {
    const uint64_t word = rng.bits(i) & 0x3f3f3f3f3f3f3f3f;  // finite in every format
    std::memcpy(w.codes + i, &word, sizeof word);
  }
  for (size_t i = 0; i < w.tensor.scales.data.size() * 8 / std::max(1, format.scale_bits()); ++i) {
    if (format.quantized()) store_scale(format.scale, w.scales, static_cast<int64_t>(i), 1);
  }
  return w.tensor;
}

void measure(const LinearKernel& kernel, const Format& format, int32_t n, int32_t k) {
  std::vector<QTensor> sets;
  int64_t bytes = 0;
  while (bytes < kColdBytes) {
    sets.push_back(any_weights(format, n, k, sets.size()));
    bytes += static_cast<int64_t>(sets.back().bytes());
  }
  constexpr int32_t kTokens = 128;
  std::vector<float> x(static_cast<size_t>(kTokens) * k, 1.0f), y(static_cast<size_t>(kTokens) * n);
  const LinearSpec spec{format, format_of(FormatId::kF32), n, k, false, kTokens};
  std::vector<float> workspace(kernel.workspace ? kernel.workspace(spec) / sizeof(float) : 0);
  const auto run = [&](int32_t m, const QTensor& w) {
    kernel.launch({.m = m,
                   .n = n,
                   .k = k,
                   .x = {x.data(), nullptr, k, FormatId::kF32},
                   .w = view(w),
                   .bias = nullptr,
                   .y = y.data(),
                   .ldy = n,
                   .epilogue = Epilogue::kStore,
                   .workspace = workspace.data()},
                  nullptr);
  };
  // Beside each figure, since other work on the machine changes both.
  const double bandwidth = read_ceiling(kColdBytes, kSeconds).bytes_per_second;
  const double decode = best_seconds(sets.size(), [&](size_t i) { run(1, sets[i]); });
  const double warm = best_seconds(1, [&](size_t) { run(1, sets[0]); });
  const double prefill = best_seconds(1, [&](size_t) { run(kTokens, sets[0]); });
  const double rate = static_cast<double>(sets[0].bytes()) / decode;
  fmt::print("{:<29} {:<14} {:>7.2f} GB/s {:>5.0f} % {:>9.1f} us {:>7.2f} warm {:>8.1f} GFLOP/s\n",
             kernel.name, name(format), rate * 1e-9, 100 * rate / bandwidth, decode * 1e6,
             static_cast<double>(sets[0].bytes()) / warm * 1e-9,
             2.0 * kTokens * n * k / prefill * 1e-9);
  std::fflush(stdout);
}

int run(int argc, char** argv) {
  const int32_t n = argc > 1 ? std::atoi(argv[1]) : 4096, k = argc > 2 ? std::atoi(argv[2]) : 4096;
  const std::string filter = argc > 3 ? argv[3] : "";
  if (argc > 4) set_threads(std::atoi(argv[4]));
  const std::string wanted = argc > 5 ? argv[5] : "";
  const double bandwidth = read_ceiling(kColdBytes, kSeconds).bytes_per_second;
  const DeviceInfo device = cpu_backend().info();
  fmt::print("{}, {} threads, plain reads {:.2f} GB/s, n {} k {}\n", device.name, device.threads,
             bandwidth * 1e-9, n, k);
  for (const LinearKernel& kernel : cpu_backend().linear_kernels) {
    if (kernel.name.find(filter) == std::string::npos) continue;
    if (!kernel.activations(format_of(FormatId::kF32))) continue;
    if (kernel.reject && !kernel.reject({}, device).empty()) continue;
    if (kernel.name.find("baseline") != std::string::npos && filter.empty()) continue;  // minutes
    for (const char* text : kFormats) {
      const Format format = parse_format(text);
      if (!wanted.empty() && wanted != text) continue;
      if (kernel.weights(format)) measure(kernel, format, n, k);
    }
  }
  return 0;
}

}  // namespace
}  // namespace lowbit

int main(int argc, char** argv) { return lowbit::run(argc, argv); }
