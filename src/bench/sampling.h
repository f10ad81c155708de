// When to stop taking samples.
#pragma once

#include <cstddef>

#include "base/timer.h"

namespace lowbit {

// take() until there are `least` samples and precise() says that they are enough, or `seconds` are
// over; at least once. precise() is asked after every 5 % more.
template <class Take, class Precise>
void sample_until(size_t least, double seconds, const Take& take, const Precise& precise) {
  size_t taken = 0, next_look = least;
  const Timer timer;
  do {
    take();
    if (++taken < next_look) continue;
    if (precise()) return;
    next_look = taken + 1 + taken / 20;
  } while (timer.seconds() < seconds);
}

}  // namespace lowbit
