#include "base/thread_pool.h"

#include <sched.h>

#include "base/check.h"

namespace lowbit {
namespace {

constexpr int kSpins = 2000;  // a few microseconds: longer than the gap between two ops of a step

void relax() { __builtin_ia32_pause(); }

int default_workers() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

std::unique_ptr<ThreadPool>& shared_pool() {
  static std::unique_ptr<ThreadPool> pool = std::make_unique<ThreadPool>(default_workers());
  return pool;
}

}  // namespace

ThreadPool::ThreadPool(int workers) {
  LB_CHECK(workers >= 1, "workers = {}", workers);
  threads_.reserve(static_cast<size_t>(workers - 1));
  for (int worker = 1; worker < workers; ++worker) {
    threads_.emplace_back([this, worker] { work(worker); });
  }
}

ThreadPool::~ThreadPool() {
  stop_.store(true, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::run_raw(RawBody body, void* context) {
  body_ = body;
  context_ = context;
  pending_.store(static_cast<int>(threads_.size()), std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  body(context, 0);
  for (int spin = 0;; ++spin) {
    const int pending = pending_.load(std::memory_order_acquire);
    if (pending == 0) return;
    spin < kSpins ? relax() : pending_.wait(pending, std::memory_order_acquire);
  }
}

void ThreadPool::work(int worker) {
  uint32_t seen = 0;
  while (true) {
    for (int spin = 0; generation_.load(std::memory_order_acquire) == seen; ++spin) {
      spin < kSpins ? relax() : generation_.wait(seen, std::memory_order_acquire);
    }
    ++seen;
    if (stop_.load(std::memory_order_relaxed)) return;
    body_(context_, worker);
    if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) pending_.notify_one();
  }
}

ThreadPool& thread_pool() { return *shared_pool(); }

void set_threads(int workers) {
  if (workers < 1 || workers > 1024) throw_error("threads = {}: must be 1 to 1024", workers);
  if (workers != thread_pool().workers()) shared_pool() = std::make_unique<ThreadPool>(workers);
}

}  // namespace lowbit
