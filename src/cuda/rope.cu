// cuda.rope_append: q and k turned in place, k and v into the cache in its format.
// Caches of plain numbers: one block of threads per token. Of codes: one per token and head, heads
// of q, then of k, then of v.
#include "cuda/check.h"
#include "cuda/encode.cuh"
#include "cuda/ops.h"
#include "cuda/rows.cuh"

namespace lowbit::cuda {
namespace {

constexpr int kThreads = 128;

__device__ void append(const Act& cache, int64_t row, const float* x) {
  if (cache.scale != Scale::kNone) return encode_row(view_of(cache), row, x);
  void* out = row_of(cache, row);
  for (int64_t i = threadIdx.x; i < cache.ld; i += kThreads) {
    store_plain(cache.format, out, i, x[i]);
  }
}

// (x[i], x[half + i]) turned; in double, where the products of floats are exact, so that the codes
// of a quantized cache are those of the reference.
__device__ float2 turned(const float* x, const float* cos_sin, int i, int half) {
  const double c = static_cast<double>(cos_sin[i]), s = static_cast<double>(cos_sin[half + i]);
  const double x1 = static_cast<double>(x[i]), x2 = static_cast<double>(x[half + i]);
  return {static_cast<float>(x1 * c - x2 * s), static_cast<float>(x2 * c + x1 * s)};
}
__device__ void rotate(float* x, const float* cos_sin, int half) {
  for (int i = static_cast<int>(threadIdx.x); i < half; i += kThreads) {
    const float2 pair = turned(x, cos_sin, i, half);
    x[i] = pair.x;
    x[half + i] = pair.y;
  }
}

__global__ void __launch_bounds__(kThreads) rope_append_kernel(RopeAppendArgs a) {
  const int64_t t = blockIdx.x;
  const int head = static_cast<int>(blockIdx.y);
  float* x = a.qkv + (t * (a.heads + 2 * a.kv_heads) + head) * a.head_dim;
  const int half = a.head_dim / 2;
  if (head < a.heads + a.kv_heads) rotate(x, a.cos_sin + t * 2 * half, half);
  if (head < a.heads) return;
  __syncthreads();
  const bool is_key = head < a.heads + a.kv_heads;
  const int kv_head = (head - a.heads) % a.kv_heads;
  const int64_t row = kv_row(a.kv, a.slot[t], a.pos[t], kv_head, a.kv_heads);
  append(is_key ? a.kv.k : a.kv.v, row, x);
}

constexpr int kPlainThreads = 512;

__global__ void __launch_bounds__(kPlainThreads) rope_append_plain_kernel(RopeAppendArgs a) {
  const int64_t t = blockIdx.x;
  const int d = a.head_dim, half = d / 2, turned_heads = a.heads + a.kv_heads;
  float* x = a.qkv + t * (a.heads + 2 * a.kv_heads) * d;
  const float* cos_sin = a.cos_sin + t * d;
  const int64_t row = kv_row(a.kv, a.slot[t], a.pos[t], 0, a.kv_heads);
  const auto cached = [&](const Act& cache, int kv_head) {
    return row_of(cache, row + int64_t{kv_head} * a.kv.page_tokens);
  };
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x); i < turned_heads * half; i += kPlainThreads) {
    const int head = i / half, at = i % half;
    const float2 pair = turned(x + head * d, cos_sin, at, half);
    x[head * d + at] = pair.x;
    x[head * d + half + at] = pair.y;
    if (head < a.heads) continue;
    void* out = cached(a.kv.k, head - a.heads);
    store_plain(a.kv.k.format, out, at, pair.x);
    store_plain(a.kv.k.format, out, half + at, pair.y);
  }
  for (int i = static_cast<int>(threadIdx.x); i < a.kv_heads * d; i += kPlainThreads) {
    store_plain(a.kv.v.format, cached(a.kv.v, i / d), i % d, x[turned_heads * d + i]);
  }
}

}  // namespace

void rope_append(const RopeAppendArgs& a, Stream stream) {
  if (a.tokens_count == 0) return;
  const auto tokens = static_cast<unsigned>(a.tokens_count);
  if (a.kv.k.scale == Scale::kNone) {
    rope_append_plain_kernel<<<tokens, kPlainThreads, 0, static_cast<cudaStream_t>(stream)>>>(a);
  } else {
    const dim3 grid(tokens, static_cast<unsigned>(a.heads + 2 * a.kv_heads));
    rope_append_kernel<<<grid, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(a);
  }
  LB_CUDA(cudaGetLastError());
}

}  // namespace lowbit::cuda
