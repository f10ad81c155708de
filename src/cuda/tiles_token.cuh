// y[n] (+)= w[n, k] x[k] of one token, w in layout kTiles: one Linear or several that follow each
// other, the token's attention between them.
//
// As tiles_kernel (tiles.cuh), but every warp has the same columns in all tiles of a Linear and
// stages them itself as soon as they are there: the threads of a CTA meet once in a Linear, when
// the parts of its tiles are summed.
#pragma once

#include "cuda/attention_token.cuh"
#include "cuda/products_planes.cuh"
#include "cuda/stage_own.cuh"
#include "cuda/tiles.cuh"

namespace lowbit::cuda {

// Where the threads of a CTA meet, and what its warps bring: one place is for the next meeting
// while the one before it is still read.
struct Meetings {
  float* sums;           // [2][slots, kTileRows]
  float* squares;        // [2][kTileWarps], of the warps' columns
  int32_t place_floats;  // of a place for sums
  int place = 0;

  __device__ float* next_sums() const { return sums + place * place_floats; }
  __device__ float* next_squares() const { return squares + place * kTileWarps; }
};

// 1 / rms from the squares of all warps' columns.
__device__ __forceinline__ float fast_inverse_rms(const float* squares, int k, float eps) {
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kTileWarps / 4; ++i) {
    const float4 four = reinterpret_cast<const float4*>(squares)[i];
    sum += four.x + four.y + four.z + four.w;
  }
  return rsqrtf(fmaf(sum, reciprocal(static_cast<float>(k)), eps));
}
// silu(), a few units in the last place off.
__device__ __forceinline__ float fast_silu(float x) {
  const float e = __expf(-fabsf(x)), part = reciprocal(1 + e);
  return x * (x >= 0 ? part : e * part);
}

// The one number of y that a thread makes at a meeting, all that does not need the sums being found
// out before.
struct TokenOutput {
  bool exists, silu_mul;
  int parts, sums;  // of its row: how many, and where the first is
  OutputTerms terms;
  float* y;
  float* mail;  // or null

  __device__ TokenOutput(const Outputs& outputs, float* y_mail)
      : silu_mul(outputs.a.linear.epilogue == Epilogue::kSiluMul), parts(1 << outputs.a.log_parts) {
    const Output o = outputs[outputs.mine];
    exists = o.exists;
    terms = outputs.terms(o);
    sums = (o.slot << outputs.a.log_parts) * kTileRows + o.row;
    y = outputs.a.linear.y + o.n;
    mail = y_mail ? y_mail + o.n : nullptr;
  }
  // `all_sums`: of the meeting; `factor`: what they still have to be multiplied with.
  __device__ __forceinline__ void finish(const float* all_sums, float factor) const {
    const float* sum = all_sums + sums;
    float v[2] = {0, 0};
#pragma unroll 4
    for (int part = 0; part < parts; ++part, sum += kTileRows) {
      v[0] += sum[0];
      if (silu_mul) v[1] += sum[8];
    }
#pragma unroll
    for (int up = 0; up < 2; ++up) v[up] = v[up] * factor * terms.factor[up] + terms.bias[up];
    const float made = terms.old + (silu_mul ? fast_silu(v[0]) * v[1] : v[0]);
    if (mail) post(mail, made);
    *y = made;
  }
};

// Sums of x that products of a unit need: 0, 1, 2 or 4.
template <class W, class S>
constexpr int kSumsPerUnit = [] {
  bool needed = S::kZeros;
  if constexpr (W::kX == XTerms::kFixed || W::kX == XTerms::kPlanes) {
    needed = needed || W::kOffset != 0;
  }
  return !needed ? 0 : S::kGroups == 0 ? 1 : S::kGroups;
}();

template <class W, class S>
__device__ void multiply_token(const ChainedOp& op, Ring<false>& ring, uint8_t* own_memory,
                               Meetings& meetings, const Mail& mail) {
  const TileArgs& a = op.tile;
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int2 blocks = Share::blocks(a, 0);
  const int count = blocks.y - blocks.x;
  StagedX own{};
  own.row_halves = own_units(count * a.shape.units, W::kX) * kUnit;
  own.x = reinterpret_cast<uint16_t*>(own_memory);
  own.sums = reinterpret_cast<float*>(own.x + rows_of_token(W::kX) * own.row_halves);
  own.pitch = tokens_of_mma(W::kX);
  OwnScale scale = {0, 0};
  __syncwarp();  // the columns of the Linear before have been read
  if (Share::tile(a, 0) < a.shape.tiles) {
    scale = stage_own<W::kX, kSumsPerUnit<W, S>>(
        a, blocks, own, op.wait == Wait::kMail ? mail.at(op.x_place) : nullptr);
  }
  if (warp >> a.log_parts != 0) scale.squares = 0;  // another warp has these columns too
  __syncwarp();

  float* y_mail = op.y_place < 0 ? nullptr : mail.at(op.y_place);
  Products<W, S, 1> products(a, own, 0);
  const int piece_blocks = held(a.piece_blocks);
#pragma unroll 1
  for (int flushed = 0; flushed < a.rounds; flushed += a.flush_rounds, meetings.place ^= 1) {
    const int end = min(flushed + a.flush_rounds, a.rounds);
    const TokenOutput output(Outputs(a, flushed, end), y_mail);
    float* sums = meetings.next_sums() + warp * kTileRows;
#pragma unroll 1
    for (int round = flushed; round < end; ++round, sums += kTileWarps * kTileRows) {
      if (Share::tile(a, round) >= a.shape.tiles) break;
      products.clear();
      products.move(own, 0);
      for (int left = count; left > 0; left -= piece_blocks) {
        products.add(ring.take(), min(left, piece_blocks));
        ring.give_back();
      }
      products.store(sums, scale.unit);
    }
    if (threadIdx.x % 32 == 0) meetings.next_squares()[warp] = scale.squares;
    __syncthreads();
    if (!output.exists) continue;
    const LinearArgs& l = a.linear;
    const float norm =
        l.norm_weight ? fast_inverse_rms(meetings.next_squares(), l.k, l.norm_eps) : 1.0f;
    output.finish(meetings.next_sums(), W::kFactor * norm);
  }
}

template <int kDim>
__device__ __forceinline__ void attend_in_chain(const TokenAttention& attention,
                                                const ChainedOp& op, const TokenPages& pages,
                                                Meetings& meetings, const Mail& mail) {
  attend_items<kDim>(attention, pages, op.wait == Wait::kMail ? mail.at(op.x_place) : nullptr,
                     op.y_place < 0 ? nullptr : mail.at(op.y_place),
                     *reinterpret_cast<TokenMemory<kDim>*>(meetings.next_sums()));
  // (A CTA without an item has not met.)
  if (blockIdx.x < attention.kv_heads * (kDim / kItemColumns)) meetings.place ^= 1;
}

template <class W, class S>
__global__ void __launch_bounds__(kTileThreads, 1)
    token_kernel(const __grid_constant__ ChainArgs chain,
                 const __grid_constant__ TokenAttentions attentions) {
  extern __shared__ __align__(128) uint8_t memory[];
  __shared__ uint64_t barriers[kTileWarps * kMaxSlots];
  __shared__ alignas(16) float squares[2 * kTileWarps];
  __shared__ TokenPages pages;

  Ring<false> ring(chain, memory, barriers);
  const TileArgs& first = chain.ops[0].tile;
  const int warp = static_cast<int>(threadIdx.x / 32);
  uint8_t* sums = memory + kTileWarps * first.slots * first.slot_bytes;
  uint8_t* own_memory = sums + 2 * chain.partial_bytes + warp * chain.own_bytes;
  Meetings meetings = {reinterpret_cast<float*>(sums), squares, chain.partial_bytes / 4};
  // By the warp that most rarely has an output to finish.
  const auto prefetch = [&](int i) {
    if (warp != kTileWarps - 1 || chain.ops[i].attention >= 0) return;
    prefetch_constants(chain.ops[i].tile, threadIdx.x % 32, 32);
  };
  prefetch(0);
  pdl_wait();
  const Mail mail(chain.mail);
  GridBarrier all(chain.barrier);
  // (Every attention comes after a Linear, in which the threads meet.)
  if (attentions.count > 0) pages.find(attentions.at[0]);
#pragma unroll 1
  for (int i = 0; i < chain.count; ++i) {
    if (i + 1 < chain.count) prefetch(i + 1);
    const ChainedOp& op = chain.ops[i];
    if (op.wait == Wait::kAll) all.meet();
    if (op.attention < 0) {
      multiply_token<W, S>(op, ring, own_memory, meetings, mail);
    } else if (attentions.at[op.attention].head_dim == 64) {
      attend_in_chain<64>(attentions.at[op.attention], op, pages, meetings, mail);
    } else {
      attend_in_chain<128>(attentions.at[op.attention], op, pages, meetings, mail);
    }
  }
  if (chain.posts) mail.leave();
}

}  // namespace lowbit::cuda
