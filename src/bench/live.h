// Two configurations measured in turns: what slows the machine down for a while slows both of a
// pair, so that a difference shows that two separate runs would hide.
#pragma once

#include <utility>

#include "bench/bench_model.h"

namespace lowbit {

struct LiveOptions {
  double confidence = 0.99;
  double width = 0.01;  // stop when the intervals of the ratios are this narrow
  int32_t min_pairs = 10;
  double max_seconds = 60;
};

// True once the pairs' ratios of ttft and of the decode time are known that well.
bool precise_pairs(std::span<const RunTiming> a, std::span<const RunTiming> b,
                   const LiveOptions& options);

// Each configuration names one model (or none: the embedded one) and one format. Both are loaded
// (and from time to time again), each pair is run in an order drawn at random, and the samples of
// the two records stand in the order of the pairs. Error: what cannot share a process (device,
// threads), or does not decode equally many tokens.
std::pair<Record, Record> measure_live(const BenchConfig& a, const BenchConfig& b,
                                       const Backend& backend, const LiveOptions& options,
                                       BenchListener* listener = nullptr);

}  // namespace lowbit
