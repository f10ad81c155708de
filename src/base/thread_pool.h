// A fixed team of threads for data-parallel loops. The caller is worker 0; the others spin briefly
// and then sleep, so a decode step pays about a microsecond for each fork and join.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace lowbit {

class ThreadPool {
 public:
  explicit ThreadPool(int workers);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int workers() const { return static_cast<int>(threads_.size()) + 1; }

  // Calls body(worker) once on every worker and returns when all are done. `body` must not throw
  // and must not call run() again.
  template <class Body>
  void run(Body&& body) {
    using Callable = std::remove_reference_t<Body>;
    run_raw([](void* context, int worker) { (*static_cast<Callable*>(context))(worker); },
            const_cast<void*>(static_cast<const void*>(&body)));
  }

  // Splits [0, n) into one contiguous range per worker, cut at multiples of `grain`, and calls
  // body(begin, end) for each range that is not empty.
  template <class Body>
  void for_ranges(int64_t n, int64_t grain, Body&& body) {
    const int64_t units = (n + grain - 1) / grain;
    if (workers() == 1 || units <= 1) {
      if (n > 0) body(int64_t{0}, n);
      return;
    }
    const int64_t team = workers();
    run([&](int worker) {
      const int64_t begin = units * worker / team * grain;
      const int64_t end = std::min(n, units * (worker + 1) / team * grain);
      if (begin < end) body(begin, end);
    });
  }

 private:
  using RawBody = void (*)(void* context, int worker);
  void run_raw(RawBody body, void* context);
  void work(int worker);

  std::vector<std::thread> threads_;
  RawBody body_ = nullptr;
  void* context_ = nullptr;
  std::atomic<uint32_t> generation_{0};  // a new value starts a round
  std::atomic<int> pending_{0};          // workers that have not finished the round
  std::atomic<bool> stop_{false};
};

// The team that backends share. Its size is the machine's core count, or what set_threads() said.
ThreadPool& thread_pool();
void set_threads(int workers);  // not while a loop is running; Error if not in [1, 1024]

}  // namespace lowbit
