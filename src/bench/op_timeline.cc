#include "bench/op_timeline.h"

#include <nlohmann/json.hpp>

#include "base/timer.h"

namespace lowbit {

void OpTimeline::begin(const OpTag&) { begin_ = now_seconds(); }

void OpTimeline::end(const OpTag& tag, std::string_view kernel, const OpCost& cost) {
  backend_.synchronize(nullptr);
  events_.push_back({tag.text(), std::string(kernel), begin_, now_seconds() - begin_,
                     cost.bytes_read + cost.bytes_written, cost.flops});
}

std::string OpTimeline::chrome_json() const {
  nlohmann::ordered_json json;
  json["displayTimeUnit"] = "ms";
  auto& events = json["traceEvents"] = nlohmann::ordered_json::array();
  for (const Event& e : events_) {
    events.push_back({{"name", e.kernel},
                      {"cat", e.op},
                      {"ph", "X"},
                      {"pid", 0},
                      {"tid", 0},
                      {"ts", (e.begin - events_.front().begin) * 1e6},
                      {"dur", e.seconds * 1e6},
                      {"args", {{"op", e.op}, {"bytes", e.bytes}, {"flops", e.flops}}}});
  }
  return json.dump();
}

}  // namespace lowbit
