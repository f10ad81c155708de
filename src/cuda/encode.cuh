// A row of numbers to codes and scales of any format that activations and caches may have, by one
// block of threads: formats/grid.h chooses, so that codes and scales are those of the host, bit for
// bit (formats/encode.cc). Every thread of the block makes the call.
#pragma once

#include "cuda/codes.cuh"
#include "formats/grid.h"

namespace lowbit::cuda {

// The range of some numbers; `finite` is false if one of them is NaN or infinite.
struct Range {
  float lo = INFINITY, hi = -INFINITY;
  bool finite = true;

  __device__ void add(float x) {
    lo = fminf(lo, x);
    hi = fmaxf(hi, x);
    finite = finite && fabsf(x) < INFINITY;
  }
  __device__ BlockStats stats() const { return {lo + 0.0f, hi + 0.0f}; }  // no -0
};

// The range of what the threads have, known to all of them. At most 1024 threads, whole warps.
__device__ inline Range block_range(Range r) {
  constexpr unsigned kAll = 0xffffffffu;
  __shared__ Range warps[32];
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    r.lo = fminf(r.lo, __shfl_xor_sync(kAll, r.lo, lanes));
    r.hi = fmaxf(r.hi, __shfl_xor_sync(kAll, r.hi, lanes));
  }
  r.finite = __all_sync(kAll, r.finite);
  __syncthreads();  // a call before may still be read
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = r;
  __syncthreads();
  for (unsigned warp = 0; warp < blockDim.x / 32; ++warp) {
    r.lo = fminf(r.lo, warps[warp].lo);
    r.hi = fmaxf(r.hi, warps[warp].hi);
    r.finite = r.finite && warps[warp].finite;
  }
  return r;
}

// One thread: chooses and stores scale and zero of block `block` of a row, whose numbers `x` have
// the given range. False if what the numbers decode to would not be finite: since rounding keeps
// order, the ends of the range tell.
__device__ inline bool store_block(const PlanesView& to, int64_t row, int64_t block,
                                   const Range& range, const float* x, int count) {
  const Format& f = to.format;
  BlockStats stats = range.stats();
  if (f.rule == ScaleRule::kMean) {  // summed in order, as the host does
    MeanStats mean;
    for (int i = 0; i < count; ++i) mean.add(x[i]);
    stats.mean = mean.mean();
    stats.only = mean.only();
  }
  const float outer = f.outer == Outer::kRow ? load_as<float>(to.outer, row) : 1.0f;
  if (!store_grid(to, row, block, choose_grid(f, stats, outer))) return false;
  const BlockParams stored = load_block(to, row, block);
  const CodeRange codes = code_range(f);
  if (is_f32(stored(codes.min)) && is_f32(stored(codes.max))) return true;
  const auto decoded = [&](float w) {
    return stored(decode_code(f, nearest_code(f, stored, static_cast<double>(w))));
  };
  return is_f32(decoded(stats.lo)) && is_f32(decoded(stats.hi));
}

// Scales and zeros of one row under scales of its own. False if the row decodes to no number.
__device__ inline bool store_scales(const PlanesView& to, int64_t row, const float* x) {
  const Format& f = to.format;
  Range mine;
  for (int i = static_cast<int>(threadIdx.x); i < to.k; i += static_cast<int>(blockDim.x)) {
    mine.add(x[i]);
  }
  const Range all = block_range(mine);
  if (!all.finite) return false;
  if (f.outer == Outer::kRow) {
    if (threadIdx.x == 0) {
      store_as(const_cast<std::byte*>(to.outer), row, choose_outer(f, all.stats().amax()));
    }
    __syncthreads();
  }
  bool good = true;
  if (f.block.k == 0) {
    if (threadIdx.x == 0) good = store_block(to, row, 0, all, x, to.k);
  } else {
    for (int b = static_cast<int>(threadIdx.x); b < to.k_blocks;
         b += static_cast<int>(blockDim.x)) {
      const float* numbers = x + b * f.block.k;
      const int count = min(f.block.k, to.k - b * f.block.k);
      Range range;
      for (int i = 0; i < count; ++i) range.add(numbers[i]);
      good = store_block(to, row, b, range, numbers, count) && good;
    }
  }
  return __syncthreads_and(good) != 0;
}

// Up to 5 trits of any blocks.
__device__ inline uint64_t pack_trits(const PlanesView& to, int64_t row, const float* x, int first,
                                      int count) {
  const Format& f = to.format;
  uint32_t packed = 0;
  for (int i = first + count - 1; i >= first; --i) {
    const BlockParams block = load_block(to, row, f.block.k == 0 ? 0 : i / f.block.k);
    packed = packed * 3 + nearest_code(f, block, static_cast<double>(x[i]));
  }
  return packed;
}

// The codes of a row under scales that are stored, five trits to a thread.
__device__ inline void store_trits(const PlanesView& to, int64_t row, const float* x, bool good) {
  std::byte* bytes = const_cast<std::byte*>(to.codes) + row * to.row_bytes;
  for (int u = static_cast<int>(threadIdx.x); u < (to.k + 4) / 5;
       u += static_cast<int>(blockDim.x)) {
    const uint64_t packed = good ? pack_trits(to, row, x, u * 5, min(5, to.k - u * 5)) : 0;
    bytes[u] = static_cast<std::byte>(packed);
  }
}

// One code to a thread; eight neighbours put theirs together and store whole bytes: blocks are of a
// multiple of 8 codes. Without numbers (`good` is false) they are 0.
__device__ inline void store_codes(const PlanesView& to, int64_t row, const float* x, bool good) {
  const Format& f = to.format;
  if (f.code == Code::kTrit) return store_trits(to, row, x, good);
  std::byte* bytes = const_cast<std::byte*>(to.codes) + row * to.row_bytes;
  const int mine = static_cast<int>(threadIdx.x) % 8;
  const int end = (to.k + 31) / 32 * 32;  // whole warps come to the shuffles
  for (int i = static_cast<int>(threadIdx.x); i < end; i += static_cast<int>(blockDim.x)) {
    uint64_t packed = 0;
    if (good && i < to.k) {
      const BlockParams block = load_block(to, row, f.block.k == 0 ? 0 : i / f.block.k);
      const uint64_t code = nearest_code(f, block, static_cast<double>(x[i]));
      packed = code << (mine * f.bits);
    }
    for (int lanes = 1; lanes < 8; lanes *= 2) {
      packed |= __shfl_xor_sync(0xffffffffu, packed, lanes);
    }
    const int64_t at = int64_t{i / 8} * f.bits + mine;
    if (mine < f.bits && at < to.row_bytes) {
      bytes[at] = static_cast<std::byte>(packed >> (8 * mine) & 0xff);
    }
  }
}

// Scales of all ones, which are NaN in every type that a row can have: of one row, or of all rows
// that share them.
__device__ inline void store_nan(const PlanesView& to, int64_t row) {
  const Format& f = to.format;
  const auto fill = [&](const std::byte* plane, int64_t at, int64_t count, int value) {
    std::byte* bytes = const_cast<std::byte*>(plane);
    for (int64_t i = threadIdx.x; i < count; i += blockDim.x) {
      bytes[at + i] = static_cast<std::byte>(value);
    }
  };
  fill(to.scales, to.scales_at(row), (int64_t{to.k_blocks} * f.scale_bits() + 7) / 8, 0xff);
  if (f.zero != Zero::kNone) {
    fill(to.zeros, to.zeros_at(row), (int64_t{to.k_blocks} * f.zero_bits() + 7) / 8, 0);
  }
  if (f.outer == Outer::kRow) fill(to.outer, row * 4, 4, 0xff);
}

__device__ inline void encode_row(const PlanesView& to, int64_t row, const float* x) {
  const bool good = store_scales(to, row, x);
  store_codes(to, row, x, good);
  if (!good) store_nan(to, row);
}

}  // namespace lowbit::cuda
