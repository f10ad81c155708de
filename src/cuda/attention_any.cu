// cuda.attention.any: one token against its own context, any cache, any even head size up to 256.
//   grid (splits, kv heads x chunks, tokens), eight warps; a warp reads a token's row at a time.
// A lane has columns 4 lane .. 4 lane + 3 (and the same 128 on) of K, V and up to four query heads.
// The dot products of eight tokens and four heads are 32 sums over lanes: adding and handing over
// half of them five times leaves one sum to each lane, in 31 shuffles. All arithmetic is f32.
// Bytes moved: the live rows of the cache, once for every chunk of up to 4 query heads. Caches in
// f32 are read in vectors; others one number at a time, through the codec.
#include "cuda/attention.cuh"
#include "cuda/attention_append.cuh"
#include "cuda/check.h"
#include "cuda/pdl.cuh"

namespace lowbit::cuda {
namespace {

constexpr int kTokens = 8;  // that a warp has in registers

struct Shared {
  union {
    struct {
      float queries[kMergedHeads * kMaxHeadDim], newest[2 * kMaxHeadDim];
    };
    float sums[kDecodeWarps * kMergedHeads * kMaxHeadDim];
  };
  float2 tops[kDecodeWarps * kMergedHeads];
};

// Readers of a cache row: up to four numbers from column `i` on, zeros behind the row's end.
struct FloatRows {
  const float* data;
  int32_t head_dim;
  __device__ explicit FloatRows(const Act& cache, int32_t d)
      : data(static_cast<const float*>(cache.data)), head_dim(d) {}
  __device__ float4 operator()(int64_t row, int32_t i) const {
    if (i >= head_dim) return {};
    return *reinterpret_cast<const float4*>(data + row * head_dim + i);
  }
};
// Not inlined: 16 copies of the codec in a kernel take nvcc minutes.
__device__ __noinline__ float4 decoded(const PlanesView& planes, int64_t row, int32_t i,
                                       int32_t head_dim) {
  float x[4] = {};
  for (int j = 0; j < 4 && i + j < head_dim; ++j) x[j] = load_f32(planes, row, i + j);
  return {x[0], x[1], x[2], x[3]};
}
struct CodedRows {
  PlanesView planes;
  int32_t head_dim;
  __device__ explicit CodedRows(const Act& cache, int32_t d)
      : planes(view_of(cache)), head_dim(d) {}
  __device__ float4 operator()(int64_t row, int32_t i) const {
    return decoded(planes, row, i, head_dim);
  }
};

__device__ __forceinline__ float dot(float4 a, float4 b, float sum) {
  return fmaf(a.x, b.x, fmaf(a.y, b.y, fmaf(a.z, b.z, fmaf(a.w, b.w, sum))));
}
__device__ __forceinline__ void add_scaled(float4& sum, float factor, float4 x) {
  sum.x = fmaf(factor, x.x, sum.x);
  sum.y = fmaf(factor, x.y, sum.y);
  sum.z = fmaf(factor, x.z, sum.z);
  sum.w = fmaf(factor, x.w, sum.w);
}

// Lane i gets the sum over lanes of values[i % kCount].
template <int kCount>
__device__ float sum_for_lane(float (&values)[kCount]) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int half = kCount / 2; half > 0; half /= 2) {
    const bool upper = (lane & half) != 0;
#pragma unroll
    for (int i = 0; i < half; ++i) {
      const float give = upper ? values[i] : values[i + half];
      const float keep = upper ? values[i + half] : values[i];
      values[i] = keep + __shfl_xor_sync(kAllLanes, give, half);
    }
  }
  float sum = values[0];
#pragma unroll
  for (int lanes = kCount; lanes < 32; lanes *= 2) {
    sum += __shfl_xor_sync(kAllLanes, sum, lanes);
  }
  return sum;
}

// One warp's share of a split. Lane i speaks for token i / kHeads of eight and head i % kHeads.
template <class Rows, int kHeads, int kParts>
struct Attend {
  float4 query[kHeads][kParts], sum[kHeads][kParts];
  float top, total;

  __device__ void start() {
    top = -INFINITY;
    total = 0;
    for (auto& head : sum) {
      for (float4& part : head) part = {};
    }
  }

  // Tokens [0, live) of kTokens from `row` on.
  __device__ void add(const Rows& keys, const Rows& values, int64_t row, int32_t live,
                      float scale) {
    const int lane = threadIdx.x % 32;
    float4 k[kTokens][kParts], v[kTokens][kParts];
#pragma unroll
    for (int t = 0; t < kTokens; ++t) {
#pragma unroll
      for (int p = 0; p < kParts; ++p) {
        k[t][p] = t < live ? keys(row + t, 128 * p + 4 * lane) : float4{};
        v[t][p] = t < live ? values(row + t, 128 * p + 4 * lane) : float4{};
      }
    }
    float scores[kTokens * kHeads];
#pragma unroll
    for (int t = 0; t < kTokens; ++t) {
#pragma unroll
      for (int h = 0; h < kHeads; ++h) {
        float score = 0;
#pragma unroll
        for (int p = 0; p < kParts; ++p) score = dot(k[t][p], query[h][p], score);
        scores[t * kHeads + h] = score;
      }
    }
    const bool counts = lane / kHeads % kTokens < live;
    const float score = sum_for_lane(scores) * scale;
    float new_top = fmaxf(top, counts ? score : -INFINITY);
#pragma unroll
    for (int lanes = kHeads; lanes < 32; lanes *= 2) {
      new_top = fmaxf(new_top, __shfl_xor_sync(kAllLanes, new_top, lanes));
    }
    const float factor = new_top == top ? 1.0f : exp2f(top - new_top);
    const float weight = counts ? exp2f(score - new_top) : 0.0f;
    top = new_top;
    total = total * factor + weight;
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      const float old = __shfl_sync(kAllLanes, factor, h);
#pragma unroll
      for (int p = 0; p < kParts; ++p) {
        float4& s = sum[h][p];
        s = {s.x * old, s.y * old, s.z * old, s.w * old};
      }
#pragma unroll
      for (int t = 0; t < kTokens; ++t) {
        const float w = __shfl_sync(kAllLanes, weight, t * kHeads + h);
#pragma unroll
        for (int p = 0; p < kParts; ++p) add_scaled(sum[h][p], w, v[t][p]);
      }
    }
  }

  __device__ void store(Shared& shared, int32_t head_dim) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    float all = total;  // lanes beyond kTokens * kHeads repeat the first ones
#pragma unroll
    for (int lanes = kHeads; lanes < kTokens * kHeads; lanes *= 2) {
      all += __shfl_xor_sync(kAllLanes, all, lanes);
    }
    if (lane < kHeads) shared.tops[warp * kMergedHeads + lane] = {top, all};
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      float* row = shared.sums + (warp * kMergedHeads + h) * head_dim;
#pragma unroll
      for (int p = 0; p < kParts; ++p) {
        const float x[4] = {sum[h][p].x, sum[h][p].y, sum[h][p].z, sum[h][p].w};
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const int i = 128 * p + 4 * lane + j;
          if (i < head_dim) row[i] = x[j];
        }
      }
    }
  }
};

template <class Rows, int kHeads, int kParts>
__global__ void __launch_bounds__(kDecodeThreads)
    attention_any_kernel(const __grid_constant__ DecodeArgs args) {
  __shared__ Shared shared;
  const DecodeItem item(args);
  if (static_cast<int32_t>(blockIdx.x) >= item.splits.count) return pdl_wait();
  pdl_wait();

  const int32_t d = args.a.head_dim;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const Newest newest(args, item);
  load_queries(args, item, shared.queries);
  newest.append(shared.newest);
  __syncthreads();
  Attend<Rows, kHeads, kParts> attend;
#pragma unroll
  for (int h = 0; h < kHeads; ++h) {
#pragma unroll
    for (int p = 0; p < kParts; ++p) {
      float x[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int i = 128 * p + 4 * lane + j;
        x[j] = h < item.heads && i < d ? shared.queries[h * d + i] : 0.0f;
      }
      attend.query[h][p] = {x[0], x[1], x[2], x[3]};
    }
  }
  __syncthreads();

  const KvView& kv = args.a.kv;
  const Rows keys(kv.k, d), values(kv.v, d);
  for (int32_t split = blockIdx.x; split < item.splits.count; split += gridDim.x) {
    attend.start();
    for (int32_t unit = 0; unit < item.splits.units; ++unit) {
      int32_t token = (split * item.splits.units + unit) * kUnitTokens + warp * kTileTokens;
      const int32_t end = min(token + kTileTokens, item.context);
      while (token < end) {  // up to the end of a page
        const int32_t in_page = kv.page_tokens - token % kv.page_tokens;
        const int32_t live = min(min(kTokens, in_page), end - token);
        const int64_t row = kv_row(kv, item.slot, token, item.kv_head, args.a.kv_heads);
        attend.add(keys, values, row, live, args.a.scale * kLog2E);
        token += live;
      }
    }
    attend.store(shared, d);
    __syncthreads();
    merge_warps<kDecodeWarps>(args, item, split, {shared.sums, shared.tops, 0, item.heads});
    __syncthreads();
  }
  finish_item(args, item);
}

template <class Rows, int kParts>
void launch(const DecodeArgs& args, dim3 grid, cudaStream_t stream) {
  const auto kernel = args.chunk_heads == 1   ? attention_any_kernel<Rows, 1, kParts>
                      : args.chunk_heads == 2 ? attention_any_kernel<Rows, 2, kParts>
                                              : attention_any_kernel<Rows, 4, kParts>;
  launch_pdl(kernel, grid, dim3(kDecodeThreads), 0, stream, args);
}

}  // namespace

void launch_decode_any(const DecodeArgs& args, dim3 grid, cudaStream_t stream) {
  const Act& cache = args.a.kv.k;
  const bool floats = cache.format == FormatId::kF32 && args.a.head_dim % 4 == 0;
  const bool wide = args.a.head_dim > 128;
  if (floats) {
    wide ? launch<FloatRows, 2>(args, grid, stream) : launch<FloatRows, 1>(args, grid, stream);
  } else {
    launch<CodedRows, 2>(args, grid, stream);
  }
}

}  // namespace lowbit::cuda
