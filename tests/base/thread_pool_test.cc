#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

namespace lowbit {
namespace {

TEST(ThreadPool, EveryIndexIsVisitedOnce) {
  for (const int workers : {1, 2, 3, 8}) {
    ThreadPool pool(workers);
    for (const int64_t n : {0, 1, 2, 7, 64, 1000}) {
      for (const int64_t grain : {1, 4, 64}) {
        std::vector<std::atomic<int>> visits(static_cast<size_t>(n));
        pool.for_ranges(n, grain, [&](int64_t begin, int64_t end) {
          EXPECT_EQ(begin % grain, 0);
          for (int64_t i = begin; i < end; ++i) visits[static_cast<size_t>(i)]++;
        });
        for (const auto& count : visits) ASSERT_EQ(count.load(), 1);
      }
    }
  }
}

TEST(ThreadPool, ManyShortRoundsKeepOrder) {
  ThreadPool pool(3);
  int64_t total = 0;
  std::atomic<int64_t> round_sum{0};
  for (int round = 0; round < 5000; ++round) {
    round_sum = 0;
    pool.run([&](int worker) { round_sum += worker + 1; });
    total += round_sum;
  }
  EXPECT_EQ(total, 5000 * 6);
}

}  // namespace
}  // namespace lowbit
