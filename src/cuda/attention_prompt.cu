// cuda.attention.prompt: many tokens of a sequence at once, caches of bf16 and of codes.
//   grid (kv heads, blocks of tokens), eight warps
// The rows of a CTA are neighbouring tokens times the query heads of one kv head, sixteen to a
// warp: scores S[16, 64] = Q K^T and O[16, d] += P V are mma.m16n8k16, q and the weights P rounded
// to bf16. Tiles of 64 positions of K and V, codes decoded to bf16, go through shared memory once
// for all 128 rows. What a row adds up does not depend on the rows beside it. Tokens of different
// sequences in a block are taken one sequence after the other.
//   bytes   of the cache once for every 128 rows, mostly from the L2
//   limits  head sizes of 64 and 128, up to 128 query heads to a kv head; at least 32 tokens of a
//           sequence, on average; pages of whole tiles of 64; caches in bf16 or quantized (f16 and
//           f32 go to the per-token kernels, as does all else)
#include "cuda/attention.cuh"
#include "cuda/attention_prompt.h"
#include "cuda/check.h"
#include "cuda/pdl.cuh"
#include "cuda/ptx.cuh"
#include "cuda/stage.cuh"

namespace lowbit::cuda {
namespace {

constexpr int kWarps = 8, kThreads = 32 * kWarps, kRows = 16 * kWarps;
constexpr int kTile = 64;   // positions
constexpr int kStages = 2;  // tiles in shared memory

template <int kDim>
struct Tile {
  static constexpr int kPieces = kDim / 8;  // of 16 bytes, in a row
  uint4 k[kTile * kPieces], v[kTile * kPieces];

  // Neighbouring rows of a piece lie in different banks.
  static __device__ int place(int position, int piece) {
    return position * kPieces + (piece ^ (position & 7));
  }
};

// Neighbouring tokens of a block that belong to one sequence.
struct Run {
  int slot, begin, end, last;  // last: the largest position

  __device__ Run(const AttentionArgs& a, int first, int block_end)
      : slot(a.slot[first]), begin(first), end(first), last(0) {
    while (end < block_end && a.slot[end] == slot) last = max(last, a.pos[end++]);
  }
};

// 2^x; what is below 2^-126 is 0.
__device__ __forceinline__ float power_of_2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Eight numbers of a row of a quantized cache, rounded to bf16; a call, so that the codec is there
// once.
__device__ __noinline__ uint4 decoded(const PlanesView& planes, int64_t row, int first) {
  uint32_t pairs[4];
#pragma unroll 1
  for (int i = 0; i < 4; ++i) {
    pairs[i] =
        pack_bf16(load_f32(planes, row, first + 2 * i), load_f32(planes, row, first + 2 * i + 1));
  }
  return {pairs[0], pairs[1], pairs[2], pairs[3]};
}

// Positions [kTile tile, ..) of a run's sequence on their way; zeros past its last.
template <int kDim, bool kCodes>
__device__ void fetch(const AttentionArgs& a, const Run& run, int kv_head, int tile,
                      Tile<kDim>& to) {
  constexpr int kPieces = Tile<kDim>::kPieces;
  const int first = tile * kTile;
  const int64_t row = kv_row(a.kv, run.slot, first, kv_head, a.kv_heads);
  if constexpr (kCodes) {
    const PlanesView keys = view_of(a.kv.k), values = view_of(a.kv.v);
#pragma unroll 1
    for (int i = threadIdx.x; i < kTile * kPieces; i += kThreads) {
      const int position = i / kPieces, piece = i % kPieces;
      const int at = Tile<kDim>::place(position, piece);
      const bool live = first + position <= run.last;
      to.k[at] = live ? decoded(keys, row + position, 8 * piece) : uint4{};
      to.v[at] = live ? decoded(values, row + position, 8 * piece) : uint4{};
    }
  } else {
    const auto* keys = static_cast<const uint4*>(a.kv.k.data) + row * kPieces;
    const auto* values = static_cast<const uint4*>(a.kv.v.data) + row * kPieces;
#pragma unroll
    for (int i = threadIdx.x; i < kTile * kPieces; i += kThreads) {
      const int position = i / kPieces, at = Tile<kDim>::place(position, i % kPieces);
      const bool live = first + position <= run.last;
      async_copy16_or_zeros(shared_address(to.k + at), keys + (live ? i : 0), live);
      async_copy16_or_zeros(shared_address(to.v + at), values + (live ? i : 0), live);
    }
    async_commit();
  }
}

// Rows g and g + 8 of a warp's sixteen.
template <int kDim>
class Attend {
 public:
  // Rows that are not of the run see position 0 and are never stored.
  __device__ Attend(const AttentionArgs& a, const Run& run, int kv_head, int first_token)
      : scale_(a.scale * kLog2E) {
    const int group = a.heads / a.kv_heads, lane = threadIdx.x % 32;
    const int64_t width = int64_t{a.heads + 2 * a.kv_heads} * kDim;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = threadIdx.x / 32 * 16 + lane / 4 + 8 * half;
      const int token = first_token + row / group, head = kv_head * group + row % group;
      exists_[half] = row / group < kRows / group && run.begin <= token && token < run.end;
      pos_[half] = exists_[half] ? a.pos[token] : 0;
      out_[half] = token * a.out.ld + int64_t{head} * kDim;
      const float* q = a.qkv + token * width + int64_t{head} * kDim + lane % 4 * 2;
#pragma unroll
      for (int i = 0; i < kDim / 8; ++i) {
        const float2 x = exists_[half] ? *reinterpret_cast<const float2*>(q + 8 * i) : float2{};
        q_[i / 2][i % 2 * 2 + half] = pack_bf16(x.x, x.y);
      }
    }
    first_ = __reduce_min_sync(
        kAllLanes, min(exists_[0] ? pos_[0] : INT32_MAX, exists_[1] ? pos_[1] : INT32_MAX));
    last_ = __reduce_max_sync(kAllLanes, max(exists_[0] ? pos_[0] : -1, exists_[1] ? pos_[1] : -1));
  }

  __device__ void add(const Tile<kDim>& tile, int first) {
    if (first > last_) return;  // no row sees any of it
    float scores[kTile / 8][4] = {};
    const int matrix = threadIdx.x % 32 / 8, i = threadIdx.x % 8;
#pragma unroll
    for (int step = 0; step < kDim / 16; ++step) {
#pragma unroll
      for (int j = 0; j < kTile / 8; j += 2) {
        uint32_t b[4];
        load_matrices(b, shared_address(
                             tile.k + tile.place(8 * (j + matrix / 2) + i, 2 * step + matrix % 2)));
        mma_bf16(scores[j], q_[step], b[0], b[1]);
        mma_bf16(scores[j + 1], q_[step], b[2], b[3]);
      }
    }
    if (first + kTile - 1 > first_) mask(scores, first);
    weigh(scores);
#pragma unroll
    for (int step = 0; step < kTile / 16; ++step) {
      const uint32_t p[4] = {pack_bf16(scores[2 * step][0], scores[2 * step][1]),
                             pack_bf16(scores[2 * step][2], scores[2 * step][3]),
                             pack_bf16(scores[2 * step + 1][0], scores[2 * step + 1][1]),
                             pack_bf16(scores[2 * step + 1][2], scores[2 * step + 1][3])};
#pragma unroll
      for (int c = 0; c < kDim / 8; c += 2) {
        uint32_t b[4];
        load_transposed(b, shared_address(tile.v + tile.place(16 * step + 8 * (matrix % 2) + i,
                                                              c + matrix / 2)));
        mma_bf16(sum_[c], p, b[0], b[1]);
        mma_bf16(sum_[c + 1], p, b[2], b[3]);
      }
    }
  }

  __device__ void store(const Act& out) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float total = total_[half];
      total += __shfl_xor_sync(kAllLanes, total, 1);
      total += __shfl_xor_sync(kAllLanes, total, 2);
      if (!exists_[half]) continue;
#pragma unroll
      for (int c = 0; c < kDim / 8; ++c) {
        const int64_t at = out_[half] + 8 * c + threadIdx.x % 4 * 2;
        store_plain(out.format, out.data, at, sum_[c][2 * half] / total);
        store_plain(out.format, out.data, at + 1, sum_[c][2 * half + 1] / total);
      }
    }
  }

 private:
  __device__ void mask(float (&scores)[kTile / 8][4], int first) const {
#pragma unroll
    for (int j = 0; j < kTile / 8; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int position = first + 8 * j + threadIdx.x % 4 * 2 + e % 2;
        if (position > pos_[e / 2]) scores[j][e] = -INFINITY;
      }
    }
  }
  // Scores become weights relative to the largest score so far, and the sums follow it. The first
  // tile has a score that counts for every row.
  __device__ void weigh(float (&scores)[kTile / 8][4]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float top = top_[half];
#pragma unroll
      for (int j = 0; j < kTile / 8; ++j) {
        top = fmaxf(top, fmaxf(scores[j][2 * half], scores[j][2 * half + 1]));
      }
      top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 1));
      top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 2));
      const float factor = power_of_2((top_[half] - top) * scale_), offset = -top * scale_;
      top_[half] = top;
      float total = total_[half] * factor;
#pragma unroll
      for (int j = 0; j < kTile / 8; ++j) {
#pragma unroll
        for (int e = 2 * half; e < 2 * half + 2; ++e) {
          scores[j][e] = power_of_2(fmaf(scores[j][e], scale_, offset));
          total += scores[j][e];
        }
      }
      total_[half] = total;
#pragma unroll
      for (int c = 0; c < kDim / 8; ++c)
        sum_[c][2 * half] *= factor, sum_[c][2 * half + 1] *= factor;
    }
  }

  const float scale_;
  uint32_t q_[kDim / 16][4];
  float sum_[kDim / 8][4] = {}, top_[2] = {-INFINITY, -INFINITY}, total_[2] = {0, 0};
  int64_t out_[2];
  int pos_[2], first_, last_;  // smallest and largest position of the warp's rows
  bool exists_[2];
};

template <int kDim, bool kCodes>
__global__ void __launch_bounds__(kThreads, 1)
    prompt_kernel(const __grid_constant__ AttentionArgs a) {
  extern __shared__ __align__(128) uint8_t memory[];
  auto* tiles = reinterpret_cast<Tile<kDim>*>(memory);
  const int kv_head = blockIdx.x, block_tokens = kRows / (a.heads / a.kv_heads);
  // Those with the longest contexts first.
  const int first_token = static_cast<int>(gridDim.y - 1 - blockIdx.y) * block_tokens;
  const int block_end = min(first_token + block_tokens, a.tokens_count);
  pdl_wait();
  for (int token = first_token; token < block_end;) {
    const Run run(a, token, block_end);
    Attend<kDim> attend(a, run, kv_head, first_token);
    const int count = run.last / kTile + 1;
    fetch<kDim, kCodes>(a, run, kv_head, 0, tiles[0]);
    for (int tile = 0; tile < count; ++tile) {
      async_wait<0>();
      __syncthreads();  // this tile is here, and nobody reads the one before it any more
      if (tile + 1 < count) {
        fetch<kDim, kCodes>(a, run, kv_head, tile + 1, tiles[(tile + 1) % kStages]);
      }
      attend.add(tiles[tile % kStages], tile * kTile);
    }
    attend.store(a.out);
    __syncthreads();
    token = run.end;
  }
}

template <int kDim, bool kCodes>
void launch(const AttentionArgs& a, cudaStream_t stream) {
  constexpr int kBytes = kStages * sizeof(Tile<kDim>);
  allow_shared_memory<prompt_kernel<kDim, kCodes>>(kBytes);
  const int block_tokens = kRows / (a.heads / a.kv_heads);
  const dim3 grid(a.kv_heads, (a.tokens_count + block_tokens - 1) / block_tokens);
  launch_pdl(prompt_kernel<kDim, kCodes>, grid, dim3(kThreads), kBytes, stream, a);
}

}  // namespace

bool launch_prompt(const AttentionArgs& a, cudaStream_t stream) {
  const bool codes = a.kv.k.scale != Scale::kNone;
  const bool taken = a.sequences > 0 && a.tokens_count >= kPromptTokens * a.sequences &&
                     (codes || a.kv.k.format == FormatId::kBF16) && a.kv.page_tokens % kTile == 0 &&
                     a.heads / a.kv_heads <= kRows && (a.head_dim == 64 || a.head_dim == 128);
  if (!taken) return false;
  if (a.head_dim == 64) {
    codes ? launch<64, true>(a, stream) : launch<64, false>(a, stream);
  } else {
    codes ? launch<128, true>(a, stream) : launch<128, false>(a, stream);
  }
  return true;
}

}  // namespace lowbit::cuda
