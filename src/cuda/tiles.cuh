// y[m, n] (+)= x[m, k] w[n, k]^T for up to 32 tokens, w in layout kTiles: one kernel for all
// formats, of one Linear or several that follow each other; token_kernel (tiles_token.cuh) is its
// like for one token.
//
// Weights are the A operand (16 rows) and tokens the 8 columns of B, so that one token costs what
// eight do. Each warp streams its share of a tile (all of k, or one of `parts` parts of it) through
// a ring of its own in shared memory, filled by bulk copies that its first lane starts; no warp
// waits for another before the parts are summed. The ring is filled before the kernel waits for its
// predecessor: weights do not depend on it.
//   bytes   the stream, once; x from L2 once for each CTA
//   limits  m <= 32; groups of 16, 32, 64, 128, 256 or whole rows
#pragma once

#include "cuda/grid_barrier.cuh"
#include "cuda/pdl.cuh"
#include "cuda/products_fixed.cuh"
#include "cuda/stage.cuh"
#include "cuda/tile_ring.cuh"

namespace lowbit::cuda {

// ---- after the last block -----------------------------------------------------------------------

__device__ __forceinline__ float row_sum(const TileArgs& a, const float* partial, int slot, int t,
                                         int row) {
  const float* first = partial + (slot << a.log_parts) * a.linear.m * kTileRows;
  float sum = 0;
#pragma unroll 4
  for (int part = 0; part < 1 << a.log_parts; ++part) {
    sum += first[(part * a.linear.m + t) * kTileRows + row];
  }
  return sum;
}

// A number of y that a thread finishes: of a pair of rows (a gate and its up), the gate's.
struct Output {
  int slot, tile, t, row, n;
  bool exists;
};
// What it takes besides the sums; [1]: of the up.
struct OutputTerms {
  float factor[2], bias[2], old;
};

// Outputs of rounds [first, last). Each is always the same thread's, whatever the rounds.
struct Outputs {
  static constexpr int kAtOnce = kTileThreads / kTileRows;
  const TileArgs& a;
  int slot0, count;
  int mine;  // the first that is this thread's

  __device__ Outputs(const TileArgs& args, int first, int last)
      : a(args),
        slot0(first << kLogTileWarps >> a.log_parts),
        count(((last - first) << kLogTileWarps >> a.log_parts) * a.linear.m),
        mine((threadIdx.x / kTileRows - slot0 * a.linear.m) % kAtOnce) {}

  __device__ Output operator[](int i) const {
    const LinearArgs& l = a.linear;
    const int slot = a.slot_of(i), row = threadIdx.x % kTileRows;
    // Of two stacked matrices, a tile holds eight rows of each.
    const int half = l.w.paired ? l.n / 2 : 0;
    Output o{};
    o.slot = slot;
    o.tile = blockIdx.x + (slot0 + slot) * gridDim.x;
    o.t = i - slot * l.m;
    o.row = row;
    o.n = l.w.paired ? o.tile * 8 + row % 8 + (row < 8 ? 0 : half) : o.tile * kTileRows + row;
    o.exists = i < count && o.tile < a.shape.tiles && o.n < (half && row < 8 ? half : l.n) &&
               (row < 8 || l.epilogue != Epilogue::kSiluMul);
    return o;
  }
  __device__ OutputTerms terms(const Output& o) const {
    const LinearArgs& l = a.linear;
    OutputTerms terms = {{1, 1}, {0, 0}, 0};
    if (!o.exists) return terms;
#pragma unroll
    for (int up = 0; up < 2; ++up) {
      if (up == 1 && l.epilogue != Epilogue::kSiluMul) break;
      if (l.w.scales) {
        terms.factor[up] =
            static_cast<const float*>(l.w.scales)[o.tile * kTileRows + o.row + 8 * up];
      }
      if (l.bias) terms.bias[up] = l.bias[o.n + l.n / 2 * up];
    }
    if (l.epilogue == Epilogue::kAdd) terms.old = l.y[o.t * l.ldy + o.n];
    return terms;
  }
};

// Where y also goes; null: nowhere.
struct YMail {
  float* places;
  int row;
};

// Sums over parts, in order; scales of rows, bias, epilogue. `first`: the terms of the first output
// of this thread; factor_of(t): what the sums of a token still have to be multiplied with.
template <class Factor>
__device__ __forceinline__ void finish(const Outputs& outputs, const OutputTerms& first,
                                       const float* partial, const YMail& mail,
                                       const Factor& factor_of) {
  const TileArgs& a = outputs.a;
  const LinearArgs& l = a.linear;
  const bool silu_mul = l.epilogue == Epilogue::kSiluMul;
#pragma unroll 1
  for (int i = outputs.mine; i < outputs.count; i += Outputs::kAtOnce) {
    const Output o = outputs[i];
    if (!o.exists) continue;
    const OutputTerms terms = i == outputs.mine ? first : outputs.terms(o);
    const float factor = factor_of(o.t);
    float v[2];
#pragma unroll
    for (int up = 0; up < 2; ++up) {
      if (up == 1 && !silu_mul) break;
      v[up] = row_sum(a, partial, o.slot, o.t, o.row + 8 * up) * factor;
      v[up] = v[up] * terms.factor[up] + terms.bias[up];
    }
    const float y = silu_mul                       ? silu(v[0]) * v[1]
                    : l.epilogue == Epilogue::kAdd ? terms.old + v[0]
                                                   : v[0];
    if (mail.places) post(mail.places + o.t * mail.row + o.n, y);
    l.y[o.t * l.ldy + o.n] = y;
  }
}

// ---- a Linear -----------------------------------------------------------------------------------

// Chunk `chunk` of the prepared x on its way to shared memory.
__device__ inline void fetch_chunk(const TileArgs& a, int rows, int chunk, const StagedX& to) {
  const int first = chunk * a.chunk_blocks * a.shape.units;
  const int units = min(a.chunk_blocks, a.shape.blocks - chunk * a.chunk_blocks) * a.shape.units;
  const int pieces = units * kUnit / 8;  // of 16 bytes, in a row
#pragma unroll 1
  for (int row = threadIdx.x / 32; row < rows; row += kTileWarps) {
    const uint32_t out = shared_address(to.x + row * to.row_halves);
    const uint16_t* in = a.prepared.x + int64_t{row} * a.prepared.row_halves + first * kUnit;
    for (int i = threadIdx.x % 32; i < pieces; i += 32) async_copy16(out + i * 16, in + i * 8);
  }
  const auto copy = [&](float* out, const float* in, int count) {
    for (int i = threadIdx.x * 4; i < count; i += kTileThreads * 4) {
      async_copy16(shared_address(out + i), in + i);
    }
  };
  if (a.sums_per_unit != 0) {
    copy(to.sums, a.prepared.sums + int64_t{first} * a.sums_per_unit * to.pitch,
         units * a.sums_per_unit * to.pitch);
  }
}

__device__ inline StagedX staged_in(uint8_t* memory, const TileArgs& a, int rows, int pitch) {
  const int units = a.chunk_blocks * a.shape.units;
  StagedX s{};
  s.pitch = pitch;
  s.row_halves = units * kUnit + 8;  // rows in different banks
  s.x = reinterpret_cast<uint16_t*>(memory);
  s.sums = reinterpret_cast<float*>(memory + rows * s.row_halves * 2);
  return s;
}

// x of the first chunk to shared memory; returned: where the tokens' scales are.
template <class W, int kN>
__device__ const float* bring_x(const ChainedOp& op, const Mail& mail, uint8_t* x_memory,
                                StageMemory& stage_memory, float* own_scale) {
  const TileArgs& a = op.tile;
  const int rows = rows_of_token(W::kX) * a.linear.m;
  const StagedX x = staged_in(x_memory, a, rows, kN * tokens_of_mma(W::kX));
  if (a.prepared.x) {
    fetch_chunk(a, rows, 0, x);
    async_commit();
    if (a.chunks > 1) return mail.at(op.scales_place);  // multiply_tiles() waits for each
    async_wait<0>();
  } else {
    const float* posted = op.wait == Wait::kMail ? mail.at(op.x_place) : nullptr;
    const float scale = stage_token<W::kX>(a, 0, stage_memory, x, posted);
    if (threadIdx.x == 0) *own_scale = scale;
  }
  __syncthreads();
  return a.prepared.x ? mail.at(op.scales_place) : own_scale;
}

// The CTA's tiles, once bring_x() has been called.
template <class W, class S, int kN>
__device__ void multiply_tiles(const TileArgs& a, Ring<true>& ring, uint8_t* x_memory,
                               float* partial, const float* token_scale, const YMail& mail) {
  const int rows = rows_of_token(W::kX) * a.linear.m;
  const auto staged = [&](int turn) {
    uint8_t* chunk = x_memory + (a.chunks > 1 ? turn % 2 : 0) * a.x_bytes;
    return staged_in(chunk, a, rows, kN * tokens_of_mma(W::kX));
  };
  Products<W, S, kN> products(a, staged(0), 0);
  const int piece_blocks = held(a.piece_blocks);
  int flushed = 0;
  OutputTerms terms;
#pragma unroll 1
  for (int round = 0; round < a.rounds; ++round) {
    if (round == flushed) {  // on their way while the warp multiplies
      const Outputs outputs(a, flushed, min(flushed + a.flush_rounds, a.rounds));
      terms = outputs.terms(outputs[outputs.mine]);
    }
    products.clear();
    const bool works = Share::tile(a, round) < a.shape.tiles;
#pragma unroll 1
    for (int chunk = 0; chunk < a.chunks; ++chunk) {
      const int turn = round * a.chunks + chunk;
      if (a.chunks > 1) {
        async_wait<0>();
        __syncthreads();  // this chunk is here, and nobody reads the one before it any more
        if (turn + 1 < a.rounds * a.chunks) {
          fetch_chunk(a, rows, (turn + 1) % a.chunks, staged(turn + 1));
          async_commit();
        }
      }
      if (!works) continue;
      const int2 blocks = Share::blocks(a, chunk);
      products.move(staged(turn), (blocks.x - chunk * a.chunk_blocks) * a.shape.units);
      for (int left = blocks.y - blocks.x; left > 0; left -= piece_blocks) {
        products.add(ring.take(), min(left, piece_blocks));
        ring.give_back();
      }
    }
    const int slot = (round - flushed) * kTileWarps + static_cast<int>(threadIdx.x / 32);
    products.store(partial + slot * a.linear.m * kTileRows);
    if (round + 1 == a.rounds || round + 1 - flushed == a.flush_rounds) {
      __syncthreads();
      finish(Outputs(a, flushed, round + 1), terms, partial, mail,
             [&](int t) { return W::kFactor * token_scale[t]; });
      flushed = round + 1;
      if (flushed < a.rounds) __syncthreads();
    }
  }
}

// ---- the kernel ---------------------------------------------------------------------------------

// x of several tokens, each made by one CTA for all.
template <class W>
__device__ void prepare_tokens(const ChainedOp& op, const Mail& mail, StageMemory& stage_memory) {
  const TileArgs& a = op.tile;
#pragma unroll 1
  for (int t = blockIdx.x; t < a.linear.m; t += gridDim.x) {
    const float* posted = op.wait == Wait::kMail ? mail.at(op.x_place + t * op.x_row) : nullptr;
    const float scale = stage_token<W::kX>(a, t, stage_memory, a.prepared, posted);
    __syncthreads();
    if (threadIdx.x == 0) post_after(mail.at(op.scales_place + t), scale);
  }
  if (threadIdx.x < a.linear.m) {
    receive_with(mail.at(op.scales_place + static_cast<int>(threadIdx.x)));
  }
  __syncthreads();
}

// Linears one after the other. The ring does not stop between them: while x of a Linear is made,
// its weights arrive. One CTA for each multiprocessor, all of them resident, as those who wait
// need.
template <class W, class S, int kN>
__global__ void __launch_bounds__(kTileThreads, 1)
    tiles_kernel(const __grid_constant__ ChainArgs chain) {
  extern __shared__ __align__(128) uint8_t memory[];
  __shared__ uint64_t barriers[kTileWarps * kMaxSlots];
  __shared__ StageMemory stage_memory;
  __shared__ float own_scale;

  Ring<true> ring(chain, memory, barriers);
  const TileArgs& first = chain.ops[0].tile;
  auto* partial = reinterpret_cast<float*>(memory + kTileWarps * first.slots * first.slot_bytes);
  uint8_t* x_memory = reinterpret_cast<uint8_t*>(partial) + chain.partial_bytes;
  prefetch_constants(first, threadIdx.x, kTileThreads);
  pdl_wait();
  const Mail mail(chain.mail);
  GridBarrier all(chain.barrier);
#pragma unroll 1
  for (int i = 0; i < chain.count; ++i) {
    const ChainedOp& op = chain.ops[i];
    if (i + 1 < chain.count) prefetch_constants(chain.ops[i + 1].tile, threadIdx.x, kTileThreads);
    if (op.wait == Wait::kAll) all.meet();
    if (op.tile.prepared.x) prepare_tokens<W>(op, mail, stage_memory);
    const float* scale = bring_x<W, kN>(op, mail, x_memory, stage_memory, &own_scale);
    const YMail y_mail = {op.y_place < 0 ? nullptr : mail.at(op.y_place), op.y_row};
    multiply_tiles<W, S, kN>(op.tile, ring, x_memory, partial, scale, y_mail);
  }
  if (chain.posts) mail.leave();
}

}  // namespace lowbit::cuda
