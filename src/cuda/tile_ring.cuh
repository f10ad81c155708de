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

// Pieces of the warp's share of one Linear after the other (ops[i], which all have slots alike), in
// the order in which it will use them: of every round its tile, chunk after chunk of it its part.
// What is done for a piece is little; the rest follows when a range of blocks or a Linear ends.
template <class Ops>
class Ring {
 public:
  __device__ Ring(const Ops& ops, uint8_t* memory, uint64_t* barriers)
      : ops_(ops),
        slot_bytes_(held(ops[0].slot_bytes)),
        slots_(held(ops[0].slots)),
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
#pragma unroll 1
    for (; op_ < ops_.count(); ++op_) {
      const TileArgs& a = ops_[op_];
      // Only in the last round there may be no tile left.
      rounds_ = Share::tile(a, a.rounds - 1) < a.shape.tiles ? a.rounds : a.rounds - 1;
      if (rounds_ == 0) continue;
      chunks_ = a.chunks;
      piece_bytes_ = a.piece_blocks * a.shape.block_bytes;
      const int64_t tile_bytes = int64_t{a.shape.blocks} * a.shape.block_bytes;
      tile_ = static_cast<const uint8_t*>(a.linear.w.codes) + Share::tile(a, 0) * tile_bytes;
      step_ = (kTileWarps >> a.log_parts) * gridDim.x * tile_bytes;
      round_ = chunk_ = 0;
      if (locate(a) || next()) return;
    }
  }
  // The range of chunk_ in tile_; false if it is empty.
  __device__ bool locate(const TileArgs& a) {
    const int2 r = Share::blocks(a, chunk_);
    from_ = tile_ + int64_t{r.x} * a.shape.block_bytes;
    left_ = range_bytes_ = (r.y - r.x) * a.shape.block_bytes;
    return left_ > 0;
  }
  // The range after this one in op_; false if there is none.
  __device__ bool next() {
#pragma unroll 1
    while (true) {
      if (++chunk_ >= chunks_) {
        if (++round_ >= rounds_) return false;
        tile_ += step_;
        if (chunks_ == 1) {  // as in the round before
          from_ += step_ - range_bytes_;
          left_ = range_bytes_;
          return true;
        }
        chunk_ = 0;
      }
      if (locate(ops_[op_])) return true;
    }
  }
  __device__ void start(int slot) {
#if LB_BULK_COPIES
    if (!first_lane_) return;  // the others need not know
#endif
    if (left_ == 0) return;
    const int bytes = min(piece_bytes_, left_);
    const uint32_t to = to_ + slot * slot_bytes_;
#if LB_BULK_COPIES
    barrier_expect(barriers_ + 8 * slot, bytes);
    bulk_copy(to, from_, bytes, barriers_ + 8 * slot, policy_);
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

  const Ops& ops_;
  const int slot_bytes_, slots_;
  uint8_t* memory_;
  uint32_t to_;  // memory_ as bulk copies want it
  uint32_t barriers_;
  uint64_t policy_ = 0;
  bool first_lane_;
  // Of the range that is on its way: Linear, round and chunk; how many there are of the last two.
  int op_ = 0, round_ = 0, rounds_ = 0, chunk_ = 0, chunks_ = 0;
  const uint8_t* tile_ = nullptr;  // of the round, block 0
  int64_t step_ = 0;               // to the tile of the next round
  const uint8_t* from_ = nullptr;  // of the next piece to start
  int left_ = 0, range_bytes_ = 0, piece_bytes_ = 0;
  int slot_ = 0;
  uint32_t phase_ = 0;
};

}  // namespace lowbit::cuda
