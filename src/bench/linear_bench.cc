#include "bench/linear_bench.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/rng.h"
#include "base/thread_pool.h"
#include "base/timer.h"
#include "bench/machine_ceilings.h"
#include "bench/sampling.h"
#include "bench/stats.h"
#include "formats/codec.h"
#include "load/checkpoint.h"

namespace lowbit {
namespace {

constexpr size_t kMostSets = 4096;
constexpr double kSampleSeconds = 200e-6;  // far above what starting threads and the clock take
constexpr const char* kName = "linear";

template <class Timed>
std::vector<double> sample_well(const LinearSampling& sampling, const Timed& timed) {
  std::vector<double> samples;
  sample_until(
      static_cast<size_t>(sampling.min_samples), sampling.max_seconds,
      [&] { samples.push_back(timed()); },
      [&] { return series_estimate(samples).relative_width() <= sampling.ci_width; });
  return samples;
}

// The graph of so many calls, each a launch of its own: a backend may make one of Linears that
// follow each other in a capture, but not across another op, and one of no rows does nothing else.
template <class Call>
GraphHandle captured(const Backend& backend, int64_t calls, const Call& call) {
  const Stream stream = stream_of(backend);
  backend.graph->begin_capture(stream);
  try {
    for (int64_t i = 0; i < calls; ++i) {
      call();
      backend.op.gather_rows({}, stream);
    }
  } catch (...) {
    backend.graph->destroy(backend.graph->end_capture(stream));
    throw;
  }
  return {backend.graph->end_capture(stream), {backend.graph->destroy}};
}

// sample() by a device's clock: graphs of calls, as steps of a model are.
template <class Call>
std::vector<double> sample_device(const Backend& backend, const LinearSampling& sampling,
                                  int64_t cycle, const Call& call) {
  constexpr double kGraphSeconds = 1e-3;
  constexpr int64_t kMostCalls = 8192;
  const DeviceApi& api = *backend.device;
  const Stream stream = stream_of(backend);
  for (int64_t i = 0; i < cycle; ++i) call();  // what kernels need at their first use
  backend.synchronize(stream);
  GraphHandle graph = captured(backend, cycle, call);
  int64_t calls = cycle;
  const auto timed = [&] {
    Mark begin(api), end(api);
    api.hold(100e-6, stream);  // the graph is enqueued when the clock starts
    begin.record(stream);
    backend.graph->launch(graph.get(), stream);
    end.record(stream);
    return begin.seconds_until(end) / static_cast<double>(calls);
  };
  double once = timed();
  for (int i = 0; i < 3; ++i) once = timed();
  const double cycles = kGraphSeconds / (once * static_cast<double>(cycle));
  const auto most = static_cast<double>(std::max<int64_t>(kMostCalls / cycle, 1));
  calls = cycle * static_cast<int64_t>(std::clamp(std::ceil(cycles), 1.0, most));
  graph = captured(backend, calls, call);
  timed();
  return sample_well(sampling, timed);
}

// Of a caller's every call: warm-up, then samples until their median is known well enough. Every
// `cycle` calls the same follow.
template <class Call>
std::vector<double> sample(const Backend& backend, const LinearSampling& sampling, int64_t cycle,
                           const Call& call) {
  if (backend.device && backend.graph) return sample_device(backend, sampling, cycle, call);
  const Stream stream = stream_of(backend);
  const auto timed = [&](int64_t calls) {
    const Timer timer;
    for (int64_t i = 0; i < calls; ++i) call();
    backend.synchronize(stream);
    return timer.seconds() / static_cast<double>(calls);
  };
  constexpr int kWarmUps = 100;  // as torchao's suite, if that does not take too long
  double once = timed(1);
  const Timer warm_up;
  for (int i = 1; i < kWarmUps && warm_up.seconds() < sampling.max_seconds / 10; ++i) {
    once = timed(1);
  }
  const auto calls = static_cast<int64_t>(std::clamp(kSampleSeconds / once, 1.0, 1e4));
  return sample_well(sampling, [&] { return timed(calls); });
}

DeviceTensor copy_of(const Backend& backend, const DeviceTensor& tensor) {
  const Stream stream = stream_of(backend);
  DeviceTensor copy = tensor;
  for (size_t i = 0; i < tensor.planes.size(); ++i) {
    const DeviceBytes& from = tensor.planes[i];
    if (from.size == 0) continue;
    std::vector<std::byte> host(from.size);
    backend.copy_out(host.data(), from.data, from.size, stream);
    copy.planes[i] = backend.allocate(from.size);
    backend.copy_in(copy.planes[i].data, host.data(), host.size(), stream);
  }
  // The view's pointers lie somewhere in the planes.
  for (const void* WeightView::*member :
       {&WeightView::codes, &WeightView::scales, &WeightView::zeros, &WeightView::meta,
        &WeightView::outer}) {
    const auto* at = static_cast<const std::byte*>(tensor.view.*member);
    for (size_t i = 0; at && i < tensor.planes.size(); ++i) {
      const auto* begin = static_cast<const std::byte*>(tensor.planes[i].data);
      if (!begin || at < begin || at >= begin + tensor.planes[i].size) continue;
      copy.view.*member = static_cast<const std::byte*>(copy.planes[i].data) + (at - begin);
    }
  }
  return copy;
}

// Random numbers in a format without scales, as `act` lies in device memory.
void fill(const Backend& backend, const Act& act, int64_t count, uint64_t seed) {
  std::vector<float> values(static_cast<size_t>(count));
  const Rng rng(seed, 1);
  thread_pool().for_ranges(count, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      values[static_cast<size_t>(i)] = rng.gaussian(static_cast<uint64_t>(i));
    }
  });
  std::vector<std::byte> encoded(static_cast<size_t>(row_bytes(format_of(act.format), count)));
  encode_plain(act.format, values.data(), count, encoded.data());
  backend.copy_in(act.data, encoded.data(), encoded.size(), stream_of(backend));
}

Linear load_linear(const Backend& backend, const LinearProblem& p) {
  if (p.choice.format) {
    const std::string reason = cannot_take(*p.choice.format, p.n, p.k);
    if (!reason.empty()) throw_error("{}: {}", name(*p.choice.format), reason);
  }
  LoadOptions options;
  options.policy.all = p.choice;
  options.max_step_tokens = p.m;
  const auto checkpoint = open_checkpoint(fmt::format("synthetic:tiny@{}", p.seed));
  WeightLoader loader(*checkpoint, backend, options);
  const LinearPart part{"linear.weight", p.n, ""};
  return loader.linear(kName, {&part, 1}, p.k);
}

}  // namespace

int64_t cold_bytes(const Backend& backend) {
  constexpr int64_t kLeast = int64_t{256} << 20;  // a guest may see less cache than there is
  const DeviceInfo info = backend.info();
  if (backend.device) return std::max(4 * static_cast<int64_t>(info.cache_bytes), kLeast);
  const std::vector<Level> levels = levels_of_host("/sys/devices/system/cpu", info.threads);
  const int64_t last = levels.size() < 2 ? 0 : levels[levels.size() - 2].bytes;
  return std::max(4 * last, kLeast);
}

std::string too_large(const LinearProblem& p, int64_t cold, int64_t free_bytes) {
  if (free_bytes == 0) return "";
  const double weights = static_cast<double>(p.n) * p.k;
  const double bits = p.choice.format ? p.choice.format->bits_per_weight() : 16;
  // Weights before and after; copies; x as f32 on the host and on the device; y.
  const double needed = weights * (2 + bits / 8) +
                        std::max(static_cast<double>(cold), weights * bits / 8) +
                        4.0 * p.m * (2.0 * p.k + p.n);
  if (needed <= static_cast<double>(free_bytes)) return "";
  return fmt::format("needs about {:.1f} GB of memory; {:.1f} GB are free", needed / 1e9,
                     static_cast<double>(free_bytes) / 1e9);
}

LinearBench::LinearBench(const Backend& backend, const LinearProblem& problem)
    : backend_(backend), problem_(problem) {
  sets_.push_back(load_linear(backend, problem));
  const Linear& w = sets_.front();
  const Format& read = w.input.in(problem.m == 1);
  const size_t bytes = activation_bytes(read, problem.m, problem.k);
  input_ = backend.allocate(bytes);
  act_ =
      ActivationSpace{static_cast<std::byte*>(input_.data), bytes}.as(read, problem.m, problem.k);
  fill(backend, act_.made, int64_t{problem.m} * problem.k, problem.seed);
  output_ = backend.allocate(sizeof(float) * static_cast<size_t>(problem.m) *
                             static_cast<size_t>(problem.n));
  size_t workspace = 0;
  for (const LinearPlan* plan : w.plans()) workspace = std::max(workspace, plan->workspace);
  if (workspace > 0) workspace_ = backend.allocate(workspace);
}

const LinearKernel& LinearBench::kernel() const {
  const Linear& w = weights();
  return w.plan_for(act_.read.format).pick(problem_.m);
}

size_t LinearBench::allocated() const {
  return weights().bytes() + input_.size + output_.size + workspace_.size;
}

void LinearBench::call(const Linear& weights, Trace* trace) {
  Scratch none;
  Exec x{backend_, none, workspace_.data, stream_of(backend_), trace};
  const Act& in = quantized(x, {kName}, act_, problem_.m);
  linear(x, {kName}, weights, in, problem_.m, {static_cast<float*>(output_.data)});
}

std::vector<double> LinearBench::time_warm(const LinearSampling& sampling) {
  return sample(backend_, sampling, 1, [&] { call(weights(), nullptr); });
}

std::vector<double> LinearBench::time_cold(const LinearSampling& sampling, int64_t cold) {
  const size_t bytes = weights().bytes();
  const size_t wanted = (static_cast<size_t>(cold) + bytes - 1) / bytes;
  if (wanted > kMostSets) return {};
  while (sets_.size() < wanted) {
    Linear copy = sets_.front();
    copy.weight = copy_of(backend_, sets_.front().weight);
    sets_.push_back(std::move(copy));
  }
  size_t next = 0;
  return sample(backend_, sampling, static_cast<int64_t>(sets_.size()), [&] {
    call(sets_[next], nullptr);
    next = (next + 1) % sets_.size();
  });
}

}  // namespace lowbit
