// The keys and values of this step's token, rotated and written to the cache by the CTA whose split
// holds them: what rope_append does, for a token that is alone in its sequence.
#pragma once

#include "cuda/attention.cuh"
#include "cuda/encode.cuh"
#include "cuda/ptx.cuh"

namespace lowbit::cuda {

__device__ inline bool holds_newest(const DecodeItem& item) {
  const int32_t split = (item.context - 1) / kUnitTokens / item.splits.units;
  return split % static_cast<int32_t>(gridDim.x) == static_cast<int32_t>(blockIdx.x);
}

// Not inlined: kernels of every cache would compile the choice of scales again.
static __device__ __noinline__ void store_newest(const Act& cache, int64_t row, const float* x) {
  if (cache.scale != Scale::kNone) return encode_row(view_of(cache), row, x);
  const int64_t d = cache.ld;
  std::byte* to = static_cast<std::byte*>(cache.data) + row * d * view_of(cache).format.bits / 8;
  for (int32_t i = threadIdx.x; i < d; i += blockDim.x) store_plain(cache.format, to, i, x[i]);
}

// By the whole CTA: begun when qkv can be read, so that the numbers are on their way while the
// queries are loaded.
class Newest {
 public:
  __device__ Newest(const DecodeArgs& args, const DecodeItem& item) : args_(args), item_(item) {
    const AttentionArgs& a = args.a;
    const int32_t d = a.head_dim, half = d / 2, i = threadIdx.x;
    static_assert(kMaxHeadDim / 2 <= kDecodeThreads);
    holds_ = args.cos_sin && holds_newest(item);
    if (!holds_ || i >= half) return;
    const int64_t width = int64_t{a.heads + 2 * a.kv_heads} * d;
    const float* k = a.qkv + item.token * width + int64_t{a.heads + item.kv_head} * d;
    const float* v = k + int64_t{a.kv_heads} * d;
    const float* cos_sin = args.cos_sin + int64_t{item.token} * d;
    k_ = {k[i], k[half + i]}, v_ = {v[i], v[half + i]};
    cos_sin_ = {cos_sin[i], cos_sin[half + i]};
  }
  // The CTA may read the rows afterwards; `rows` is shared memory for two.
  __device__ void append(float* rows) const {
    if (!holds_) return;
    const AttentionArgs& a = args_.a;
    const int32_t d = a.head_dim, half = d / 2, i = threadIdx.x;
    if (i < half) {
      const float2 x = rotated(k_.x, k_.y, cos_sin_.x, cos_sin_.y);
      rows[i] = x.x;
      rows[half + i] = x.y;
      rows[d + i] = v_.x;
      rows[d + half + i] = v_.y;
    }
    __syncthreads();
    const int64_t row = kv_row(a.kv, item_.slot, item_.context - 1, item_.kv_head, a.kv_heads);
    store_newest(a.kv.k, row, rows);
    store_newest(a.kv.v, row, rows + d);
#if LB_BULK_COPIES
    fence_before_copies();
#endif
    __syncthreads();
  }

 private:
  const DecodeArgs& args_;
  const DecodeItem& item_;
  bool holds_;
  float2 k_ = {}, v_ = {}, cos_sin_ = {};  // of columns i and head_dim / 2 + i
};

}  // namespace lowbit::cuda
