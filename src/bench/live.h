// Two configurations measured in turns: what slows the machine down for a while slows both of a
// pair, so that a difference shows that two separate runs would hide.
#pragma once

#include <functional>
#include <span>
#include <string_view>
#include <utility>

#include "bench/bench_model.h"

namespace lowbit {

struct LiveOptions {
  double confidence = 0.99;
  double width = 0.01;  // stop when the intervals of the ratios are this narrow
  int32_t min_pairs = 10;
  double max_seconds = 60;
  std::function<void(std::string_view)> on_phase = [](std::string_view) {};
};

// True once the pairs' ratios of ttft and of the decode time are known that well.
bool precise_pairs(std::span<const RunTiming> a, std::span<const RunTiming> b,
                   const LiveOptions& options);

// Both are loaded (and from time to time again), each pair is run in an order drawn at random, and
// the samples of the two records stand in the order of the pairs. Error: what cannot share a
// process (device, threads), or only one of them decodes.
std::pair<Record, Record> measure_live(const BenchCase& a, const BenchCase& b,
                                       const Backend& backend, const LiveOptions& options);

}  // namespace lowbit
