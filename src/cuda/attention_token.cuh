// rope_append and attention of one token over up to kShortContext positions of a cache in bf16, by
// the CTAs of a kernel of kTileThreads.
//
// An item is one kv head and eight of its columns of V: it finds the weights of all positions for
// itself, so that items add nothing up between them; K is read from the L2 once for each item. Of a
// tile of eight positions lane 4 g + q has row g, and head q. Scores are mma.m16n8k16, K being half
// of A and the queries B, each head as the sum of two numbers in bf16 (2^-17 of it is lost).
// A tile's keys are on their way before anything is waited for. Whatever a function that is called
// holds in registers its caller cannot: with 16 positions a tile, and V there as early, Linears
// kept their rings in local memory and took 5 us more each.
#pragma once

#include "cuda/attention.cuh"
#include "cuda/attention_token.h"
#include "cuda/mail.cuh"
#include "cuda/pdl.cuh"
#include "cuda/stage.cuh"

namespace lowbit::cuda {

inline constexpr int kItemColumns = 8;
constexpr int kWarpRows = 8;  // positions that a warp has at once

// Where the token's positions are, by tiles.
struct TokenPages {
  int32_t context;  // the token's own position counts
  int32_t page[kShortContext / kTileTokens];

  // By all threads; they have to meet before anybody reads.
  __device__ void find(const TokenAttention& op) {
    const auto first = static_cast<int32_t>(threadIdx.x) * kTileTokens;
    if (first >= kShortContext) return;
    const int32_t slot = op.slot[0], pos = op.pos[0];
    if (first == 0) context = pos + 1;
    if (first > pos) return;
    page[threadIdx.x] = op.page_table[int64_t{slot} * op.max_pages + (first >> op.log_page_tokens)];
  }
  // Of K and V: the row of a position, whose tile has been found.
  __device__ int64_t row(const TokenAttention& op, int32_t pos, int32_t kv_head) const {
    const int32_t in_page = pos & ((1 << op.log_page_tokens) - 1);
    const int64_t head = int64_t{page[pos / kTileTokens]} * op.kv_heads + kv_head;
    return (head << op.log_page_tokens) + in_page;
  }
};

template <int kDim>
struct TokenMemory {
  uint2 queries[kDim / 16][32];  // fragments of B; columns 2 h and 2 h + 1 are those of head h
  alignas(16) uint16_t newest_k[kDim];
  alignas(16) uint16_t newest_v[kItemColumns];
  static_assert(kTokenHeads * kItemColumns * kTileWarps == kTileThreads);
  float sums[kTileWarps][kTokenHeads][kItemColumns];  // of exp2(score - top) V
  float2 tops[kTileWarps][kTokenHeads];               // top, sum of exp2(score - top)
};

static_assert(sizeof(TokenMemory<64>) <= kTokenBytes && sizeof(TokenMemory<128>) <= kTokenBytes);

// The row of a lane in a tile: of K columns 32 i + 8 q, of V the item's.
template <int kDim>
struct TokenTile {
  uint4 k[kDim / 32], v;

  __device__ __forceinline__ void load_k(const uint16_t* row, bool live) {
#pragma unroll
    for (int i = 0; i < kDim / 32; ++i) {
      k[i] = {};
      if (live) k[i] = *reinterpret_cast<const uint4*>(row + 32 * i + 8 * (threadIdx.x % 4));
    }
  }
  __device__ __forceinline__ void load_v(const uint16_t* row, bool live) {
    v = {};
    if (live) v = *reinterpret_cast<const uint4*>(row);
  }
  // The score of the row for head q, to be scaled.
  __device__ __forceinline__ float multiply(const TokenMemory<kDim>& memory) const {
    float sum[2][4] = {};
#pragma unroll
    for (int step = 0; step < kDim / 16; ++step) {
      const uint4& word = k[step / 2];
      const uint32_t a[4] = {step % 2 ? word.z : word.x, 0, step % 2 ? word.w : word.y, 0};
      const uint2 b = memory.queries[step][threadIdx.x % 32];
      mma_bf16(sum[step % 2], a, b.x, b.y);
    }
    return sum[0][0] + sum[1][0] + (sum[0][1] + sum[1][1]);
  }
};

// One warp's softmax over its tiles; lane 4 g + q has head q.
struct TokenSoftmax {
  float top = -INFINITY, total = 0, sum[kItemColumns] = {};

  // Of row g, if it is `live`.
  __device__ __forceinline__ void add(float score, const uint4& v, bool live) {
    if (!live) score = -INFINITY;
    float most = fmaxf(top, score);
#pragma unroll
    for (int lanes = 4; lanes < 32; lanes *= 2) {
      most = fmaxf(most, __shfl_xor_sync(kAllLanes, most, lanes));
    }
    const float old = top == most ? 1.0f : exp2f(top - most);
    top = most;
    const float weight = live ? exp2f(score - top) : 0.0f;
    total = fmaf(total, old, weight);
    const uint32_t words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int c = 0; c < kItemColumns / 2; ++c) {
      sum[2 * c] = fmaf(weight, __uint_as_float(words[c] << 16), sum[2 * c] * old);
      sum[2 * c + 1] = fmaf(weight, __uint_as_float(words[c] & 0xffff0000u), sum[2 * c + 1] * old);
    }
  }
  // Over all rows: lane 4 g + q is left with column g.
  template <int kDim>
  __device__ __forceinline__ void store(TokenMemory<kDim>& memory) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, q = lane % 4;
#pragma unroll
    for (int lanes = 16, left = kItemColumns / 2; lanes >= 4; lanes /= 2, left /= 2) {
      total += __shfl_xor_sync(kAllLanes, total, lanes);
      const bool second = (lane & lanes) != 0;
#pragma unroll
      for (int c = 0; c < kItemColumns / 2; ++c) {
        if (c >= left) break;
        const float mine = second ? sum[left + c] : sum[c];
        const float others = second ? sum[c] : sum[left + c];
        sum[c] = mine + __shfl_xor_sync(kAllLanes, others, lanes);
      }
    }
    memory.sums[warp][q][g] = sum[0];
    if (g == 0) memory.tops[warp][q] = {top, total};
  }
};

// q, k and v of this step for an item, as soon as they can be had: threads that each have four
// pairs of columns of a query head, or a pair of the key, or four columns of the value.
template <int kDim>
class TokenNewest {
 public:
  // `mail`: where qkv is posted, or null; `row`: of the cache.
  __device__ TokenNewest(const TokenAttention& op, const float* mail, int32_t kv_head,
                         int32_t column, int64_t row)
      : op_(op), mail_(mail), column_(column), row_(row), k_head_(op.heads + kv_head) {}

  __device__ __forceinline__ void bring(TokenMemory<kDim>& memory, int32_t kv_head) const {
    const auto thread = static_cast<int32_t>(threadIdx.x);
    if (thread < kFirstOfV) {
      const int32_t head = thread / kThreads;
      if (head < op_.group) bring_query(memory, kv_head * op_.group + head, head);
    } else if (thread < kFirstOfK) {
      const int32_t at = (thread - kFirstOfV) * 4;
      if (at < kItemColumns) bring_value(memory, at);
    } else if (thread < kFirstOfK + kHalf) {
      bring_key(memory, thread - kFirstOfK);
    }
  }

 private:
  static constexpr int kHalf = kDim / 2, kThreads = kHalf / 4;  // of a query head
  static constexpr int kFirstOfV = 96, kFirstOfK = 128;         // warps of their own
  static_assert(kTokenHeads * kThreads <= kFirstOfV && kFirstOfK + kHalf <= kTileThreads);

  __device__ void bring_query(TokenMemory<kDim>& memory, int32_t q_head, int32_t head) const {
    const int32_t at = static_cast<int32_t>(threadIdx.x) % kThreads * 4;
    float4 x[2];
    load(q_head * kDim + at, kHalf, x);
    const float4 cos = *reinterpret_cast<const float4*>(op_.cos_sin + at);
    const float4 sin = *reinterpret_cast<const float4*>(op_.cos_sin + kHalf + at);
    put_query(memory, head, at,
              {fmaf(x[0].x, cos.x, -x[1].x * sin.x), fmaf(x[0].y, cos.y, -x[1].y * sin.y),
               fmaf(x[0].z, cos.z, -x[1].z * sin.z), fmaf(x[0].w, cos.w, -x[1].w * sin.w)});
    put_query(memory, head, kHalf + at,
              {fmaf(x[1].x, cos.x, x[0].x * sin.x), fmaf(x[1].y, cos.y, x[0].y * sin.y),
               fmaf(x[1].z, cos.z, x[0].z * sin.z), fmaf(x[1].w, cos.w, x[0].w * sin.w)});
  }
  __device__ static void put_query(TokenMemory<kDim>& memory, int32_t head, int column,
                                   const float4& v) {
    uint2 high, rest;
    split_bf16({v.x, v.y, v.z, v.w}, high, rest);
    uint2* to = &memory.queries[column / 32 * 2 + column / 4 % 2][column % 32 / 8];
    to[2 * head * 4] = high;
    to[(2 * head + 1) * 4] = rest;
  }
  __device__ void bring_value(TokenMemory<kDim>& memory, int32_t at) const {
    float4 x[1];
    load((k_head_ + op_.kv_heads) * kDim + column_ + at, 0, x);
    const uint2 words = {uint32_t{f32_to_bf16(x[0].y)} << 16 | f32_to_bf16(x[0].x),
                         uint32_t{f32_to_bf16(x[0].w)} << 16 | f32_to_bf16(x[0].z)};
    *reinterpret_cast<uint2*>(memory.newest_v + at) = words;
    *reinterpret_cast<uint2*>(op_.v + row_ * kDim + column_ + at) = words;
  }
  __device__ void bring_key(TokenMemory<kDim>& memory, int32_t at) const {
    const int32_t from = k_head_ * kDim + at;
    const float first = mail_ ? receive(mail_ + from) : op_.qkv[from];
    const float second = mail_ ? receive(mail_ + from + kHalf) : op_.qkv[from + kHalf];
    const float2 x = rotated(first, second, op_.cos_sin[at], op_.cos_sin[kHalf + at]);
    put_key(memory, at, x.x);
    put_key(memory, kHalf + at, x.y);
  }
  // To the cache every item writes the eight columns that it has of V.
  __device__ void put_key(TokenMemory<kDim>& memory, int32_t at, float x) const {
    const uint16_t bits = f32_to_bf16(x);
    memory.newest_k[at] = bits;
    if (at / kItemColumns == column_ / kItemColumns) op_.k[row_ * kDim + at] = bits;
  }
  // Four numbers from `from` on, and where there are two of them four from `step` behind.
  template <int kCount>
  __device__ __forceinline__ void load(int32_t from, int32_t step, float4 (&x)[kCount]) const {
    if (mail_) return receive(mail_, from, step, from + step + 1, x);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      x[i] = *reinterpret_cast<const float4*>(op_.qkv + from + i * step);
    }
  }

  const TokenAttention& op_;
  const float* mail_;
  int32_t column_;
  int64_t row_;
  int32_t k_head_;
};

// A number of the output, by the sixteen lanes that have what each warp found of it.
template <int kDim>
__device__ __forceinline__ float merged(const TokenMemory<kDim>& memory, int head, int column) {
  static_assert(kTileWarps == 16);
  const int warp = threadIdx.x % kTileWarps;
  const float2 found = memory.tops[warp][head];
  float top = found.x;
#pragma unroll
  for (int lanes = 1; lanes < kTileWarps; lanes *= 2) {
    top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, lanes));
  }
  const float factor = exp2f(found.x - top);
  float sum = factor * memory.sums[warp][head][column], total = factor * found.y;
#pragma unroll
  for (int lanes = 1; lanes < kTileWarps; lanes *= 2) {
    sum += __shfl_xor_sync(kAllLanes, sum, lanes);
    total += __shfl_xor_sync(kAllLanes, total, lanes);
  }
  return sum / total;
}

// The CTA's items. `mail`: where qkv is posted, or null: the kernel before this one has written it;
// `posted`: where the output goes beside memory, or null.
template <int kDim>
static __device__ __noinline__ void attend_items(const TokenAttention& op, const TokenPages& pages,
                                                 const float* mail, float* posted,
                                                 TokenMemory<kDim>& memory) {
  constexpr int kParts = kDim / kItemColumns;
  const int32_t warp = static_cast<int32_t>(threadIdx.x / 32), newest = pages.context - 1;
#pragma unroll 1
  for (int32_t item = blockIdx.x; item < op.kv_heads * kParts; item += gridDim.x) {
    const int32_t kv_head = item / kParts, column = item % kParts * kItemColumns;
    const int g = threadIdx.x % 32 / 4, q = threadIdx.x % 4;
    TokenTile<kDim> tile;
    int32_t at = warp * kWarpRows + g;  // the lane's position
    const auto load_k = [&] {
      const bool older = at < newest;
      tile.load_k(op.k + (older ? pages.row(op, at, kv_head) : 0) * kDim, older);
    };
    const auto load_v = [&] {
      const bool older = at < newest;
      tile.load_v(op.v + (older ? pages.row(op, at, kv_head) : 0) * kDim + column, older);
    };
    load_k();
    if (!mail) pdl_wait();
    const int64_t row = pages.row(op, newest, kv_head);
    TokenNewest<kDim>(op, mail, kv_head, column, row).bring(memory, kv_head);
    load_v();
    __syncthreads();

    TokenSoftmax softmax;
#pragma unroll 1
    for (int32_t left = newest - warp * kWarpRows; left >= 0; left -= kWarpRows * kTileWarps) {
      if (at == newest) {
#pragma unroll
        for (int i = 0; i < kDim / 32; ++i) {
          tile.k[i] = *reinterpret_cast<const uint4*>(memory.newest_k + 32 * i + 8 * q);
        }
        tile.v = *reinterpret_cast<const uint4*>(memory.newest_v);
      }
      __syncwarp();
      const float score = tile.multiply(memory) * op.scale;
      const bool live = at <= newest;
      at += kWarpRows * kTileWarps;
      load_k();
      softmax.add(score, tile.v, live);
      load_v();
    }
    softmax.store(memory);
    __syncthreads();
    // Sixteen lanes for each of kTokenHeads x kItemColumns numbers.
    const int32_t mine = static_cast<int32_t>(threadIdx.x) / kTileWarps;
    const int32_t head = mine / kItemColumns, of_item = mine % kItemColumns;
    const float value = merged(memory, head, of_item);
    if (head >= op.group || threadIdx.x % kTileWarps != 0) continue;
    const int32_t number = (kv_head * op.group + head) * kDim + column + of_item;
    if (posted) post(posted + number, value);
    op.out[number] = value;
  }
}

}  // namespace lowbit::cuda
