// A warp's way through the weights of layout kTiles: pieces of its tiles on their way to shared
// memory, a few ahead of the arithmetic. With bulk copies (sm_90) a warp beside those that multiply
// starts them all, each of its lanes those of one warp, so that nobody who multiplies spends
// instructions on what comes next; without, every warp copies for itself.
#pragma once

#include "cuda/ptx.cuh"
#include "cuda/tiles_args.h"

namespace lowbit::cuda {

// Which blocks are a warp's.
struct Share {
  int warp;

  // Of chunk `chunk`, the warp's part.
  __device__ int2 blocks(const TileArgs& a, int chunk) const {
    const int part = warp & ((1 << a.log_parts) - 1);
    const int begin = chunk * a.chunk_blocks;
    const int count = min(a.chunk_blocks, a.shape.blocks - begin);
    return {begin + (count * part >> a.log_parts), begin + (count * (part + 1) >> a.log_parts)};
  }
  // The tile of a round; past the last one for none.
  __device__ int tile(const TileArgs& a, int round) const {
    const int slot = (round << kLogTileWarps >> a.log_parts) + (warp >> a.log_parts);
    return blockIdx.x + slot * gridDim.x;
  }
};

// The pieces of a warp's share of one Linear after the other (ops[i]), in the order in which it
// will use them.
template <class Ops>
class Pieces {
 public:
  __device__ Pieces(const Ops& ops, int warp) : ops_(ops), share_{warp} { enter(); }

  __device__ bool left() const { return left_ != 0; }
  __device__ const uint8_t* from() const { return from_; }
  __device__ int bytes() const { return min(piece_bytes_, left_); }
  __device__ void next() {
    const int bytes = min(piece_bytes_, left_);
    from_ += bytes;
    left_ -= bytes;
    if (left_ == 0) enter();
  }

 private:
  // The first range at or after (op_, round_, chunk_).
  __device__ void enter() {
#pragma unroll 1
    for (; op_ < ops_.count(); ++op_, round_ = 0) {
      const auto& a = ops_[op_];
#pragma unroll 1
      for (; round_ < a.rounds && share_.tile(a, round_) < a.shape.tiles; ++round_, chunk_ = 0) {
#pragma unroll 1
        for (; chunk_ < a.chunks; ++chunk_) {
          const int2 r = share_.blocks(a, chunk_);
          if (r.x >= r.y) continue;
          const int64_t first = int64_t{share_.tile(a, round_)} * a.shape.blocks + r.x;
          from_ = static_cast<const uint8_t*>(a.linear.w.codes) + first * a.shape.block_bytes;
          left_ = (r.y - r.x) * a.shape.block_bytes;
          piece_bytes_ = a.piece_blocks * a.shape.block_bytes;
          ++chunk_;
          return;
        }
      }
    }
  }

  const Ops& ops_;
  const Share share_;
  int op_ = 0, round_ = 0, chunk_ = 0;  // of the range after this one
  const uint8_t* from_ = nullptr;       // of the next piece
  int left_ = 0, piece_bytes_ = 0;      // bytes of its range; of a piece
};

// Where the rings of all warps lie. Barriers: of each warp's slots, that a piece is there, then
// that it is used up.
struct RingMemory {
  uint8_t* slots;
  uint64_t* barriers;  // [2, kTileWarps, kMaxSlots]
  int slot_count, slot_bytes;

  static constexpr int kBarriers = 2 * kTileWarps * kMaxSlots;
  __device__ uint8_t* slot(int warp, int i) const {
    return slots + (warp * slot_count + i) * slot_bytes;
  }
  __device__ uint32_t full(int warp, int i) const {
    return shared_address(barriers + warp * kMaxSlots + i);
  }
  __device__ uint32_t used(int warp, int i) const {
    return full(warp, i) + kTileWarps * kMaxSlots * 8;
  }
};

// By all threads, and a barrier of theirs after it.
__device__ inline void prepare_ring(const RingMemory& memory) {
#if LB_BULK_COPIES
  for (int i = threadIdx.x; i < RingMemory::kBarriers; i += blockDim.x) {
    barrier_init(shared_address(memory.barriers + i), 1);
  }
  fence_barrier_init();
#endif
}

#if LB_BULK_COPIES
// The life of the warp that feeds the others.
template <class Ops>
__device__ void feed_rings(const Ops& ops, const RingMemory& memory) {
  const int warp = threadIdx.x % 32;
  if (warp >= kTileWarps) return;
  const uint64_t policy = evict_first();
  int slot = 0;
  uint32_t phase = 1;  // of slots that were never used, the one before the first is over
  for (Pieces<Ops> pieces(ops, warp); pieces.left();) {
    if (!barrier_passed(memory.used(warp, slot), phase)) continue;
    barrier_expect(memory.full(warp, slot), pieces.bytes());
    bulk_copy(shared_address(memory.slot(warp, slot)), pieces.from(), pieces.bytes(),
              memory.full(warp, slot), policy);
    pieces.next();
    if (++slot == memory.slot_count) slot = 0, phase ^= 1;
  }
}
#endif

// A warp's own ring.
template <class Ops>
class Ring {
 public:
  __device__ Ring(const Ops& ops, const RingMemory& memory)
      : memory_(memory),
        warp_(threadIdx.x / 32)
#if !LB_BULK_COPIES
        ,
        pieces_(ops, warp_)
#endif
  {
#if !LB_BULK_COPIES
    for (int slot = 0; slot < memory.slot_count; ++slot) start(slot);
#endif
  }

  // The next piece, once it has arrived.
  __device__ const uint8_t* take() {
#if LB_BULK_COPIES
    barrier_wait(memory_.full(warp_, slot_), phase_);
#else
    async_wait<0>();
    __syncwarp();
#endif
    return memory_.slot(warp_, slot_);
  }
  // The piece taken last is used up.
  __device__ void give_back() {
    __syncwarp();
#if LB_BULK_COPIES
    if (threadIdx.x % 32 == 0) barrier_arrive(memory_.used(warp_, slot_));
#else
    start(slot_);
#endif
    if (++slot_ == memory_.slot_count) slot_ = 0, phase_ ^= 1;
  }

 private:
  const RingMemory& memory_;
  const int warp_;
  int slot_ = 0;
  uint32_t phase_ = 0;
#if !LB_BULK_COPIES
  __device__ void start(int slot) {
    if (!pieces_.left()) return;
    const uint32_t to = shared_address(memory_.slot(warp_, slot));
    for (int i = threadIdx.x % 32 * 16; i < pieces_.bytes(); i += 512) {
      async_copy16(to + i, pieces_.from() + i);
    }
    async_commit();
    pieces_.next();
  }
  Pieces<Ops> pieces_;
#endif
};

}  // namespace lowbit::cuda
