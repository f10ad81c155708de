// Weights of layout kTiles as the A operand of wgmma: a warp's tiles on their way through a ring of
// its own in shared memory, and the registers that become of them, unit after unit. What the
// kernels of many tokens (matmul.cuh, batch.cuh) share.
#pragma once

#include "cuda/decode_bf16.cuh"
#include "cuda/scales.cuh"
#include "cuda/stage.cuh"

namespace lowbit::cuda {

// Neighbouring blocks of a tile.
struct Run {
  const uint8_t* from = nullptr;
  int bytes = 0;  // 0: none
};
__device__ __forceinline__ Run run_of(const TileArgs& a, int tile, int first_block, int blocks) {
  const int64_t block = int64_t{tile} * a.shape.blocks + first_block;
  return {static_cast<const uint8_t*>(a.linear.w.codes) + block * a.shape.block_bytes,
          blocks * a.shape.block_bytes};
}

// The runs of a warp, block after block. Runs::next(): of the run after the one before.
// `a`: of any of the Linears, whose blocks and rings are alike.
template <class Runs>
class TileStream {
 public:
  // `barriers`: [kMaxSlots] of this warp.
  __device__ TileStream(const TileArgs& a, uint32_t rings, uint32_t barriers, const Runs& runs,
                        int warp)
      : a_(a),
        ring_(warp * a.slots * a.slot_bytes),
        to_(rings + ring_),
        barriers_(barriers),
        runs_(runs) {
    if (threadIdx.x % 32 == 0) {
#pragma unroll 1
      for (int slot = 0; slot < a.slots; ++slot) barrier_init(barriers_ + 8 * slot, 1);
      fence_barrier_init();
      run_ = runs_.next();
#pragma unroll 1
      for (int slot = 0; slot < a.slots; ++slot) start(slot);
    }
    __syncwarp();
  }
  // From here on blocks of another run, of so many.
  __device__ void begin(int blocks) { unread_ = blocks; }
  // Where the next block lies from the first ring on, once it has arrived; the one before it is
  // used up.
  __device__ __forceinline__ int next() {
    if (in_piece_ == 0) take();
    --in_piece_;
    const int at = at_;
    at_ += a_.shape.block_bytes;
    return at;
  }

 private:
  __device__ __forceinline__ void take() {
    if (taken_) {
      __syncwarp();
      if (threadIdx.x % 32 == 0) start(slot_);
      __syncwarp();  // wgmma wants all lanes, and nothing after this brings them together
      if (++slot_ == a_.slots) slot_ = 0, phase_ ^= 1;
    }
    taken_ = true;
    barrier_wait(barriers_ + 8 * slot_, phase_);
    in_piece_ = min(a_.piece_blocks, unread_);
    unread_ -= in_piece_;
    at_ = ring_ + slot_ * a_.slot_bytes;
  }
  __device__ void start(int slot) {
    if (run_.bytes == 0) return;
    const int bytes = min(a_.slot_bytes, run_.bytes);
    barrier_expect(barriers_ + 8 * slot, bytes);
    bulk_copy(to_ + slot * a_.slot_bytes, run_.from, bytes, barriers_ + 8 * slot);
    run_.from += bytes;
    run_.bytes -= bytes;
    if (run_.bytes == 0) run_ = runs_.next();
  }

  const TileArgs& a_;
  const int ring_;
  const uint32_t to_, barriers_;
  Runs runs_;
  Run run_;  // what is left of the one that is fetched
  int unread_ = 0, in_piece_ = 0, at_ = 0, slot_ = 0;
  uint32_t phase_ = 0;
  bool taken_ = false;
};

// Whether codes are decoded to bf16 and scaled there.
template <class S>
constexpr bool kDecodesToBf16 = false;
template <bool kZeros>
constexpr bool kDecodesToBf16<Bf16Scales<kZeros>> = true;

// Codes of a unit, as f16 pairs, become weights in bf16.
template <class S>
__device__ __forceinline__ void scale_pairs(const S& scales, uint32_t (&lo)[8], uint32_t (&hi)[8]) {
  constexpr int kPairs = 8 / S::kGroups, kCodes = 2 * kPairs;
#pragma unroll
  for (int group = 0; group < S::kGroups; ++group) {
    float codes[2 * kCodes], ones[kCodes], weights[2 * kCodes] = {};
#pragma unroll
    for (int p = 0; p < kPairs; ++p) {
      const float2 low = __half22float2(reinterpret_cast<const __half2&>(lo[group * kPairs + p]));
      const float2 high = __half22float2(reinterpret_cast<const __half2&>(hi[group * kPairs + p]));
      codes[2 * p] = low.x, codes[2 * p + 1] = low.y;
      codes[kCodes + 2 * p] = high.x, codes[kCodes + 2 * p + 1] = high.y;
      ones[2 * p] = ones[2 * p + 1] = 1;
    }
    scales.template apply<kCodes>(group, codes, ones, weights);
#pragma unroll
    for (int p = 0; p < kPairs; ++p) {
      lo[group * kPairs + p] = pack_bf16(weights[2 * p], weights[2 * p + 1]);
      hi[group * kPairs + p] = pack_bf16(weights[kCodes + 2 * p], weights[kCodes + 2 * p + 1]);
    }
  }
}

// The A fragments of a warp's tiles, unit after unit; left as they are where there is no tile.
template <class W, class S, class Runs>
class Fragments {
  static constexpr bool kOneUnit = kOneUnitBlocks<S>;

 public:
  __device__ Fragments(const TileArgs& a, const uint8_t* rings, uint32_t barriers, const Runs& runs,
                       int warp)
      : a_(a), rings_(rings), stream_(a, shared_address(rings), barriers, runs, warp) {}

  // From here on those of another run, of so many blocks.
  __device__ void begin(bool exists, int blocks) {
    exists_ = held(static_cast<int>(exists));
    stream_.begin(blocks);
  }
  // Of each 16 columns j: a[4 j ..].
  __device__ __forceinline__ void next(uint32_t (&a)[16]) {
    if (exists_ == 0) return;
    const int lane = threadIdx.x % 32, unit_bytes = a_.shape.unit_bytes;
    const int units = kOneUnit ? 1 : a_.shape.units;
    if (kOneUnit || unit_ == 0) block_ = stream_.next();
    uint32_t lo[8], hi[8];
    W::decode(rings_ + (block_ + (kOneUnit ? 0 : unit_ * unit_bytes)), lane, lo, hi);
    const uint8_t* scales = rings_ + (block_ + units * unit_bytes);
    if constexpr (kDecodesToBf16<S>) {
      S(a_, scales, lane / 4).scale(lo, hi);
    } else if constexpr (S::kGroups > 0) {
      scale_pairs(S(a_, scales, lane / 4), lo, hi);
    }
    if (!kOneUnit && ++unit_ == units) unit_ = 0;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      a[4 * j] = lo[2 * j], a[4 * j + 1] = hi[2 * j];
      a[4 * j + 2] = lo[2 * j + 1], a[4 * j + 3] = hi[2 * j + 1];
    }
  }

 private:
  const TileArgs& a_;
  const uint8_t* rings_;
  TileStream<Runs> stream_;
  int block_ = 0, unit_ = 0, exists_ = 0;
};

}  // namespace lowbit::cuda
