#include "bench/op_timeline.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/timer.h"
#include "bench/stats.h"

namespace lowbit {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kHoldSeconds = 5e-3;  // hundreds of ops with their marks are enqueued meanwhile
constexpr int kKnownHolds = 64;
constexpr double kKnownSeconds = 4e-6;  // of each

// Microseconds since the first op.
Json slice(std::string_view name, std::string_view category, double begin, double end) {
  return {{"name", name}, {"cat", category}, {"ph", "X"},         {"pid", 0},
          {"tid", 0},     {"ts", begin},     {"dur", end - begin}};
}

}  // namespace

double TimedStep::seconds() const {
  return ops.empty() ? 0 : ops.back().begin + ops.back().seconds - ops.front().begin;
}

void OpTimeline::start_step(std::string name) {
  end_range();
  if (backend_.device && !name.empty()) {
    backend_.device->push_range(name.c_str());
    in_range_ = true;
  }
  steps_.push_back({std::move(name), {}});
}

void OpTimeline::end_range() {
  if (in_range_) backend_.device->pop_range();
  in_range_ = false;
}

void OpTimeline::begin(const OpTag& tag) {
  if (steps_.empty()) start_step("");
  if (!backend_.device) {
    begin_ = now_seconds();
    return;
  }
  const DeviceApi& api = *backend_.device;
  const Stream stream = stream_of(backend_);
  std::vector<TimedOp>& ops = steps_.back().ops;
  if (ops.empty()) api.hold(kHoldSeconds, stream);
  if (!origin_) {
    for (int i = 0; i < kKnownHolds; ++i) {
      known_.push_back({Mark(api), Mark(api)});
      known_.back().begin.record(stream);
      api.hold(kKnownSeconds, stream);
      known_.back().end.record(stream);
    }
    origin_.emplace(api).record(stream);
  }
  api.push_range(tag.text().c_str());
  marked_.push_back({steps_.size() - 1, ops.size(), {Mark(api), Mark(api)}});
  marked_.back().marks.begin.record(stream);
}

void OpTimeline::ran() {
  if (backend_.device) {
    marked_.back().marks.end.record(stream_of(backend_));
    backend_.device->pop_range();
  } else {
    end_ = now_seconds();
  }
}

std::span<const TimedStep> OpTimeline::steps() {
  end_range();
  if (!known_.empty()) {
    std::vector<double> taken;
    for (const Marks& marks : known_) taken.push_back(marks.begin.seconds_until(marks.end));
    mark_seconds_ = std::max(0.0, median(taken) - kKnownSeconds - kKernelEdges);
    known_.clear();
  }
  for (const Marked& marked : marked_) {
    TimedOp& op = steps_[marked.step].ops[marked.op];
    op.begin = origin_->seconds_until(marked.marks.begin);
    op.seconds = std::max(0.0, marked.marks.begin.seconds_until(marked.marks.end) - mark_seconds_);
  }
  marked_.clear();
  return steps_;
}

void OpTimeline::end(const OpTag& tag, std::string_view kernel, const OpCost& cost) {
  steps_.back().ops.push_back({tag.name, std::string(kernel), tag.layer, begin_, end_ - begin_,
                               cost.bytes_read + cost.bytes_written, cost.flops});
}

std::string chrome_json(std::span<const TimedStep> steps, double mark_seconds) {
  Json json;
  json["displayTimeUnit"] = "ms";
  if (mark_seconds > 0) json["otherData"]["event_overhead_us"] = mark_seconds * 1e6;
  Json& events = json["traceEvents"] = Json::array();
  double origin = -1;
  for (const TimedStep& step : steps) {
    if (step.ops.empty()) continue;
    if (origin < 0) origin = step.ops.front().begin;
    const auto begin = [&](const TimedOp& op) { return (op.begin - origin) * 1e6; };
    const auto end = [&](const TimedOp& op) { return (op.begin + op.seconds - origin) * 1e6; };
    if (!step.name.empty()) {
      events.push_back(slice(step.name, "step", begin(step.ops.front()), end(step.ops.back())));
    }
    for (size_t i = 0; i < step.ops.size(); ++i) {
      const TimedOp& op = step.ops[i];
      const bool enters = op.layer >= 0 && (i == 0 || step.ops[i - 1].layer != op.layer);
      if (enters && !step.name.empty()) {
        size_t last = i;
        while (last + 1 < step.ops.size() && step.ops[last + 1].layer == op.layer) ++last;
        events.push_back(
            slice("layers." + std::to_string(op.layer), "layer", begin(op), end(step.ops[last])));
      }
      events.push_back(slice(op.kernel, op.tag(), begin(op), end(op)));
      events.back()["args"] = {{"op", op.tag()}, {"bytes", op.bytes}, {"flops", op.flops}};
    }
  }
  return json.dump();
}

std::string chrome_json(OpTimeline& timeline) {
  const std::span<const TimedStep> steps = timeline.steps();
  return chrome_json(steps, timeline.mark_seconds());
}

}  // namespace lowbit
