// One Linear alone, timed: the input rounded where the format says so, then the product.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/activation.h"
#include "models/weights.h"

namespace lowbit {

struct LinearProblem {
  int32_t m = 1, k = 0, n = 0;  // y [m, n] = x [m, k] w [n, k]^T
  LayerChoice choice = {};      // what random bf16 weights become
  uint64_t seed = 0;
};

struct LinearSampling {
  int32_t min_samples = 6;
  double max_seconds = 1, ci_width = 0.02;
};

// Bytes that time_cold() reads weights from: four times the last cache of the device, or of the
// threads of the host, and at least 256 MiB.
int64_t cold_bytes(const Backend& backend);

// "" or why the problem does not fit into the memory that is free: weights as they are quantized,
// those of time_cold(), x and y.
std::string too_large(const LinearProblem& problem, int64_t cold, int64_t free_bytes);

class LinearBench {
 public:
  // Makes weights and input. Error: a shape that the format cannot take, a quantizer that needs
  // calibration, no kernel.
  LinearBench(const Backend& backend, const LinearProblem& problem);
  LinearBench(const LinearBench&) = delete;
  LinearBench& operator=(const LinearBench&) = delete;

  // Seconds of a call, each number the mean of as many calls as take a fifth of a millisecond; on a
  // device of a captured graph of calls of a millisecond, by the device's clock. The input is in
  // the cache in both, as what an op before it has just written.
  // warm: the same weights again and again, so that small ones come from a cache.
  std::vector<double> time_warm(const LinearSampling& sampling);
  // cold: copies of the weights in turn, `cold` bytes of them together. Empty: so small weights
  // that the most copies it makes would stay in a cache.
  std::vector<double> time_cold(const LinearSampling& sampling, int64_t cold);

  void call(const Linear& weights, Trace* trace);
  const Linear& weights() const { return sets_.front(); }
  const std::vector<Linear>& sets() const { return sets_; }  // the weights, and copies of them
  const LinearKernel& kernel() const;
  size_t allocated() const;  // bytes of weights, input, output and workspace, without copies

 private:
  const Backend& backend_;
  LinearProblem problem_;
  std::vector<Linear> sets_;  // the first and its copies
  DeviceBytes input_, output_, workspace_;
  Activation act_{};
};

}  // namespace lowbit
