// y[m, n] (+)= x[m, k] w[n, k]^T for up to 32 tokens, w in layout kTiles: one kernel for all formats.
//
// Weights are the A operand (16 rows) and tokens the 8 columns of B, so that one token costs what
// eight do. Each warp streams its share of a tile (all of k, or one of `parts` parts of it) through
// a ring of its own in shared memory, filled by bulk copies that its first lane starts; no warp
// waits for another before the parts are summed. The ring is filled before the kernel waits for its
// predecessor: weights do not depend on it.
//   bytes   the stream, once; x from L2 once for each CTA
//   limits  m <= 32; groups of 16, 32, 64, 128, 256 or whole rows
#pragma once

#include "cuda/act.cuh"
#include "cuda/decode.cuh"
#include "cuda/norm.cuh"
#include "cuda/pdl.cuh"
#include "cuda/ptx.cuh"
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
      for (int slot = 0; slot < a.slots; ++slot) barrier_init(barriers_ + 8 * slot, 1);
      fence_barrier_init();
      policy_ = evict_first();
    }
#endif
    __syncwarp();
    enter();
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
    const int part = threadIdx.x / 32 % a.parts;
    const int begin = chunk * a.chunk_blocks;
    const int count = min(a.chunk_blocks, a.shape.blocks - begin);
    return {begin + count * part / a.parts, begin + count * (part + 1) / a.parts};
  }
  // The tile that this warp works on in a round; past the last one for none.
  __device__ static int tile(const TileArgs& a, int round) {
    const int at_once = kTileWarps / a.parts;
    return blockIdx.x + (round * at_once + threadIdx.x / 32 / a.parts) * gridDim.x;
  }

 private:
  // The first piece at or after (round_, chunk_).
  __device__ void enter() {
    for (; round_ < a_.rounds && tile(a_, round_) < a_.shape.tiles; ++round_, chunk_ = 0) {
      for (; chunk_ < a_.chunks; ++chunk_) {
        const int2 r = range(a_, chunk_);
        at_ = r.x, end_ = r.y;
        if (at_ < end_) return;
      }
    }
    done_ = true;
  }
  __device__ void start(int slot) {
    if (done_) return;
    const int count = min(a_.piece_blocks, end_ - at_);
    const uint32_t bytes = count * a_.shape.block_bytes;
    const int64_t block = int64_t{tile(a_, round_)} * a_.shape.blocks + at_;
    const uint8_t* from = tiles_ + block * a_.shape.block_bytes;
    const uint32_t to = shared_address(memory_ + slot * a_.slot_bytes);
#if LB_BULK_COPIES
    if (first_lane_) {
      const uint32_t barrier = barriers_ + 8 * slot;
      barrier_expect(barrier, bytes);
      bulk_copy(to, from, bytes, barrier, policy_);
    }
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

// ---- one unit -----------------------------------------------------------------------------------

// Scales (or zeros) of rows g and g + 8.
__device__ __forceinline__ float2 load_pair(Scale type, const uint8_t* plane, int g) {
  switch (type) {
    case Scale::kBF16: {
      const uint32_t pair = reinterpret_cast<const uint32_t*>(plane)[g];
      return {__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u)};
    }
    case Scale::kF16: {
      const uint32_t pair = reinterpret_cast<const uint32_t*>(plane)[g];
      return __half22float2(*reinterpret_cast<const __half2*>(&pair));
    }
    case Scale::kF32:
      return reinterpret_cast<const float2*>(plane)[g];
    default:
      return {load_scale(type, plane, 2 * g), load_scale(type, plane, 2 * g + 1)};
  }
}

// How a zero enters: y += s (acc + shift S) + offset S.
struct Shifts {
  float2 shift, offset;
};
__device__ __forceinline__ Shifts shifts(const LinearArgs& a, const TileShape& s,
                                         const uint8_t* zeros, int g) {
  // decode() takes the middle away from codes.
  const float middle = a.w.code == Code::kUInt || a.w.code == Code::kInt
                           ? static_cast<float>(1 << (a.w.bits - 1))
                           : 0;
  switch (s.zero) {
    case Zero::kFloat:
      return {{0, 0}, load_pair(s.scale, zeros, g)};
    case Zero::kOffset:
      return {{middle, middle}, load_pair(s.scale, zeros, g)};
    case Zero::kInt: {
      const float low = middle - static_cast<float>(zeros[2 * g]);
      return {{low, middle - static_cast<float>(zeros[2 * g + 1])}, {0, 0}};
    }
    default: {
      const float2 z = load_pair(s.scale, zeros, g);
      return {{middle - z.x, middle - z.y}, {0, 0}};
    }
  }
}

// What a warp multiplies with one unit of weights.
struct UnitX {
  const uint16_t* x;  // of this lane's column of tokens, at the unit
  const float *scale, *sums;
};

template <class W, bool kWhole, int kN>
__device__ __forceinline__ void multiply_unit(const TileArgs& a, const StagedX& x, int x_unit,
                                              const uint8_t* codes, const uint8_t* scales,
                                              const uint8_t* zeros, int lane,
                                              float (&y)[kN][4]) {
  const int g = lane / 4, q = lane % 4;
  const TileShape& shape = a.shape;
  uint32_t lo[8], hi[8];
  W::decode(codes, lane, lo, hi);
#pragma unroll
  for (int tile = 0; tile < kN; ++tile) {
    if (kN > 1 && tile * 8 >= a.linear.m) break;
    // Columns of tokens that do not exist repeat the last one; nobody reads what they become.
    const int token = min(tile * 8 + g, a.linear.m - 1);
    const uint16_t* row = x.x + token * x.row_halves + x_unit * kUnit + q * 16;
    const uint4 b0 = reinterpret_cast<const uint4*>(row)[0];
    const uint4 b1 = reinterpret_cast<const uint4*>(row)[1];
    const uint32_t b[8] = {b0.x, b0.y, b0.z, b0.w, b1.x, b1.y, b1.z, b1.w};
    const float2 xs = *reinterpret_cast<const float2*>(x.scale + x_unit * x.pitch + tile * 8 + 2 * q);
    float acc[4] = {0, 0, 0, 0};

    const auto apply = [&](int group) {
      if (shape.scale == Scale::kNone) {
        y[tile][0] = fmaf(xs.x, acc[0], y[tile][0]);
        y[tile][1] = fmaf(xs.y, acc[1], y[tile][1]);
        y[tile][2] = fmaf(xs.x, acc[2], y[tile][2]);
        y[tile][3] = fmaf(xs.y, acc[3], y[tile][3]);
        return;
      }
      const float2 s = load_pair(shape.scale, scales + group * kTileRows * scale_bytes(shape.scale), g);
      if (shape.zero == Zero::kNone) {
        y[tile][0] = fmaf(s.x * xs.x, acc[0], y[tile][0]);
        y[tile][1] = fmaf(s.x * xs.y, acc[1], y[tile][1]);
        y[tile][2] = fmaf(s.y * xs.x, acc[2], y[tile][2]);
        y[tile][3] = fmaf(s.y * xs.y, acc[3], y[tile][3]);
        return;
      }
      const Shifts z = shifts(a.linear, shape, zeros + group * kTileRows * zero_bytes(shape.zero, shape.scale), g);
      const int per_unit = shape.group < kUnit ? kUnit / shape.group : 1;
      const float2 sum = *reinterpret_cast<const float2*>(
          x.sums + (x_unit * per_unit + (per_unit == 1 ? 0 : group)) * x.pitch + tile * 8 + 2 * q);
      y[tile][0] += fmaf(s.x, fmaf(acc[0], xs.x, z.shift.x * sum.x), z.offset.x * sum.x);
      y[tile][1] += fmaf(s.x, fmaf(acc[1], xs.y, z.shift.x * sum.y), z.offset.x * sum.y);
      y[tile][2] += fmaf(s.y, fmaf(acc[2], xs.x, z.shift.y * sum.x), z.offset.y * sum.x);
      y[tile][3] += fmaf(s.y, fmaf(acc[3], xs.y, z.shift.y * sum.y), z.offset.y * sum.y);
    };
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const uint32_t fragment[4] = {lo[2 * j], hi[2 * j], lo[2 * j + 1], hi[2 * j + 1]};
      if constexpr (W::kBf16) {
        mma_bf16(acc, fragment, b[2 * j], b[2 * j + 1]);
      } else {
        mma_f16(acc, fragment, b[2 * j], b[2 * j + 1]);
      }
      if constexpr (!kWhole) {
        if ((j + 1) * 16 % shape.group == 0) {
          apply(j * 16 / shape.group);
          acc[0] = acc[1] = acc[2] = acc[3] = 0;
        }
      }
    }
    if constexpr (W::kBf16) {
      const uint16_t* low = row + a.linear.m * x.row_halves;
      const uint4 c0 = reinterpret_cast<const uint4*>(low)[0];
      const uint4 c1 = reinterpret_cast<const uint4*>(low)[1];
      const uint32_t c[8] = {c0.x, c0.y, c0.z, c0.w, c1.x, c1.y, c1.z, c1.w};
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const uint32_t fragment[4] = {lo[2 * j], hi[2 * j], lo[2 * j + 1], hi[2 * j + 1]};
        mma_bf16(acc, fragment, c[2 * j], c[2 * j + 1]);
      }
    }
    if constexpr (kWhole) apply(0);
  }
}

// ---- after the last block -----------------------------------------------------------------------

__device__ __forceinline__ float row_sum(const TileArgs& a, const float* partial, int slot, int t,
                                         int row) {
  const int at_once = kTileWarps / a.parts;
  const float* first =
      partial + (slot / at_once * kTileWarps + slot % at_once * a.parts) * a.linear.m * kTileRows;
  float sum = 0;
  for (int part = 0; part < a.parts; ++part) {
    sum += first[(part * a.linear.m + t) * kTileRows + row];
  }
  return sum;
}

// Sums over parts of rounds [first, last), in order; scales of rows, bias, epilogue.
__device__ inline void finish_rounds(const TileArgs& a, float code_factor, const float* partial,
                                     int first, int last) {
  const LinearArgs& l = a.linear;
  const int at_once = kTileWarps / a.parts;
  const int total = (last - first) * at_once * l.m * kTileRows;
  const auto value = [&](int slot, int tile, int t, int row) {
    const int n = tile * kTileRows + row;
    float v = row_sum(a, partial, slot, t, row) * code_factor;
    if (l.w.scales) v *= static_cast<const float*>(l.w.scales)[n];
    return v;
  };
  for (int i = threadIdx.x; i < total; i += kTileThreads) {
    const int row = i % kTileRows, t = i / kTileRows % l.m, slot = i / kTileRows / l.m;
    const int tile = blockIdx.x + (first * at_once + slot) * gridDim.x;
    if (tile >= a.shape.tiles) continue;
    // Of two stacked matrices, a tile holds eight rows of each.
    const int half = l.w.paired ? l.n / 2 : 0;
    const int n = l.w.paired ? tile * 8 + row % 8 + (row < 8 ? 0 : half) : tile * kTileRows + row;
    if (n >= (l.w.paired && row < 8 ? half : l.n)) continue;
    float v = value(slot, tile, t, row);
    if (l.bias) v += l.bias[n];
    if (l.epilogue == Epilogue::kSiluMul) {
      if (row >= 8) continue;
      float up = value(slot, tile, t, row + 8);
      if (l.bias) up += l.bias[n + half];
      v = silu(v) * up;
    }
    float* out = l.y + t * l.ldy + n;
    *out = l.epilogue == Epilogue::kAdd ? *out + v : v;
  }
}

// ---- the kernel ---------------------------------------------------------------------------------

// Chunk `chunk` of the prepared x on its way to shared memory.
__device__ inline void fetch_chunk(const TileArgs& a, int rows, int chunk, const StagedX& to) {
  const int first = chunk * a.chunk_blocks * a.shape.units;
  const int units = min(a.chunk_blocks, a.shape.blocks - chunk * a.chunk_blocks) * a.shape.units;
  const int pieces = units * kUnit / 8;  // of 16 bytes, in a row
  for (int i = threadIdx.x; i < rows * pieces; i += kTileThreads) {
    const int row = i / pieces, at = i % pieces * 8;
    async_copy16(shared_address(to.x + row * to.row_halves + at),
                 a.prepared.x + int64_t{row} * a.prepared.row_halves + first * kUnit + at);
  }
  const auto copy = [&](float* out, const float* in, int count) {
    for (int i = threadIdx.x * 4; i < count; i += kTileThreads * 4) {
      async_copy16(shared_address(out + i), in + i);
    }
  };
  copy(to.scale, a.prepared.scale + int64_t{first} * to.pitch, units * to.pitch);
  if (a.shape.zero != Zero::kNone) {
    const int per_unit = a.shape.group < kUnit ? kUnit / a.shape.group : 1;
    copy(to.sums, a.prepared.sums + int64_t{first} * per_unit * to.pitch,
         units * per_unit * to.pitch);
  }
}

template <bool kBf16>
__device__ inline StagedX staged_in(uint8_t* memory, const TileArgs& a, int tokens) {
  const int units = a.chunk_blocks * a.shape.units, rows = (kBf16 ? 2 : 1) * a.linear.m;
  StagedX s{};
  s.pitch = tokens;
  s.row_halves = units * kUnit + 8;  // rows in different banks
  s.x = reinterpret_cast<uint16_t*>(memory);
  s.scale = reinterpret_cast<float*>(memory + rows * s.row_halves * 2);
  s.sums = s.scale + units * s.pitch;
  return s;
}

template <class W, bool kWhole, int kN>
__global__ void __launch_bounds__(kTileThreads, kN == 1 ? 2 : 1)
    tiles_kernel(const __grid_constant__ TileArgs a) {
  extern __shared__ __align__(128) uint8_t memory[];
  __shared__ uint64_t barriers[kTileWarps * kMaxSlots];
  __shared__ float squares[kMaxTokens * kNormWarps];
  __shared__ float inverse[kMaxTokens];
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
  pdl_wait();

  if (a.chunks == 1) {
    if (l.norm_weight) {
      for (int t = 0; t < l.m; ++t) {
        const float sum = warp_squares(static_cast<const float*>(l.x.data) + t * l.x.ld, l.k);
        if (lane == 0) squares[t * kNormWarps + warp] = sum;
      }
      __syncthreads();
      if (threadIdx.x < l.m) {
        inverse[threadIdx.x] = inverse_rms(squares + threadIdx.x * kNormWarps, l.k, l.norm_eps);
      }
      __syncthreads();
    }
    stage<W::kBf16>(l, a.shape, 0, l.m, a.shape.blocks * a.shape.units, inverse, staged(0));
    __syncthreads();
  } else {
    fetch_chunk(a, x_rows, 0, staged(0));
    async_commit();
  }

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
      for (int at = blocks.x; at < blocks.y; at += a.piece_blocks) {
        const uint8_t* block = ring.take();
        const int end = min(at + a.piece_blocks, blocks.y);
        for (int b = at; b < end; ++b, block += a.shape.block_bytes) {
          const uint8_t* scales = block + a.shape.units * a.shape.unit_bytes;
          const uint8_t* zeros =
              scales + a.shape.groups() * kTileRows * scale_bytes(a.shape.scale);
          const int first_unit = (b - chunk * a.chunk_blocks) * a.shape.units;
          for (int unit = 0; unit < a.shape.units; ++unit) {
            multiply_unit<W, kWhole, kN>(a, now, first_unit + unit,
                                         block + unit * a.shape.unit_bytes, scales, zeros, lane, y);
          }
        }
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
      finish_rounds(a, W::kFactor, partial, flushed, round + 1);
      flushed = round + 1;
      if (flushed < a.rounds) __syncthreads();
    }
  }
}

}  // namespace lowbit::cuda
