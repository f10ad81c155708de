// cuda.attention.decode: one token against its own context, caches of f16, bf16, int8, fp8, int4.
//   grid (splits, kv heads x chunks, tokens), eight warps or two teams of eight; each warp streams
//   tiles of 16 tokens.
// Scores S^T[16 tokens, 8] = K[16, d] Q^T and the output O^T[d, 8] += V^T[d, 16] P^T are
// mma.m16n8k16 with the cache as A, so that no row is padding: the 8 columns are 4 query heads,
// each as the sum of two 16-bit numbers (2^-17 of it is lost; weights P likewise). Scales of K
// multiply the scores, scales of V the weights; zeros are added outside. A warp's tiles come
// through a ring of its own in shared memory, each by one bulk copy of rows of K and one of V, and
// ldmatrix puts words or half words of codes where the mma wants their numbers: the loop has
// neither barriers of the CTA nor bank conflicts. Bytes moved: the live rows of the cache (up to
// 15 more of a sequence's last tile), once for every chunk of up to 8 query heads.
#pragma once

#include "cuda/attention.cuh"
#include "cuda/attention_append.cuh"
#include "cuda/attention_codes.cuh"
#include "cuda/attention_ring.cuh"
#include "cuda/check.h"
#include "cuda/copy_maps.h"
#include "cuda/limits.h"
#include "cuda/pdl.cuh"

namespace lowbit::cuda {

// Teams of eight warps of a CTA, which take units in turn. Codes need more arithmetic for fewer
// bytes, so more warps to hide its latency; with eight query heads their registers are not there.
template <class C>
constexpr int teams(int tiles) {
  return C::kBits < 16 && tiles == 1 ? 2 : 1;
}

// Shared memory beside the ring.
template <int kDim, int kTiles, int kTeams>
struct Shared {
  union {
    struct {
      float queries[kTiles * 4 * kDim], newest[2 * kDim];
    };
    float sums[kTeams * kDecodeWarps * kMergedHeads * kDim];
  };
  uint2 fragments[kDim / 16][kTiles][32];
  float2 tops[kTeams * kDecodeWarps * kMergedHeads];
  float query_sums[kTiles * 4][2];  // of the columns of each block
};

// ---- queries ------------------------------------------------------------------------------------

// A power of two that brings the largest query of f16 products near 1; 1 for bf16.
template <bool kHalf>
__device__ float query_factor(const float* queries, int32_t count) {
  if constexpr (!kHalf) return 1.0f;
  float top = 0;
  for (int32_t i = threadIdx.x % 32; i < count; i += 32) top = fmaxf(top, fabsf(queries[i]));
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, lanes));
  }
  const uint32_t exponent = __float_as_uint(top) >> 23;  // of 2^(exponent - 127)
  if (exponent < 1 || exponent > 253) return 1.0f;
  return __uint_as_float((254 - exponent) << 23);
}

// The column of K of code `side` of pair number `pair`, counted over word q of pieces 2 i and
// 2 i + 1 of a row (Ring::read_k).
template <class C>
__device__ constexpr int key_column(int i, int q, int pair, int side) {
  constexpr int kPairs = 16 / C::kBits;  // of a word
  return (2 * i + pair / kPairs) * (128 / C::kBits) + q * (32 / C::kBits) +
         C::column(pair % kPairs, side);
}

// B fragments of the queries in the order of columns in which a lane gets words of K.
template <class C, int kDim, int kTiles, int kTeams>
__device__ void make_fragments(Shared<kDim, kTiles, kTeams>& shared, int32_t heads, float factor) {
  constexpr int kPairs = 16 / C::kBits;
  for (int i = threadIdx.x; i < kDim / 16 * kTiles * 32; i += blockDim.x) {
    const int lane = i % 32, tile = i / 32 % kTiles, step = i / 32 / kTiles;
    const int g = lane / 4, q = lane % 4, head = tile * 4 + g / 2;
    uint32_t pair[2];
    for (int n = 0; n < 2; ++n) {
      float x[2];
      for (int side = 0; side < 2; ++side) {
        const int column = key_column<C>(step / kPairs, q, 2 * (step % kPairs) + n, side);
        x[side] = head < heads ? shared.queries[head * kDim + column] * factor : 0.0f;
      }
      pair[n] = part_of<C::kHalf>(x[0], x[1], g % 2 == 1);
    }
    shared.fragments[step][tile][lane] = {pair[0], pair[1]};
  }
}

template <class C, int kDim, int kTiles, int kTeams>
__device__ void sum_queries(Shared<kDim, kTiles, kTeams>& shared, int32_t heads) {
  constexpr int kBlocks = Shape<C, kDim>::kBlocks, kBlock = kDim / kBlocks;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (warp >= kTiles * 4) return;
  for (int b = 0; b < kBlocks; ++b) {
    float sum = 0;
    for (int i = lane; i < kBlock && warp < heads; i += 32) {
      sum += shared.queries[warp * kDim + b * kBlock + i];
    }
    for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(kAllLanes, sum, lanes);
    if (lane == 0) shared.query_sums[warp][b] = sum;
  }
}

// ---- the kernel ---------------------------------------------------------------------------------

#if LB_BULK_COPIES
// One warp's softmax and sums over the tiles of a split. Lane 4g + q: tokens g and g + 8, head q of
// every four.
template <class C, int kDim, int kTiles>
class Attend {
  using S = Shape<C, kDim>;
  static constexpr int kTeams = teams<C>(kTiles);
  static constexpr int kPairs = 16 / C::kBits;  // of a word
  // Weights of at most 1 as f16: far from its subnormals.
  static constexpr float kWeight = C::kHalf ? 32768.0f : 1.0f;

 public:
  __device__ Attend(const Shared<kDim, kTiles, kTeams>& shared, const DecodeArgs& args,
                    float factor)
      : shared_(shared), scale_(args.a.scale * kLog2E / factor) {
    if constexpr (C::kZeros) {
      flip_ = args.a.kv.k.code == Code::kInt ? 0x88888888u : 0u;
      zeros_ = args.a.kv.k.zero != Zero::kNone;
    }
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < S::kSteps * kTiles; ++i) {
      queries_[i / kTiles][i % kTiles] = shared.fragments[i / kTiles][i % kTiles][lane];
    }
    start();
  }

  __device__ void start() {
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
      top_[t] = -INFINITY;
      total_[t] = 0;
#pragma unroll
      for (int b = 0; b < S::kBlocks; ++b) zero_sum_[t][b] = 0;
#pragma unroll
      for (int m = 0; m < S::kSteps; ++m) {
#pragma unroll
        for (int i = 0; i < 4; ++i) sum_[t][m][i] = 0;
      }
    }
  }

  // The oldest tile of the ring, of which `live` tokens count.
  template <class Ring>
  __device__ void add(const Ring& ring, int32_t live) {
    live -= threadIdx.x % 32 / 4;  // counted from g
    float score[kTiles][2];
    multiply_k(ring, score);
    float value_scale[2][S::kBlocks], value_zero[2][S::kBlocks] = {};
    if constexpr (S::kScales) ring.read_scales(1, value_scale);
    if constexpr (C::kZeros) {
      if (zeros_) ring.read_scales(3, value_zero);
    }
    uint2 weights[kTiles][S::kBlocks];
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
      float p[2];
      soften(t, score[t], live, p);
#pragma unroll
      for (int b = 0; b < S::kBlocks; ++b) {
        float w[2];
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const bool counts = 8 * e < live;
          w[e] = p[e] * kWeight;
          if constexpr (S::kScales) w[e] = counts ? p[e] * value_scale[e][b] : 0.0f;
          if constexpr (C::kZeros) {
            if (counts) zero_sum_[t][b] += p[e] * value_zero[e][b];
          }
        }
        weights[t][b] = transposed(w);
      }
    }
    multiply_v(ring, weights);
  }

  // The sums of tile `t` of heads to shared memory.
  __device__ void store(int t, Shared<kDim, kTiles, kTeams>& shared) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, q = lane % 4;
    float total = total_[t];
    for (int lanes = 4; lanes < 32; lanes *= 2) {
      total += __shfl_xor_sync(kAllLanes, total, lanes);
#pragma unroll
      for (int b = 0; b < S::kBlocks; ++b) {
        zero_sum_[t][b] += __shfl_xor_sync(kAllLanes, zero_sum_[t][b], lanes);
      }
    }
    if (g == 0) shared.tops[warp * kMergedHeads + q] = {top_[t], total};
    float* row = shared.sums + (warp * kMergedHeads + q) * kDim;
#pragma unroll
    for (int m = 0; m < S::kSteps; ++m) {
      const int i = m / kPairs, pair = 2 * (m % kPairs);
      const float zero = C::kZeros ? zero_sum_[t][S::kBlocks == 1 ? 0 : i] : 0.0f;
      const float(&s)[4] = sum_[t][m];
      row[value_column(i, pair)] = (s[0] + s[1]) * (1 / kWeight) + zero;
      row[value_column(i, pair + 1)] = (s[2] + s[3]) * (1 / kWeight) + zero;
    }
  }

 private:
  // The column of V of pair number `pair`, counted over half word g of pieces 2 i and 2 i + 1
  // (Ring::read_v).
  __device__ static int value_column(int i, int pair) {
    const int g = threadIdx.x % 32 / 4;
    return (2 * i + pair / kPairs) * (128 / C::kBits) + g * kPairs + pair % kPairs;
  }

  // Blocks of K have sums of their own; where a row is one block, two sums make the chain shorter.
  template <class Ring>
  __device__ void multiply_k(const Ring& ring, float (&score)[kTiles][2]) {
    constexpr int kSums = 2;
    const int q = threadIdx.x % 4;
    float sum[kTiles][kSums][4] = {};
#pragma unroll
    for (int i = 0; i < S::kLoads; ++i) {
      uint32_t words[4], low[2 * kPairs], high[2 * kPairs];  // of rows g, of rows g + 8
      ring.read_k(i, words);
      pairs_of(words[0], words[2], low);
      pairs_of(words[1], words[3], high);
#pragma unroll
      for (int u = 0; u < kPairs; ++u) {
        const uint32_t a[4] = {low[2 * u], high[2 * u], low[2 * u + 1], high[2 * u + 1]};
        const int step = i * kPairs + u, part = S::kBlocks == 1 ? step % 2 : i;
#pragma unroll
        for (int t = 0; t < kTiles; ++t) {
          multiply<C::kHalf>(sum[t][part], a, queries_[step][t]);
        }
      }
    }
    float scale[2][S::kBlocks], zero[2][S::kBlocks] = {};
    if constexpr (S::kScales) ring.read_scales(0, scale);
    if constexpr (C::kZeros) {
      if (zeros_) ring.read_scales(2, zero);
    }
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float part[kSums];
#pragma unroll
        for (int b = 0; b < kSums; ++b) part[b] = sum[t][b][2 * e] + sum[t][b][2 * e + 1];
        if constexpr (S::kBlocks == 1) {
          score[t][e] = part[0] + part[1];
          if constexpr (S::kScales) score[t][e] *= scale[e][0];
        } else {
          score[t][e] = part[0] * scale[e][0] + part[1] * scale[e][1];
        }
        if constexpr (C::kZeros) {
#pragma unroll
          for (int b = 0; b < S::kBlocks; ++b) {
            score[t][e] += zero[e][b] * shared_.query_sums[t * 4 + q][b];
          }
        }
      }
    }
  }

  // Scores to weights relative to the largest score so far; all sums follow where that has grown.
  __device__ void soften(int t, const float (&score)[2], int32_t live, float (&p)[2]) {
    float scaled[2];
    float top = top_[t];
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      scaled[e] = 8 * e < live ? score[e] * scale_ : -INFINITY;
      top = fmaxf(top, scaled[e]);
    }
#pragma unroll
    for (int lanes = 4; lanes < 32; lanes *= 2) {
      top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, lanes));
    }
    if (__any_sync(kAllLanes, top != top_[t])) {
      const float factor = top == top_[t] ? 1.0f : exp2f(top_[t] - top);
      top_[t] = top;
      total_[t] *= factor;
#pragma unroll
      for (int b = 0; b < S::kBlocks; ++b) zero_sum_[t][b] *= factor;
#pragma unroll
      for (int m = 0; m < S::kSteps; ++m) {
#pragma unroll
        for (int i = 0; i < 4; ++i) sum_[t][m][i] *= factor;
      }
    }
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      p[e] = 8 * e < live ? exp2f(scaled[e] - top) : 0.0f;  // NaN and masked must not meet
      total_[t] += p[e];
    }
  }

  // The B fragment of weights of tokens g, g + 8 and head q: column n is part n % 2 of head n / 2.
  __device__ static uint2 transposed(const float (&w)[2]) {
    const int lane = threadIdx.x % 32, g = lane / 4, q = lane % 4;
    const int first = 8 * q + g / 2, second = first + 4;  // tokens 2q and 2q + 1, and 8 more
    uint2 out;
    const float a = __shfl_sync(kAllLanes, w[0], first), b = __shfl_sync(kAllLanes, w[0], second);
    out.x = part_of<C::kHalf>(a, b, g % 2 == 1);
    const float c = __shfl_sync(kAllLanes, w[1], first), d = __shfl_sync(kAllLanes, w[1], second);
    out.y = part_of<C::kHalf>(c, d, g % 2 == 1);
    return out;
  }

  template <class Ring>
  __device__ void multiply_v(const Ring& ring, const uint2 (&weights)[kTiles][S::kBlocks]) {
#pragma unroll
    for (int i = 0; i < S::kLoads; ++i) {
      uint32_t words[4], low[2 * kPairs], high[2 * kPairs];  // of tokens 2q, 2q + 1 and 8 more
      ring.read_v(i, words);
      pairs_of(words[0], words[2], low);
      pairs_of(words[1], words[3], high);
#pragma unroll
      for (int u = 0; u < kPairs; ++u) {
        const uint32_t a[4] = {low[2 * u], low[2 * u + 1], high[2 * u], high[2 * u + 1]};
#pragma unroll
        for (int t = 0; t < kTiles; ++t) {
          multiply<C::kHalf>(sum_[t][i * kPairs + u], a, weights[t][S::kBlocks == 1 ? 0 : i]);
        }
      }
    }
  }

  __device__ void pairs_of(uint32_t first, uint32_t second, uint32_t (&out)[2 * kPairs]) const {
    uint32_t some[kPairs];
    C::pairs(first, flip_, some);
#pragma unroll
    for (int i = 0; i < kPairs; ++i) out[i] = some[i];
    C::pairs(second, flip_, some);
#pragma unroll
    for (int i = 0; i < kPairs; ++i) out[kPairs + i] = some[i];
  }

  const Shared<kDim, kTiles, kTeams>& shared_;
  const float scale_;
  uint32_t flip_ = 0;
  bool zeros_ = false;
  float top_[kTiles], total_[kTiles], zero_sum_[kTiles][S::kBlocks];
  float sum_[kTiles][S::kSteps][4];
  uint2 queries_[S::kSteps][kTiles];
};

#endif

template <class C, int kDim, int kTiles, int kCtas>
struct Memory {
  RingMemory<C, kDim, teams<C>(kTiles), kCtas> ring;
  Shared<kDim, kTiles, teams<C>(kTiles)> shared;
};

// kCtas: of a multiprocessor, which is two where there are more items than multiprocessors; one
// reads while the other computes, so that one tile of a warp will do there.
template <class C, int kDim, int kTiles, int kCtas>
__global__ void __launch_bounds__(teams<C>(kTiles) * kDecodeThreads, kCtas)
    attention_decode_kernel(const __grid_constant__ DecodeArgs args,
                            const __grid_constant__ CacheMaps maps) {
#if LB_BULK_COPIES  // else attention.cu does not take this kernel
  extern __shared__ __align__(1024) std::byte memory_bytes[];
  auto& memory = *reinterpret_cast<Memory<C, kDim, kTiles, kCtas>*>(memory_bytes);
  auto& shared = memory.shared;
  constexpr int kTeams = teams<C>(kTiles);
  const DecodeItem item(args);
  if (static_cast<int32_t>(blockIdx.x) >= item.splits.count) return pdl_wait();

  Ring<C, kDim, kTeams, kCtas> ring(args, item, maps, memory.ring);
  // Where only this kernel appends, earlier tokens are there since the last step.
  if (args.cos_sin) ring.fill(false);
  pdl_wait();
  if (!args.cos_sin) ring.fill(true);
  Newest(args, item).append(shared.newest);
  if (args.cos_sin) ring.fill(true);
  load_queries(args, item, shared.queries);
  __syncthreads();
  const float factor = query_factor<C::kHalf>(shared.queries, item.heads * kDim);
  make_fragments<C>(shared, item.heads, factor);
  if constexpr (C::kZeros) sum_queries<C>(shared, item.heads);
  __syncthreads();

  Attend<C, kDim, kTiles> attend(shared, args, factor);
  const int32_t units = (item.context + kUnitTokens - 1) / kUnitTokens;
  const auto warp = static_cast<int32_t>(threadIdx.x / 32);
  const int32_t team = warp / kDecodeWarps, mine = warp % kDecodeWarps * kTileTokens;
  for (int32_t split = blockIdx.x; split < item.splits.count; split += gridDim.x) {
    const int32_t first = split * item.splits.units, end = min(first + item.splits.units, units);
    for (int32_t unit = first + team; unit < end; unit += kTeams) {
      const int32_t live = item.context - unit * kUnitTokens - mine;
      if (live <= 0) break;
      ring.await(live);
      attend.add(ring, live);
      ring.give_back();
    }
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
      attend.store(t, shared);
      __syncthreads();
      const int32_t first = t * kMergedHeads, count = min(item.heads - first, kMergedHeads);
      merge_warps<kTeams * kDecodeWarps>(args, item, split,
                                         {shared.sums, shared.tops, first, count});
      __syncthreads();
    }
    attend.start();
  }
  finish_item(args, item);
#endif
}

// ---- launch -------------------------------------------------------------------------------------

template <class C, int kDim, int kTiles, int kCtas = 1>
void launch(const DecodeArgs& args, dim3 grid, cudaStream_t stream) {
  constexpr int kBytes = sizeof(Memory<C, kDim, kTiles, kCtas>);
  static_assert(kCtas * (kBytes + 1024) <= 228 * 1024 &&
                Shape<C, kDim>::stages(teams<C>(kTiles), kCtas) >= 2 / kCtas);
  constexpr auto kKernel = attention_decode_kernel<C, kDim, kTiles, kCtas>;
  allow_shared_memory<kKernel>(kBytes);
  const auto map = [](const Act& cache) {
    return map_of_rows(cache.data, Shape<C, kDim>::kRowBytes, Shape<C, kDim>::kPitch, kTileTokens);
  };
  const CacheMaps maps = {map(args.a.kv.k), map(args.a.kv.v)};
  launch_pdl(kKernel, grid, dim3(teams<C>(kTiles) * kDecodeThreads), kBytes, stream, args, maps);
}

template <class C>
bool launch_if_taken(const DecodeArgs& args, dim3 grid, cudaStream_t stream) {
  const int32_t d = args.a.head_dim;
  if (!C::takes(args.a.kv.k, d)) return false;
  // (Codes have twice the warps as it is.)
  if constexpr (C::kBits == 16) {
    if (args.chunk_heads <= 4 && grid.x * grid.y * grid.z > kMultiprocessors) {
      d == 64 ? launch<C, 64, 1, 2>(args, grid, stream) : launch<C, 128, 1, 2>(args, grid, stream);
      return true;
    }
  }
  if (args.chunk_heads <= 4) {
    d == 64 ? launch<C, 64, 1>(args, grid, stream) : launch<C, 128, 1>(args, grid, stream);
  } else {
    d == 64 ? launch<C, 64, 2>(args, grid, stream) : launch<C, 128, 2>(args, grid, stream);
  }
  return true;
}

}  // namespace lowbit::cuda
