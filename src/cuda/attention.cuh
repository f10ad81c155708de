// What the kernels of decode attention share. A context is cut into splits of whole units, a unit
// being what eight warps of a CTA read at once: 16 tokens each. Splits depend on the context
// and the model alone, never on the batch. A CTA handles some splits of one token and of the query
// heads
// ("chunk") of one kv head; warps merge in shared memory, splits through the workspace, both in a
// fixed order, so that results repeat bit for bit whoever arrives last.
#pragma once

#include <cuda_runtime.h>

#include "cuda/codes.cuh"
#include "cuda/ptx.cuh"
#include "ops/args.h"

namespace lowbit::cuda {

constexpr int kDecodeWarps = 8, kDecodeThreads = 32 * kDecodeWarps;
constexpr int kTileTokens = 16, kUnitTokens = kTileTokens * kDecodeWarps;
constexpr int kMaxSplits = 64;
constexpr int kMaxHeadDim = 256;
constexpr int kMergedHeads = 4;      // query heads that warps merge at a time
constexpr int kTokensAtOnce = 64;    // of a launch
constexpr int kTickets = 64 * 1024;  // words of the workspace before the partial results
constexpr float kLog2E = 1.4426950408889634f;
constexpr unsigned kAllLanes = 0xffffffffu;

struct DecodeArgs {
  AttentionArgs a;
  const float* cos_sin;  // [T, 2, head_dim / 2]: q, k, v are taken from qkv unrotated; or null
  int32_t first_token;   // of this launch
  int32_t chunk_heads, chunks;  // query heads of a CTA; CTAs that share the heads of one kv head
  int32_t max_splits;
  unsigned* tickets;  // [tokens, kv_heads * chunks] splits that are done
  float* partial;     // [tokens, kv_heads * chunks, max_splits, chunk_heads, head_dim + 2]
};

struct Splits {
  int32_t count, units;  // units of every split but the last
};

// Two units or more: what a second one costs is less than merging two splits.
__host__ __device__ inline Splits splits_of(int32_t context, int32_t max_splits) {
  const int32_t units = (context + kUnitTokens - 1) / kUnitTokens;
  const int32_t even = (units + max_splits - 1) / max_splits;
  const int32_t each = even < 2 ? 2 : even;
  return {(units + each - 1) / each, each};
}

// The token, heads and splits of a CTA.
struct DecodeItem {
  int32_t token, context, slot, kv_head, first_head, heads;
  Splits splits;
  int64_t index;  // of its ticket and its partial results

  __device__ explicit DecodeItem(const DecodeArgs& args) {
    const int32_t group = args.a.heads / args.a.kv_heads;
    const auto y = static_cast<int32_t>(blockIdx.y);
    token = args.first_token + static_cast<int32_t>(blockIdx.z);
    context = args.a.pos[token] + 1;
    slot = args.a.slot[token];
    kv_head = y / args.chunks;
    const int32_t in_group = y % args.chunks * args.chunk_heads;
    first_head = kv_head * group + in_group;
    heads = min(args.chunk_heads, group - in_group);
    splits = splits_of(context, args.max_splits);
    index = int64_t{blockIdx.z} * gridDim.y + y;
  }
};

// (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin), in double as the other backends have it, so that
// the codes of a quantized cache are theirs.
__device__ inline float2 rotated(float x1, float x2, float cos, float sin) {
  const double c = cos, s = sin, a = x1, b = x2;
  return {static_cast<float>(__dadd_rn(__dmul_rn(a, c), -__dmul_rn(b, s))),
          static_cast<float>(__dadd_rn(__dmul_rn(b, c), __dmul_rn(a, s)))};
}

// The query heads of the item, rotated, as rows of `head_dim` floats; by the whole CTA.
__device__ inline void load_queries(const DecodeArgs& args, const DecodeItem& item, float* q) {
  const int32_t d = args.a.head_dim, half = d / 2;
  const int64_t width = int64_t{args.a.heads + 2 * args.a.kv_heads} * d;
  const float* from = args.a.qkv + item.token * width + int64_t{item.first_head} * d;
  const float* cos_sin = args.cos_sin + int64_t{item.token} * d;
  for (int32_t i = threadIdx.x; i < item.heads * half; i += blockDim.x) {
    const int32_t head = i / half, at = head * d + i % half;
    float2 x = {from[at], from[at + half]};
    if (args.cos_sin) x = rotated(x.x, x.y, cos_sin[i % half], cos_sin[half + i % half]);
    q[at] = x.x;
    q[at + half] = x.y;
  }
}

// ---- the end of a split -------------------------------------------------------------------------

// What the warps of a CTA found in a split, for up to kMergedHeads heads.
struct Merge {
  float* sums;           // [warps, kMergedHeads, head_dim] of exp2(score - top) V
  float2* tops;          // [warps, kMergedHeads] top, sum of exp2(score - top)
  int32_t first, count;  // heads of the item
};

__device__ inline float* partial_of(const DecodeArgs& args, const DecodeItem& item, int32_t split,
                                    int32_t head) {
  const int64_t row = (item.index * args.max_splits + split) * args.chunk_heads + head;
  return args.partial + row * (args.a.head_dim + 2);
}

__device__ inline void store_out(const DecodeArgs& args, const DecodeItem& item, int32_t head,
                                 int32_t i, float value) {
  const Act& out = args.a.out;
  const int64_t at = item.token * out.ld + int64_t{item.first_head + head} * args.a.head_dim + i;
  store_plain(out.format, out.data, at, value);
}

// Merges the warps: into the output where the split is the only one, else into the workspace. All
// threads, after a barrier behind the writes of *merge; a barrier follows before it is used again.
template <int kWarps>
__device__ void merge_warps(const DecodeArgs& args, const DecodeItem& item, int32_t split,
                            const Merge& merge) {
  const int32_t d = args.a.head_dim;
  for (int32_t i = threadIdx.x; i < merge.count * d; i += blockDim.x) {
    const int32_t head = i / d, column = i % d;
    float top = -INFINITY;
    for (int w = 0; w < kWarps; ++w) {
      top = fmaxf(top, merge.tops[w * kMergedHeads + head].x);
    }
    float sum = 0, total = 0;
    for (int w = 0; w < kWarps; ++w) {
      const float2 warp = merge.tops[w * kMergedHeads + head];
      const float factor = exp2f(warp.x - top);
      sum += factor * merge.sums[(w * kMergedHeads + head) * d + column];
      total += factor * warp.y;
    }
    if (item.splits.count == 1) {
      store_out(args, item, merge.first + head, column, sum / total);
      continue;
    }
    float* partial = partial_of(args, item, split, merge.first + head);
    partial[column] = sum;
    if (column == 0) {
      partial[d] = top;
      partial[d + 1] = total;
    }
  }
}

// Adds up the splits of an item, in order. By the CTA that finished last; all that a thread needs
// of sixteen splits is on its way at once, since nothing else hides the latency here.
__device__ inline void merge_splits(const DecodeArgs& args, const DecodeItem& item) {
  constexpr int kAtOnce = 16;
  const int32_t d = args.a.head_dim;
  const int64_t stride = int64_t{args.chunk_heads} * (d + 2);
  for (int32_t i = threadIdx.x; i < item.heads * d / 2; i += blockDim.x) {
    const int32_t head = i / (d / 2), column = i % (d / 2) * 2;
    float top = -INFINITY, total = 0;
    float2 sum = {};
    for (int32_t first = 0; first < item.splits.count; first += kAtOnce) {
      const float* from = partial_of(args, item, first, head);
      float2 sums[kAtOnce], tops[kAtOnce];
      float new_top = top;
#pragma unroll
      for (int s = 0; s < kAtOnce; ++s) {
        if (first + s < item.splits.count) {
          sums[s] = __ldcg(reinterpret_cast<const float2*>(from + s * stride + column));
          tops[s] = __ldcg(reinterpret_cast<const float2*>(from + s * stride + d));
        }
      }
#pragma unroll
      for (int s = 0; s < kAtOnce; ++s) {
        if (first + s < item.splits.count) new_top = fmaxf(new_top, tops[s].x);
      }
      const float old = new_top == top ? 1.0f : exp2f(top - new_top);
      top = new_top;
      sum = {sum.x * old, sum.y * old};
      total *= old;
#pragma unroll
      for (int s = 0; s < kAtOnce; ++s) {
        if (first + s < item.splits.count) {
          const float factor = exp2f(tops[s].x - top);
          sum = {sum.x + factor * sums[s].x, sum.y + factor * sums[s].y};
          total += factor * tops[s].y;
        }
      }
    }
    store_out(args, item, head, column, sum.x / total);
    store_out(args, item, head, column + 1, sum.y / total);
  }
}

// After a CTA's last split: the last CTA of the item adds up what all wrote.
__device__ inline void finish_item(const DecodeArgs& args, const DecodeItem& item) {
  if (item.splits.count == 1) return;
  __shared__ bool last;
  __syncthreads();
  if (threadIdx.x == 0) {
    const auto first = static_cast<int32_t>(blockIdx.x), step = static_cast<int32_t>(gridDim.x);
    const auto mine = static_cast<unsigned>((item.splits.count - first + step - 1) / step);
    // One thread's release covers what all wrote before the barrier, its acquire what all read.
    unsigned* ticket = args.tickets + item.index;
    last = add_ordered(ticket, mine) + mine == static_cast<unsigned>(item.splits.count);
    if (last) *ticket = 0;  // for the next launch
  }
  __syncthreads();
  if (last) merge_splits(args, item);
}

// The kernels: of some caches each (false: not of this one), and one of all.
bool launch_decode_plain(const DecodeArgs& args, dim3 grid, cudaStream_t stream);
bool launch_decode_bytes(const DecodeArgs& args, dim3 grid, cudaStream_t stream);
bool launch_decode_int4(const DecodeArgs& args, dim3 grid, cudaStream_t stream);
void launch_decode_any(const DecodeArgs& args, dim3 grid, cudaStream_t stream);

}  // namespace lowbit::cuda
