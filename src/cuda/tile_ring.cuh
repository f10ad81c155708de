// A warp's way through the weights of layout kTiles: pieces of its tiles on their way to shared
// memory, a few ahead of the arithmetic.
#pragma once

#include "cuda/ptx.cuh"
#include "cuda/tiles_args.h"

namespace lowbit::cuda {

// Which blocks are whose.
struct Share {
  // Blocks of chunk `chunk` that this warp's part is.
  __device__ static int2 blocks(const TileArgs& a, int chunk) {
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
};

// What a warp streams of a Linear: the same range of blocks of a tile in every round. Where x comes
// in chunks, of the first chunk.
struct Route {
  const uint8_t* from = nullptr;
  int64_t step = 0;  // from a round's range to that of the next
  int rounds = 0, chunks = 0, range_bytes = 0, piece_bytes = 0;

  __device__ Route() {}
  __device__ explicit Route(const TileArgs& a)
      :  // Only in the last round there may be no tile left.
        rounds(Share::tile(a, a.rounds - 1) < a.shape.tiles ? a.rounds : a.rounds - 1),
        chunks(a.chunks),
        piece_bytes(a.piece_blocks * a.shape.block_bytes) {
    const int64_t tile_bytes = int64_t{a.shape.blocks} * a.shape.block_bytes;
    const int2 blocks = Share::blocks(a, 0);
    from = static_cast<const uint8_t*>(a.linear.w.codes) + Share::tile(a, 0) * tile_bytes +
           int64_t{blocks.x} * a.shape.block_bytes;
    step = (kTileWarps >> a.log_parts) * gridDim.x * tile_bytes;
    range_bytes = (blocks.y - blocks.x) * a.shape.block_bytes;
  }
  // As the lane with that number has it.
  __device__ Route of_lane(int lane) const {
    const auto get = [&](auto v) { return __shfl_sync(0xffffffffu, v, lane); };
    Route r;
    r.from = reinterpret_cast<const uint8_t*>(get(reinterpret_cast<uintptr_t>(from)));
    r.step = get(step);
    r.rounds = get(rounds), r.chunks = get(chunks);
    r.range_bytes = get(range_bytes), r.piece_bytes = get(piece_bytes);
    return r;
  }
};

// Pieces of the warp's share of one Linear of the chain after the other, in the order in which it
// will use them: of every round its tile, chunk after chunk of it its part. Where to go is found
// out before anything is waited for, lane i knowing the route of Linear i; with kChunks, where x
// may come in chunks and products want the registers, when a Linear begins.
template <bool kChunks>
class Ring {
 public:
  __device__ Ring(const ChainArgs& chain, uint8_t* memory, uint64_t* barriers)
      : chain_(chain),
        slot_bytes_(held(chain.ops[0].tile.slot_bytes)),
        slots_(held(chain.ops[0].tile.slots)),
        memory_(memory + threadIdx.x / 32 * slots_ * slot_bytes_),
        to_(held(shared_address(memory_))),
        barriers_(held(shared_address(barriers + threadIdx.x / 32 * kMaxSlots))),
        first_lane_(threadIdx.x % 32 == 0) {
#if LB_BULK_COPIES
    if (first_lane_) {
#pragma unroll 1
      for (int slot = 0; slot < slots_; ++slot) barrier_init(barriers_ + 8 * slot, 1);
      fence_barrier_init();
      policy_ = evict_first();
    }
#endif
    if constexpr (!kChunks) {
      const int lane = threadIdx.x % 32;
      if (lane < chain.count && chain.ops[lane].attention < 0) mine_ = Route(chain.ops[lane].tile);
    }
    __syncwarp();
    enter();
#pragma unroll 1
    for (int slot = 0; slot < slots_; ++slot) start(slot);
  }

  // The next piece, once it has arrived.
  __device__ const uint8_t* take() {
#if LB_BULK_COPIES
    barrier_wait(barriers_ + 8 * slot_, phase_);
#else
    async_wait<0>();
    __syncwarp();
#endif
    return memory_ + slot_ * slot_bytes_;
  }
  // The piece taken last is used up.
  __device__ void give_back() {
    __syncwarp();
    start(slot_);
    if (++slot_ == slots_) slot_ = 0, phase_ ^= 1;
  }

 private:
  // The first range of op_, or of the first Linear after it of which the warp has a part.
  __device__ void enter() {
    left_ = 0;
#pragma unroll 1
    for (; op_ < chain_.count; ++op_) {
      if constexpr (kChunks) {
        route_ = Route(chain_.ops[op_].tile);
      } else {
        route_ = mine_.of_lane(op_);
      }

      if (route_.rounds == 0) continue;
      round_ = chunk_ = 0;
      from_ = route_.from;
      left_ = route_.range_bytes;
      if (left_ > 0 || next()) return;
    }
  }
  // The range after this one in op_; false if there is none.
  __device__ bool next() {
    if (kChunks && route_.chunks > 1) return next_chunk();
    if (++round_ == route_.rounds) return false;
    from_ += route_.step - route_.range_bytes;
    left_ = route_.range_bytes;
    return true;
  }
  __device__ bool next_chunk() {
    const TileArgs& a = chain_.ops[op_].tile;
    do {
      if (++chunk_ == route_.chunks) {
        if (++round_ == route_.rounds) return false;
        chunk_ = 0;
      }
      const int2 blocks = Share::blocks(a, chunk_);
      from_ = route_.from + round_ * route_.step +
              int64_t{blocks.x - Share::blocks(a, 0).x} * a.shape.block_bytes;
      left_ = (blocks.y - blocks.x) * a.shape.block_bytes;
    } while (left_ == 0);
    return true;
  }
  __device__ void start(int slot) {
    if (left_ == 0) return;
    const int bytes = min(route_.piece_bytes, left_);
    const uint32_t to = to_ + slot * slot_bytes_;
#if LB_BULK_COPIES
    if (first_lane_) {
      barrier_expect(barriers_ + 8 * slot, bytes);
      bulk_copy(to, from_, bytes, barriers_ + 8 * slot, policy_);
    }
#else
    for (int i = threadIdx.x % 32 * 16; i < bytes; i += 512) async_copy16(to + i, from_ + i);
    async_commit();
#endif
    from_ += bytes;
    left_ -= bytes;
    if (left_ == 0 && !next()) {
      ++op_;
      enter();
    }
  }

  const ChainArgs& chain_;
  const int slot_bytes_, slots_;
  uint8_t* memory_;
  uint32_t to_;  // memory_ as bulk copies want it
  uint32_t barriers_;
  uint64_t policy_ = 0;
  bool first_lane_;
  Route mine_;
  // Of the range that is on its way: the Linear and its route, round and chunk.
  int op_ = 0, round_ = 0, chunk_ = 0;
  Route route_;
  const uint8_t* from_ = nullptr;  // of the next piece to start
  int left_ = 0;
  int slot_ = 0;
  uint32_t phase_ = 0;
};

}  // namespace lowbit::cuda
