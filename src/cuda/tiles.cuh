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

#include <type_traits>

#include "cuda/act.cuh"
#include "cuda/decode.cuh"
#include "cuda/norm.cuh"
#include "cuda/pdl.cuh"
#include "cuda/ptx.cuh"
#include "cuda/scales.cuh"
#include "cuda/stage.cuh"
#include "cuda/tiles_args.h"

namespace lowbit::cuda {

// ---- a warp's ring ------------------------------------------------------------------------------

// Pieces of up to piece_blocks blocks, in the order in which the warp will use them.
class Ring {
 public:
  __device__ Ring(const TileArgs& a, uint8_t* memory, uint64_t* barriers, const uint8_t* tiles)
      : a_(a),
        warp_(threadIdx.x / 32),
        memory_(memory + warp_ * a.slots * a.slot_bytes),
        barriers_(shared_address(barriers + warp_ * kMaxSlots)),
        tiles_(tiles),
        first_lane_(threadIdx.x % 32 == 0) {
#if LB_BULK_COPIES
    if (first_lane_) {
#pragma unroll 1
      for (int slot = 0; slot < a.slots; ++slot) barrier_init(barriers_ + 8 * slot, 1);
      fence_barrier_init();
      policy_ = evict_first();
    }
#endif
    __syncwarp();
    enter();
#pragma unroll 1
    for (int slot = 0; slot < a.slots; ++slot) start(slot);
  }

  // The next piece, once it has arrived.
  __device__ const uint8_t* take() {
#if LB_BULK_COPIES
    barrier_wait(barriers_ + 8 * slot_, phase_);
#else
    async_wait<0>();
    __syncwarp();
#endif
    return memory_ + slot_ * a_.slot_bytes;
  }
  // The piece taken last is used up.
  __device__ void give_back() {
    __syncwarp();
    start(slot_);
    if (++slot_ == a_.slots) slot_ = 0, phase_ ^= 1;
  }

  // Blocks of chunk `chunk` that this warp's part is.
  __device__ static int2 range(const TileArgs& a, int chunk) {
    const int part = threadIdx.x / 32 & ((1 << a.log_parts) - 1);
    const int begin = chunk * a.chunk_blocks;
    const int count = min(a.chunk_blocks, a.shape.blocks - begin);
    return {begin + (count * part >> a.log_parts), begin + (count * (part + 1) >> a.log_parts)};
  }
  // The tile that this warp works on in a round; past the last one for none.
  __device__ static int tile(const TileArgs& a, int round) {
    const int slot = (round << kLogTileWarps >> a.log_parts) + (threadIdx.x / 32 >> a.log_parts);
    return blockIdx.x + slot * gridDim.x;
  }

 private:
  // The first piece at or after (round_, chunk_).
  __device__ void enter() {
#pragma unroll 1
    for (; round_ < a_.rounds && tile(a_, round_) < a_.shape.tiles; ++round_, chunk_ = 0) {
#pragma unroll 1
      for (; chunk_ < a_.chunks; ++chunk_) {
        const int2 r = range(a_, chunk_);
        at_ = r.x, end_ = r.y;
        if (at_ < end_) return;
      }
    }
    done_ = true;
  }
  __device__ void start(int slot) {
#if LB_BULK_COPIES
    if (!first_lane_) return;  // the others need not know
#endif
    if (done_) return;
    const int count = min(a_.piece_blocks, end_ - at_);
    const uint32_t bytes = count * a_.shape.block_bytes;
    const int64_t block = int64_t{tile(a_, round_)} * a_.shape.blocks + at_;
    const uint8_t* from = tiles_ + block * a_.shape.block_bytes;
    const uint32_t to = shared_address(memory_ + slot * a_.slot_bytes);
#if LB_BULK_COPIES
    const uint32_t barrier = barriers_ + 8 * slot;
    barrier_expect(barrier, bytes);
    bulk_copy(to, from, bytes, barrier, policy_);
#else
    for (uint32_t i = threadIdx.x % 32 * 16; i < bytes; i += 512) async_copy16(to + i, from + i);
    async_commit();
#endif
    at_ += count;
    if (at_ < end_) return;
    ++chunk_;
    enter();
  }

  const TileArgs& a_;
  const int warp_;
  uint8_t* memory_;
  uint32_t barriers_;
  const uint8_t* tiles_;
  uint64_t policy_ = 0;
  bool first_lane_, done_ = false;
  int round_ = 0, chunk_ = 0, at_ = 0, end_ = 0;  // of the next piece to start
  int slot_ = 0;
  uint32_t phase_ = 0;
};

// ---- one block ----------------------------------------------------------------------------------

// What a warp multiplies with the next unit: x at this lane's columns of token 0, and its sums.
struct UnitX {
  const uint16_t* x;
  const float* sums;
};

// y[tile] += the block's weights times x of tokens 8 tile .. 8 tile + 7. `at` moves on.
template <class W, class S, int kN>
__device__ __forceinline__ void multiply_block(const TileArgs& a, const StagedX& x, UnitX& at,
                                               const uint8_t* block, int lane, float (&y)[kN][4]) {
  constexpr bool kOfBlock = S::kGroups == 1;  // one scale for all of it
  constexpr bool kOneUnit = !kOfBlock && !std::is_same_v<S, AnyScales>;
  const int g = lane / 4, m = a.linear.m;
  const int units = kOneUnit ? 1 : a.shape.units;
  const S scales(a, block + units * a.shape.unit_bytes, g);
  float block_acc[kN][4] = {};
  float2 block_sums[kN] = {};
  int unit = 0;
  do {
    uint32_t lo[8], hi[8];
    W::decode(block, lane, lo, hi);
#pragma unroll
    for (int tile = 0; tile < kN; ++tile) {
      if (kN > 1 && tile * 8 >= m) break;
      // Columns of tokens that do not exist repeat the last one; nobody reads what they become.
      const uint16_t* row = at.x + min(tile * 8 + g, m - 1) * x.row_halves;
      float quarter_acc[4] = {0, 0, 0, 0};
      float(&acc)[4] = S::kGroups == 0 ? y[tile] : kOfBlock ? block_acc[tile] : quarter_acc;
      if constexpr (S::kZeros && kOfBlock) {
        const float2 sum = *reinterpret_cast<const float2*>(at.sums + tile * 8);
        block_sums[tile].x += sum.x, block_sums[tile].y += sum.y;
      }
#pragma unroll
      for (int term = 0; term < (W::kBf16 ? 2 : 1); ++term, row += m * x.row_halves) {
        const uint4 b0 = reinterpret_cast<const uint4*>(row)[0];
        const uint4 b1 = reinterpret_cast<const uint4*>(row)[1];
        const uint32_t b[8] = {b0.x, b0.y, b0.z, b0.w, b1.x, b1.y, b1.z, b1.w};
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const uint32_t fragment[4] = {lo[2 * j], hi[2 * j], lo[2 * j + 1], hi[2 * j + 1]};
          if constexpr (W::kBf16) {
            mma_bf16(acc, fragment, b[2 * j], b[2 * j + 1]);
          } else {
            mma_f16(acc, fragment, b[2 * j], b[2 * j + 1]);
          }
          if constexpr (S::kGroups > 1) {
            constexpr int kSteps = 4 / S::kGroups;  // to a group
            if ((j + 1) % kSteps != 0) continue;
            const int group = j / kSteps;
            float2 sum = {0, 0};
            if (S::kZeros && a.sums_per_unit != 0) {
              sum = *reinterpret_cast<const float2*>(at.sums + group * x.pitch + tile * 8);
            }
            scales.apply(group, acc, sum, y[tile]);
            acc[0] = acc[1] = acc[2] = acc[3] = 0;
          }
        }
      }
    }
    block += a.shape.unit_bytes;
    at.x += kUnit;
    if constexpr (S::kZeros) at.sums += a.sums_per_unit * x.pitch;
  } while (!kOneUnit && ++unit < units);
  if constexpr (kOfBlock) {
#pragma unroll
    for (int tile = 0; tile < kN; ++tile) {
      if (kN > 1 && tile * 8 >= m) break;
      scales.apply(0, block_acc[tile], block_sums[tile], y[tile]);
    }
  }
}

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

template <bool kBf16>
__device__ inline StagedX staged_in(uint8_t* memory, const TileArgs& a, int tokens) {
  const int units = a.chunk_blocks * a.shape.units, rows = (kBf16 ? 2 : 1) * a.linear.m;
  StagedX s{};
  s.pitch = tokens;
  s.row_halves = units * kUnit + 8;  // rows in different banks
  s.x = reinterpret_cast<uint16_t*>(memory);
  s.sums = reinterpret_cast<float*>(memory + rows * s.row_halves * 2);
  return s;
}

template <class W, class S, int kN>
__global__ void __launch_bounds__(kTileThreads, kN == 1 ? 2 : 1)
    tiles_kernel(const __grid_constant__ TileArgs a) {
  extern __shared__ __align__(128) uint8_t memory[];
  __shared__ uint64_t barriers[kTileWarps * kMaxSlots];
  __shared__ StageMemory stage_memory;
  __shared__ float own_scale;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const LinearArgs& l = a.linear;
  const int x_rows = (W::kBf16 ? 2 : 1) * l.m;

  pdl_launch_dependents();
  Ring ring(a, memory, barriers, static_cast<const uint8_t*>(l.w.codes));
  uint8_t* x_memory = memory + kTileWarps * a.slots * a.slot_bytes;
  const auto staged = [&](int turn) {
    return staged_in<W::kBf16>(x_memory + (turn % 2) * a.x_bytes, a, kN * 8);
  };
  auto* partial = reinterpret_cast<float*>(x_memory + (a.chunks > 1 ? 2 : 1) * a.x_bytes);
  const bool stages = !a.prepared.x;
  if (stages) prefetch_norm(l);
  pdl_wait();
  if (stages) {
    const float scale = stage_token<W::kBf16>(l, a.sums_per_unit, 0, a.shape.blocks * a.shape.units,
                                              stage_memory, staged(0));
    if (threadIdx.x == 0) own_scale = scale;
  } else {
    fetch_chunk(a, x_rows, 0, staged(0));
    async_commit();
    if (a.chunks == 1) async_wait<0>();
  }
  if (a.chunks == 1) __syncthreads();

  int flushed = 0;
  for (int round = 0; round < a.rounds; ++round) {
    float y[kN][4] = {};
    const bool works = Ring::tile(a, round) < a.shape.tiles;
    for (int chunk = 0; chunk < a.chunks; ++chunk) {
      const int turn = round * a.chunks + chunk;
      if (a.chunks > 1) {
        async_wait<0>();
        __syncthreads();  // this chunk is here, and nobody reads the one before it any more
        if (turn + 1 < a.rounds * a.chunks) {
          fetch_chunk(a, x_rows, (turn + 1) % a.chunks, staged(turn + 1));
          async_commit();
        }
      }
      if (!works) continue;
      const int2 blocks = Ring::range(a, chunk);
      const StagedX now = staged(a.chunks > 1 ? turn : 0);
      const int unit = (blocks.x - chunk * a.chunk_blocks) * a.shape.units;
      UnitX at = {now.x + unit * kUnit + lane % 4 * 16,
                  now.sums + unit * a.sums_per_unit * now.pitch + lane % 4 * 2};
      for (int left = blocks.y - blocks.x; left > 0; left -= a.piece_blocks) {
        const uint8_t* block = ring.take();
        int count = min(left, a.piece_blocks);
        do {
          multiply_block<W, S, kN>(a, now, at, block, lane, y);
          block += a.shape.block_bytes;
        } while (--count > 0);
        ring.give_back();
      }
    }
    float* mine = partial + ((round - flushed) * kTileWarps + warp) * l.m * kTileRows;
    const int g = lane / 4, q = lane % 4;
#pragma unroll
    for (int tile = 0; tile < kN; ++tile) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int t = tile * 8 + 2 * q + e;
        if (t >= l.m) continue;
        mine[t * kTileRows + g] = y[tile][e];
        mine[t * kTileRows + g + 8] = y[tile][2 + e];
      }
    }
    if (round + 1 == a.rounds || round + 1 - flushed == a.flush_rounds) {
      __syncthreads();
      finish_rounds(a, W::kFactor, stages ? &own_scale : a.prepared_scale, partial, flushed,
                    round + 1);
      flushed = round + 1;
      if (flushed < a.rounds) __syncthreads();
    }
  }
}

}  // namespace lowbit::cuda
