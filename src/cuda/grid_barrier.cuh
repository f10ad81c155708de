// A meeting of all CTAs of a kernel.
#pragma once

#include "cuda/ptx.cuh"
#include "cuda/stage.cuh"

namespace lowbit::cuda {

// For kernels of which every CTA is resident. `arrivals` only ever grows, by gridDim.x each time;
// nobody may arrive twice before all have arrived once, so that the first arrival sees where they
// began.
class GridBarrier {
 public:
  __device__ explicit GridBarrier(uint64_t* arrivals) : arrivals_(arrivals) {}

  // By one thread of a CTA, always the same; what those that it is synchronised with wrote counts.
  __device__ void arrive_alone() {
    if (wanted_ == 0) {
      wanted_ = add_released(arrivals_, uint64_t{1});
      wanted_ -= wanted_ % gridDim.x;
    } else {
      add_released(arrivals_);
    }
    wanted_ += gridDim.x;
  }
  // By the same thread: until all have arrived as often; what they wrote before can be read after.
  // (Every load that acquires empties the L1.)
  __device__ void wait_alone() const {
    while (*static_cast<const volatile uint64_t*>(arrivals_) < wanted_) {
    }
    load_acquired(arrivals_);
  }

  // By the kTileThreads that stage.
  __device__ void arrive() {
    sync_stagers();
    if (threadIdx.x == 0) arrive_alone();
  }
  __device__ void wait() const {
    if (threadIdx.x == 0) wait_alone();
    sync_stagers();
  }
  __device__ void meet() {
    arrive();
    wait();
  }

 private:
  uint64_t* arrivals_;
  uint64_t wanted_ = 0;
};

}  // namespace lowbit::cuda
