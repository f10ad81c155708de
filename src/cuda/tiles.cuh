// y[m, n] (+)= x[m, k] w[n, k]^T for up to 32 tokens, w in layout kTiles: one kernel for all
// formats.
//
// Weights are the A operand (16 rows) and tokens the 8 columns of B, so that one token costs what
// eight do. Each warp streams its share of a tile (all of k, or one of `parts` parts of it) through
// a ring of its own in shared memory, filled by bulk copies that its first lane starts; no warp
// waits for another before the parts are summed. The ring is filled before the kernel waits for its
// predecessor: weights do not depend on it.
//   bytes   the stream, once; x from L2 once for each CTA
//   limits  m <= 32; groups of 16, 32, 64, 128, 256 or whole rows
#pragma once

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

// Sums over parts of rounds [first, last), in order; scales of rows, bias, epilogue.
__device__ inline void finish_rounds(const TileArgs& a, float code_factor, const float* token_scale,
                                     const float* partial, int first, int last) {
  const LinearArgs& l = a.linear;
  const int slots = (last - first) << kLogTileWarps >> a.log_parts;
  const int slot0 = first << kLogTileWarps >> a.log_parts;
  const bool silu_mul = l.epilogue == Epilogue::kSiluMul;
  // Of two stacked matrices, a tile holds eight rows of each.
  const int half = l.w.paired ? l.n / 2 : 0;
  const int row = threadIdx.x % kTileRows;
  if (silu_mul && row >= 8) return;
#pragma unroll 1
  for (int i = threadIdx.x / kTileRows; i < slots * l.m; i += kTileThreads / kTileRows) {
    const int slot = i / l.m, t = i - slot * l.m;
    const int tile = blockIdx.x + (slot0 + slot) * gridDim.x;
    if (tile >= a.shape.tiles) return;
    const int n = l.w.paired ? tile * 8 + row % 8 + (row < 8 ? 0 : half) : tile * kTileRows + row;
    if (n >= (l.w.paired && row < 8 ? half : l.n)) continue;
    float v[2];
#pragma unroll
    for (int which = 0; which < 2; ++which) {  // the gate, then its up
      if (which == 1 && !silu_mul) break;
      const int at = row + 8 * which;
      v[which] = row_sum(a, partial, slot, t, at) * code_factor * token_scale[t];
      if (l.w.scales) v[which] *= static_cast<const float*>(l.w.scales)[tile * kTileRows + at];
      if (l.bias) v[which] += l.bias[n + half * which];
    }
    float* out = l.y + t * l.ldy + n;
    *out = silu_mul ? silu(v[0]) * v[1] : l.epilogue == Epilogue::kAdd ? *out + v[0] : v[0];
  }
}

// ---- the kernel ---------------------------------------------------------------------------------

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

// x of the first chunk to shared memory: the kernel's one token, or what was prepared.
// `token_scale` is then where the tokens' scales are.
template <class W, int kN>
__device__ const float* bring_x(const TileArgs& a, uint8_t* x_memory, StageMemory& stage_memory,
                                float* own_scale) {
  const int rows = rows_of_token(W::kX) * a.linear.m;
  const StagedX x = staged_in(x_memory, a, rows, kN * tokens_of_mma(W::kX));
  if (a.prepared.x) {
    fetch_chunk(a, rows, 0, x);
    async_commit();
    if (a.chunks > 1) return a.prepared_scale;  // multiply_tiles() waits for each
    async_wait<0>();
  } else {
    const float scale = stage_token<W::kX>(a.linear, a.sums_per_unit, 0,
                                           a.shape.blocks * a.shape.units, stage_memory, x);
    if (threadIdx.x == 0) *own_scale = scale;
  }
  __syncthreads();
  return a.prepared.x ? a.prepared_scale : own_scale;
}

// The CTA's tiles, once bring_x() has been called.
template <class W, class S, int kN, class Ops>
__device__ void multiply_tiles(const TileArgs& a, Ring<Ops>& ring, uint8_t* x_memory,
                               float* partial, const float* token_scale) {
  const int rows = rows_of_token(W::kX) * a.linear.m;
  const auto staged = [&](int turn) {
    uint8_t* chunk = x_memory + (a.chunks > 1 ? turn % 2 : 0) * a.x_bytes;
    return staged_in(chunk, a, rows, kN * tokens_of_mma(W::kX));
  };
  Products<W, S, kN> products(a, staged(0), 0);
  int flushed = 0;
#pragma unroll 1
  for (int round = 0; round < a.rounds; ++round) {
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
      for (int left = blocks.y - blocks.x; left > 0; left -= a.piece_blocks) {
        products.add(ring.take(), min(left, a.piece_blocks));
        ring.give_back();
      }
    }
    const int slot = (round - flushed) * kTileWarps + static_cast<int>(threadIdx.x / 32);
    products.store(partial + slot * a.linear.m * kTileRows);
    if (round + 1 == a.rounds || round + 1 - flushed == a.flush_rounds) {
      __syncthreads();
      finish_rounds(a, W::kFactor, token_scale, partial, flushed, round + 1);
      flushed = round + 1;
      if (flushed < a.rounds) __syncthreads();
    }
  }
}

struct OneLinear {
  const TileArgs& a;
  __device__ int count() const { return 1; }
  __device__ const TileArgs& operator[](int) const { return a; }
};

template <class W, class S, int kN>
__global__ void __launch_bounds__(kTileThreads, 1)
    tiles_kernel(const __grid_constant__ TileArgs a) {
  extern __shared__ __align__(128) uint8_t memory[];
  __shared__ uint64_t barriers[kTileWarps * kMaxSlots];
  __shared__ StageMemory stage_memory;
  __shared__ float own_scale;

  pdl_launch_dependents();
  const OneLinear only{a};
  Ring<OneLinear> ring(only, memory, barriers);
  auto* partial = reinterpret_cast<float*>(memory + kTileWarps * a.slots * a.slot_bytes);
  uint8_t* x_memory = reinterpret_cast<uint8_t*>(partial) + a.partial_bytes;
  if (!a.prepared.x) prefetch_norm(a.linear);
  prefetch_row_scales(a);
  pdl_wait();
  const float* scale = bring_x<W, kN>(a, x_memory, stage_memory, &own_scale);
  multiply_tiles<W, S, kN>(a, ring, x_memory, partial, scale);
}

// ---- several Linears in one launch --------------------------------------------------------------

struct LinearsInOrder {
  const ChainArgs& chain;
  __device__ int count() const { return chain.count; }
  __device__ const TileArgs& operator[](int i) const { return chain.ops[i]; }
};

// For kernels of which every CTA is resident. `arrivals` only ever grows, by gridDim.x each time.
class GridBarrier {
 public:
  // Nobody arrives twice before all have arrived once, so that this sees where the kernel began.
  __device__ explicit GridBarrier(uint64_t* arrivals)
      : arrivals_(arrivals), wanted_(*reinterpret_cast<const volatile uint64_t*>(arrivals)) {
    wanted_ -= wanted_ % gridDim.x;
  }
  // What any CTA wrote before can be read after.
  __device__ void wait() {
    wanted_ += gridDim.x;
    __syncthreads();
    if (threadIdx.x == 0) {
      add_released(arrivals_);
      while (load_acquired(arrivals_) < wanted_) {
      }
    }
    __syncthreads();
  }

 private:
  uint64_t* arrivals_;
  uint64_t wanted_;
};

// Linears one after the other, with the sums in the order of tiles_kernel. The ring does not stop
// at a barrier: while x of a Linear is made, its weights arrive. One CTA for each multiprocessor,
// all of them resident, as the barriers need.
template <class W, class S, int kN>
__global__ void __launch_bounds__(kTileThreads, 1)
    chain_kernel(const __grid_constant__ ChainArgs chain) {
  extern __shared__ __align__(128) uint8_t memory[];
  __shared__ uint64_t barriers[kTileWarps * kMaxSlots];
  __shared__ StageMemory stage_memory;
  __shared__ float own_scale;

  pdl_launch_dependents();
  const LinearsInOrder linears{chain};
  Ring<LinearsInOrder> ring(linears, memory, barriers);
  const TileArgs& first = chain.ops[0];
  auto* partial = reinterpret_cast<float*>(memory + kTileWarps * first.slots * first.slot_bytes);
  uint8_t* x_memory = reinterpret_cast<uint8_t*>(partial) + kPartialBytes;
  prefetch_norm(first.linear);
  prefetch_row_scales(first);
  pdl_wait();
  GridBarrier all(chain.barrier);
#pragma unroll 1
  for (int i = 0; i < chain.count; ++i) {
    const TileArgs& a = chain.ops[i];
    if (i > 0) {
      prefetch_row_scales(a);
      all.wait();
    }
    if (a.prepared.x) {  // each token by one CTA, for all
#pragma unroll 1
      for (int t = blockIdx.x; t < a.linear.m; t += gridDim.x) {
        const float scale = stage_token<W::kX>(
            a.linear, a.sums_per_unit, t, a.shape.blocks * a.shape.units, stage_memory, a.prepared);
        if (threadIdx.x == 0) a.prepared_scale[t] = scale;
        __syncthreads();
      }
      all.wait();
    }
    const float* scale = bring_x<W, kN>(a, x_memory, stage_memory, &own_scale);
    multiply_tiles<W, S, kN>(a, ring, x_memory, partial, scale);
  }
}

}  // namespace lowbit::cuda
