// Numbers from CTA to CTA within a kernel, without a barrier or a fence: whoever makes a number
// posts it, whoever needs it looks until it is there. A number that has not been posted yet is a
// NaN that no sum of ours can be. There are two sets of places: a launch posts to one and empties
// the other, which the launch after it will use.
#pragma once

#include <stdint.h>

#include "cuda/tiles_args.h"

namespace lowbit::cuda {

constexpr uint32_t kNotPosted = 0xffffffffu;  // what filled_workspace() leaves in a mail

__device__ __forceinline__ void post(float* place, float number) {
  const uint32_t bits = __float_as_uint(number);
  const uint32_t posted = bits == kNotPosted ? 0x7fffffffu : bits;
  asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(place), "r"(posted) : "memory");
}

__device__ __forceinline__ float4 look_at(const float* places) {
  float4 v;
  asm volatile("ld.relaxed.gpu.global.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "l"(places)
               : "memory");
  return v;
}
__device__ __forceinline__ bool all_posted(const float4& v) {
  const auto posted = [](float number) { return __float_as_uint(number) != kNotPosted; };
  return posted(v.x) && posted(v.y) && posted(v.z) && posted(v.w);
}

// v[i]: four neighbours from place `first + i * step` on, those at `end` and beyond being 0.
template <int kCount>
__device__ __forceinline__ void receive(const float* mail, int first, int step, int end,
                                        float4 (&v)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    const int place = first + i * step;
    v[i] = {0, 0, 0, 0};
    if (place < end) v[i] = look_at(mail + place);
  }
  bool missing = true;
  while (missing) {
    missing = false;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if (all_posted(v[i])) continue;
      v[i] = look_at(mail + first + i * step);
      missing = true;
    }
  }
}

__device__ __forceinline__ float receive(const float* place) {
  uint32_t bits;
  do {
    asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(bits) : "l"(place) : "memory");
  } while (bits == kNotPosted);
  return __uint_as_float(bits);
}

// One number, and what its sender wrote before it. The other half of post_after().
__device__ __forceinline__ float receive_with(const float* place) {
  uint32_t bits;
  do {
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(bits) : "l"(place) : "memory");
  } while (bits == kNotPosted);
  return __uint_as_float(bits);
}
// Readers see what the threads that this one is synchronised with have written.
__device__ __forceinline__ void post_after(float* place, float number) {
  __threadfence();
  post(place, number);
}

// This launch's places. Every CTA of every launch that uses a mail makes one of these after
// pdl_wait() and calls leave() in the end, and all launches have grids alike.
class Mail {
 public:
  __device__ explicit Mail(const MailArgs& args)
      : args_(args), departures_(*reinterpret_cast<const volatile uint32_t*>(args.departures)) {}

  __device__ float* at(int place) const { return set() + place; }
  // Once for each CTA, by all threads.
  __device__ void leave() const {
    auto* other = reinterpret_cast<uint4*>(args_.places + (kMailPlaces - (set() - args_.places)));
    for (int i = blockIdx.x * kTileThreads + threadIdx.x; i < kMailPlaces / 4;
         i += gridDim.x * kTileThreads) {
      other[i] = {kNotPosted, kNotPosted, kNotPosted, kNotPosted};
    }
    if (threadIdx.x == 0) atomicInc(args_.departures, 2 * gridDim.x - 1);
  }

 private:
  // CTAs that have left, of this launch and of one before it or none: a whole grid or nobody, and
  // not all of this launch, since this CTA has not.
  __device__ float* set() const {
    return args_.places + (departures_ < gridDim.x ? 0 : kMailPlaces);
  }

  const MailArgs& args_;
  const uint32_t departures_;
};

}  // namespace lowbit::cuda
