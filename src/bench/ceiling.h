// The roofs that a step works under: how fast this machine reads, and how fast it multiplies.
#pragma once

#include <cstdint>

#include "ops/linear.h"

namespace lowbit {

struct Ceiling {
  double bytes_per_second = 0;
  int64_t bytes = 0;  // of the buffer that was read; the working set unless that is too large
  double median = 0;  // bytes per second of the median pass
};

// Read bandwidth of the host with all threads of the pool over a buffer as large as the working
// set, read again and again, each thread its own part: a set that fits in a cache gets that cache's
// bandwidth, a larger one that of the memory. A ceiling is a bound, so the best pass counts.
// Working sets above 1 GiB or an eighth of the memory are measured at that size. Takes about
// `seconds`.
Ceiling read_ceiling(int64_t bytes, double seconds = 0.3);

// Multiply-adds from registers with all threads of the pool, two operations each, in the widest
// vectors of this CPU; the best pass counts. kInteger: products of 8-bit integers.
double compute_ceiling(Products products, double seconds = 0.2);

}  // namespace lowbit
