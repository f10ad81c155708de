// What becomes of tokens between two Linears of a batch (batch.cuh): the sums of slices are added
// up, y is finished and staged as the x that comes next.
#pragma once

#include "cuda/mail.cuh"
#include "cuda/stage.cuh"

namespace lowbit::cuda {

constexpr int kLookPlaces = 2 * kTileWarps;  // of the mail, for a token: squares, then tops
static_assert(ChainArgs::kMost * kMostBatch * kLookPlaces <= kMailPlaces);

// Between the sums of a token and those of the next.
__device__ __forceinline__ int sliced_rows(const TileArgs& a) { return a.shape.tiles * kTileRows; }

// A CTA's part of a token: the columns of some of the sixteen warps that would stage all of it, so
// that sums over it have one order.
struct TokenPart {
  int t, warp;    // this thread's of the sixteen
  bool has_part;  // whether it has one

  __device__ TokenPart(int part, int token_ctas) : t(part / token_ctas) {
    const int warps = kTileWarps / token_ctas, mine = threadIdx.x / 32;
    has_part = mine < warps;
    warp = (part - t * token_ctas) * warps + mine;
  }
  __device__ int first_column() const { return warp * 128 + lane_column(); }
};

__device__ __forceinline__ float4 load_four(const float* from) {
  return *reinterpret_cast<const float4*>(from);
}
__device__ __forceinline__ void store_four(float* to, const float4& v) {
  *reinterpret_cast<float4*>(to) = v;
}
__device__ __forceinline__ float4 add_four(const float4& a, const float4& b) {
  return {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w};
}

// Four columns of y of a token in every kColumnsAtOnce from `first` on, which y then has: the sums
// of slices, in order, and what follows them.
template <int kCount>
__device__ __forceinline__ void finish_columns(const TileArgs& a, int t, int first,
                                               float4 (&out)[kCount]) {
  constexpr int kAhead = 4;  // slices
  const LinearArgs& l = a.linear;
  const int64_t rows = sliced_rows(a), stride = l.m * rows;
  const auto* scales = static_cast<const float*>(l.w.scales);
  const bool add = l.epilogue == Epilogue::kAdd;
  const float* from = a.sliced + t * rows + first;
  float* y = l.y + t * l.ldy + first;
  const auto exists = [&](int i) { return first + i * kColumnsAtOnce < l.n; };
  float4 old[kCount], sum[kCount];
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    old[i] = add && exists(i) ? load_four(y + i * kColumnsAtOnce) : float4{0, 0, 0, 0};
    sum[i] = {0, 0, 0, 0};
  }
#pragma unroll 1
  for (int slice = 0; slice < a.slices; slice += kAhead) {
    float4 v[kAhead][kCount];
#pragma unroll
    for (int ahead = 0; ahead < kAhead; ++ahead, from += stride) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        v[ahead][i] = {0, 0, 0, 0};
        if (slice + ahead < a.slices && exists(i)) {
          v[ahead][i] = load_four(from + i * kColumnsAtOnce);
        }
      }
    }
#pragma unroll
    for (int ahead = 0; ahead < kAhead; ++ahead) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) sum[i] = add_four(sum[i], v[ahead][i]);
    }
  }
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    const int column = first + i * kColumnsAtOnce;
    if (scales && exists(i)) {
      const float4 s = load_four(scales + column);
      sum[i] = {sum[i].x * s.x, sum[i].y * s.y, sum[i].z * s.z, sum[i].w * s.w};
    }
    if (l.bias && exists(i)) {
      const float* bias = l.bias + column;
      sum[i] = add_four(sum[i], {bias[0], bias[1], bias[2], bias[3]});
    }
    out[i] = add_four(old[i], sum[i]);
    if (exists(i)) store_four(y + i * kColumnsAtOnce, out[i]);
  }
}

// y of a part of a token.
static __device__ __noinline__ void finish_part(const TileArgs& a, TokenPart part) {
#pragma unroll 1
  for (int column = part.first_column(); column < a.linear.n; column += 2 * kColumnsAtOnce) {
    float4 y[2];
    finish_columns(a, part.t, column, y);
  }
}

// What all warps saw of a token, `look` being what this one saw.
__device__ __forceinline__ Look look_of_all(Look look, int warp, float* places) {
  const int lane = threadIdx.x % 32;
  if (lane == 0) {
    post(places + warp, look.squares);
    post(places + kTileWarps + warp, __uint_as_float(look.top));
  }
  const float seen = receive(places + lane);
  Look all;
#pragma unroll
  for (int i = 0; i < kTileWarps; ++i) all.squares += __shfl_sync(0xffffffffu, seen, i);
  all.top = __reduce_max_sync(0xffffffffu, lane < kTileWarps ? 0 : __float_as_uint(seen));
  return all;
}

// A part of a token of plain numbers, as stage_plain() stages all of it; in bf16 nobody has to know
// all of a token, and it is normalised after the sums. kFinish: the numbers are y of `before`,
// whose sums are in slices.
template <XTerms kX, int kAhead, bool kFinish>
static __device__ __noinline__ void stage_part(const TileArgs& before, const TileArgs& a,
                                               TokenPart part, float* places) {
  const TokenIn in = token_in(a, part.t, nullptr);
  const int first = part.first_column();
  float4 v[kAhead], w[kAhead];
#pragma unroll
  for (int i = 0; i < kAhead; ++i) {
    const int column = first + i * kColumnsAtOnce;
    w[i] = in.norm && column < in.k ? load_four(in.norm + column) : float4{1, 1, 1, 1};
  }
  if constexpr (kFinish) {
    finish_columns(before, part.t, first, v);
  } else {
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const int column = first + i * kColumnsAtOnce;
      v[i] = column < in.k ? load_four(in.row + column) : float4{0, 0, 0, 0};
    }
  }
  Look look;
#pragma unroll
  for (int i = 0; i < kAhead; ++i) look.add(v[i], w[i]);
  TokenScale s = {1, 1, 1};
  const bool one = threadIdx.x % 32 == 0;
  if constexpr (kX == XTerms::kPanelBf16) {
    if (in.norm) {
      look.reduce();
      if (one) a.squares[part.t * kTileWarps + part.warp] = look.squares;
    }
  } else {
    look.reduce();
    look = look_of_all(look, part.warp, places);
    const float inverse = in.norm ? inverse_rms(look.squares, in.k, in.eps) : 1.0f;
    s = scale_of<kX>(inverse, look.top, in.whole_numbers);
  }
  TokenOut to = token_out<kX>(a, part.t, a.prepared);
  to.factor = s.factor;
#pragma unroll
  for (int i = 0; i < kAhead; ++i) {
    const int column = first + i * kColumnsAtOnce;
    if (column < in.columns) put_in_panel<kX>(to, column, normed(v[i], w[i], s.inverse_rms));
  }
  if (part.warp == 0 && one) a.prepared_scale[part.t] = s.unit;
}

// x of `op` from y of the one before it, if there is one: this CTA's part of a token.
template <XTerms kX>
__device__ __forceinline__ void stage_token_part(const ChainedOp* before, const ChainedOp& op,
                                                 const TokenPart& part, float* looks,
                                                 StageMemory& shared) {
  const TileArgs& a = op.tile;
  const bool finishes = before && before->tile.slices > 1;
  const bool few = a.plain_x && rounds_of_x(a) == kFewRounds;
  float* places = looks ? looks + op.looks_place + part.t * kLookPlaces : nullptr;
  if (finishes && few && a.linear.x.data == before->tile.linear.y &&
      a.linear.k == before->tile.linear.n) {
    if (part.has_part) stage_part<kX, kFewRounds, true>(before->tile, a, part, places);
    return;
  }
  if (finishes && part.has_part) finish_part(before->tile, part);
  if (few) {
    if (part.has_part) stage_part<kX, kFewRounds, false>(a, a, part, places);
  } else if (a.plain_x) {
    if (part.has_part) stage_part<kX, kMostRounds, false>(a, a, part, places);
  } else {
    const float scale = stage_token<kX>(a, part.t, shared, a.prepared, nullptr);
    if (threadIdx.x == 0) a.prepared_scale[part.t] = scale;
    sync_stagers();
  }
}

}  // namespace lowbit::cuda
