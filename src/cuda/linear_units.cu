// y[m, n] (+)= x[m, k] w[n, k]^T for what has no row in tiles: groups of 8, 2:4 with zeros or of
// floats, learned numbers, two levels of integers, f32. From canonical planes.
//   grid (n / 32, m / kTokens), eight warps, four rows of w to a warp
// A lane takes units of eight stored codes (16 columns of 2:4), every 32nd of a row; scale and zero
// are loaded once for each. Runs of 2048 columns of x are decoded to shared memory, once for all 32
// rows. Codes become numbers by themselves (integers) or by a table that the CTA makes first.
//   bytes   the planes, once for every kTokens tokens
//   limits  codes of up to 8 bits, one to a place (no trits), or f32; blocks of whole units
#include "cuda/chain.h"
#include "cuda/check.h"
#include "cuda/codes.cuh"
#include "cuda/linear_any.h"

namespace lowbit::cuda {
namespace {

constexpr int kThreads = 256, kWarp = 32, kWarps = kThreads / kWarp;
constexpr int kRows = 4;  // of w, of a warp
constexpr int kUnit = 8;  // stored codes
constexpr int kRun = 2048;
constexpr int kF32 = 32;  // as kBits: numbers, not codes; kBits 0: as many as the format says

// A run of x, [tokens][...]: where a column lies, so that lanes with neighbouring units read
// different banks.
template <bool kSparse>
__device__ __forceinline__ int place(int column) {
  if constexpr (kSparse) return column + column / 16;
  return (column % kUnit / 4 * (kRun / kUnit) + column / kUnit) * 4 + column % 4;
}
template <bool kSparse>
constexpr int kPlaces = kSparse ? kRun + kRun / 16 : kRun;

// ---- what is rare, once in the kernel's code ----------------------------------------------------

__device__ __noinline__ float any_number(const LinearArgs& a, int token, int column) {
  return load_f32(view_of(a.x), token, column);
}

__device__ __noinline__ float any_scale(Scale type, const void* plane, int64_t at) {
  return static_cast<float>(load_scale(type, static_cast<const std::byte*>(plane), at));
}

// y = scale (q - shift) x + offset x
struct Params {
  float scale, shift, offset;
};
__device__ __noinline__ Params any_params(const LinearArgs& a, int64_t row, int block) {
  const BlockParams p = load_block(view_of(a.w, a.k), row, block);
  return {static_cast<float>(p.scale), static_cast<float>(p.shift), static_cast<float>(p.offset)};
}

// Of two levels: an integer times one f32 for the row.
__device__ __noinline__ float any_weight(const LinearArgs& a, int64_t row, int block, float q) {
  return static_cast<float>(load_block(view_of(a.w, a.k), row, block)(q));
}

// What a code stands for, by the codec or by the tensor's table.
__device__ __noinline__ float any_code(const LinearArgs& a, uint32_t code) {
  if (a.w.outer_kind == Outer::kTable) return static_cast<const float*>(a.w.outer)[code];
  return static_cast<float>(decode_code(view_of(a.w, a.k).format, code));
}

// ---- units --------------------------------------------------------------------------------------

// How codes become numbers, the same for all of a launch.
struct Decoder {
  const LinearArgs& a;
  const float* table;  // [2^bits], unless integers
  bool integers, aligned;
  uint32_t sign;  // of kInt

  __device__ float operator()(uint32_t code) const {
    if (!integers) return table[code];
    return static_cast<float>(static_cast<int>(code ^ sign) - static_cast<int>(sign));
  }
};

__device__ __forceinline__ float load_float(Scale type, const void* plane, int64_t at) {
  if (type == Scale::kBF16) return bf16_to_f32(static_cast<const uint16_t*>(plane)[at]);
  if (type == Scale::kF32) return static_cast<const float*>(plane)[at];
  return any_scale(type, plane, at);
}

__device__ __forceinline__ Params load_params(const LinearArgs& a, int64_t row, int block) {
  const WeightView& w = a.w;
  if (w.outer_kind != Outer::kNone && w.outer_kind != Outer::kTable) {
    return any_params(a, row, block);
  }
  const int64_t rows = w.block_n == 0 ? 0 : w.block_n == 1 ? row : row / w.block_n;
  const int64_t at = rows * w.k_blocks + block;
  Params p = {load_float(w.scale, w.scales, at), 0, 0};
  if (w.zero == Zero::kNone) return p;
  const float zero = w.zero == Zero::kInt
                         ? static_cast<float>(static_cast<const uint8_t*>(w.zeros)[at])
                         : load_float(w.scale, w.zeros, at);
  if (w.zero == Zero::kInt || w.zero == Zero::kReal) p.shift = zero;
  if (w.zero == Zero::kFloat) p.shift = static_cast<float>(1 << (w.bits - 1));
  if (w.zero == Zero::kFloat || w.zero == Zero::kOffset) p.offset = zero;
  return p;
}

// The bytes of a unit; those past the row's end are 0.
template <int kBits>
__device__ __forceinline__ uint64_t load_unit(const Decoder& d, int64_t row, int unit) {
  const WeightView& w = d.a.w;
  const int bits = kBits == 0 ? w.bits : kBits;
  const uint8_t* codes = static_cast<const uint8_t*>(w.codes) + row * w.row_bytes;
  if constexpr (kBits == 8) {
    if (d.aligned) return reinterpret_cast<const uint64_t*>(codes)[unit];
  }
  if constexpr (kBits == 4) {
    if (d.aligned) return reinterpret_cast<const uint32_t*>(codes)[unit];
  }
  if constexpr (kBits == 2) {
    if (d.aligned) return reinterpret_cast<const uint16_t*>(codes)[unit];
  }
  uint64_t word = 0;
  for (int i = 0; i < bits; ++i) {
    const int64_t at = int64_t{unit} * bits + i;
    if (at < w.row_bytes) word |= static_cast<uint64_t>(codes[at]) << (8 * i);
  }
  return word;
}

// The numbers of a unit less the shift.
template <int kBits>
__device__ __forceinline__ void decode_unit(const Decoder& d, uint64_t word, const Params& p,
                                            float (&values)[kUnit]) {
  const int bits = kBits == 0 ? d.a.w.bits : kBits;
#pragma unroll
  for (int i = 0; i < kUnit; ++i) {
    values[i] = d(static_cast<uint32_t>(word >> (i * bits)) & ((1u << bits) - 1)) - p.shift;
  }
}

// Columns of the eight kept codes within the unit's 16.
__device__ __forceinline__ void load_kept(const LinearArgs& a, int64_t row, int unit,
                                          int (&kept)[kUnit]) {
  const int64_t bytes = (int64_t{a.k} / 2 * 2 + 7) / 8;
  uint32_t meta = 0;
  for (int i = 0; i < 2; ++i) {
    const int64_t at = int64_t{unit} * 2 + i;
    if (at < bytes)
      meta |= uint32_t{static_cast<const uint8_t*>(a.w.meta)[row * bytes + at]} << (8 * i);
  }
#pragma unroll
  for (int i = 0; i < kUnit; ++i) kept[i] = i / 2 * 4 + static_cast<int>(meta >> (2 * i) & 3);
}

template <int kTokens, bool kSparse>
__device__ void load_run(const LinearArgs& a, int first_token, int begin,
                         float (&x)[kTokens][kPlaces<kSparse>]) {
  const bool plain = a.x.format == FormatId::kF32;
  for (int i = threadIdx.x; i < kTokens * kRun; i += kThreads) {
    const int token = first_token + i / kRun, column = begin + i % kRun;
    float value = 0;
    if (token < a.m && column < a.k) {
      value = plain ? static_cast<const float*>(a.x.data)[token * a.x.ld + column]
                    : any_number(a, token, column);
    }
    x[i / kRun][place<kSparse>(i % kRun)] = value;
  }
}

// The products of one unit with x, added to the sums of its row.
template <int kTokens, bool kSparse>
__device__ __forceinline__ void add_unit(const float (&x)[kTokens][kPlaces<kSparse>], int in_run,
                                         const float (&values)[kUnit], const int (&kept)[kUnit],
                                         const Params& p, float (&sums)[kTokens]) {
#pragma unroll
  for (int t = 0; t < kTokens; ++t) {
    float numbers[kUnit];
    if constexpr (kSparse) {
#pragma unroll
      for (int i = 0; i < kUnit; ++i) numbers[i] = x[t][place<true>(in_run * 16 + kept[i])];
    } else {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float4 four =
            *reinterpret_cast<const float4*>(&x[t][place<false>(in_run * kUnit + half * 4)]);
        numbers[half * 4] = four.x;
        numbers[half * 4 + 1] = four.y;
        numbers[half * 4 + 2] = four.z;
        numbers[half * 4 + 3] = four.w;
      }
    }
    float product = 0, total = 0;
#pragma unroll
    for (int i = 0; i < kUnit; ++i) {
      product = fmaf(values[i], numbers[i], product);
      total += numbers[i];
    }
    sums[t] = fmaf(p.scale, product, sums[t]);
    if (p.offset != 0) sums[t] = fmaf(p.offset, total, sums[t]);
  }
}

template <int kBits, int kTokens, bool kSparse>
__global__ void __launch_bounds__(kThreads)
    linear_units_kernel(const __grid_constant__ LinearArgs a) {
  __shared__ __align__(16) float x[kTokens][kPlaces<kSparse>];
  __shared__ float table[256];
  constexpr int kColumns = kSparse ? 2 * kUnit : kUnit;
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int row0 = (static_cast<int>(blockIdx.x) * kWarps + warp) * kRows;
  const int first_token = blockIdx.y * kTokens;
  const bool integers =
      (a.w.code == Code::kInt || a.w.code == Code::kUInt) && a.w.outer_kind != Outer::kTable;
  const Decoder d = {a, table, integers, a.w.row_bytes % a.w.bits == 0,
                     a.w.code == Code::kInt ? 1u << (a.w.bits - 1) : 0};
  if (kBits != kF32 && !integers && threadIdx.x < 1u << a.w.bits) {
    table[threadIdx.x] = any_code(a, threadIdx.x);
  }
  const auto block_of = [&](int unit) {
    return a.w.block_k == 0 ? 0 : unit * kColumns / a.w.block_k;
  };

  float sums[kRows][kTokens] = {};
  for (int begin = 0; begin < a.k; begin += kRun) {
    __syncthreads();
    load_run<kTokens, kSparse>(a, first_token, begin, x);
    __syncthreads();
    const int columns = min(kRun, a.k - begin);
    const int units = (columns + kColumns - 1) / kColumns;
#pragma unroll 1
    for (int i = lane; i < units; i += kWarp) {
      const int unit = begin / kColumns + i;
      uint64_t words[kRows];
      Params params[kRows];
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const int row = min(row0 + r, a.n - 1);
        if constexpr (kBits != kF32) {
          words[r] = load_unit<kBits>(d, row, unit);
          params[r] = load_params(a, row, block_of(unit));
        }
      }
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const int row = min(row0 + r, a.n - 1);
        float values[kUnit];
        int kept[kUnit] = {};
        if constexpr (kBits == kF32) {
          params[r] = {1, 0, 0};
          for (int j = 0; j < kUnit; ++j) {
            const int column = unit * kUnit + j;
            values[j] = column < a.k
                            ? static_cast<const float*>(a.w.codes)[int64_t{row} * a.k + column]
                            : 0;
          }
        } else {
          decode_unit<kBits>(d, words[r], params[r], values);
        }
        if (a.w.outer_kind == Outer::kInt8) {
          for (float& value : values) value = any_weight(a, row, block_of(unit), value);
          params[r] = {1, 0, 0};
        }
        if constexpr (kSparse) load_kept(a, row, unit, kept);
        add_unit<kTokens, kSparse>(x, i, values, kept, params[r], sums[r]);
      }
    }
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
#pragma unroll
    for (int t = 0; t < kTokens; ++t) {
      float sum = sums[r][t];
      for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) {
        sum += __shfl_xor_sync(0xffffffffu, sum, lanes);
      }
      if (lane != 0 || first_token + t >= a.m || row0 + r >= a.n) continue;
      float* y = a.y + (first_token + t) * a.ldy + row0 + r;
      const float v = sum + (a.bias ? a.bias[row0 + r] : 0);
      *y = a.epilogue == Epilogue::kAdd ? *y + v : v;
    }
  }
}

template <int kBits, int kTokens, bool kSparse>
void launch(const LinearArgs& a, cudaStream_t stream) {
  constexpr int kTile = kWarps * kRows;
  const dim3 grid((a.n + kTile - 1) / kTile, (a.m + kTokens - 1) / kTokens);
  linear_units_kernel<kBits, kTokens, kSparse><<<grid, kThreads, 0, stream>>>(a);
  LB_CUDA(cudaGetLastError());
}

template <int kBits, bool kSparse>
void launch(const LinearArgs& a, cudaStream_t stream) {
  a.m == 1 ? launch<kBits, 1, kSparse>(a, stream) : launch<kBits, 4, kSparse>(a, stream);
}

}  // namespace

void linear_units(const LinearArgs& a, Stream stream) {
  if (a.m == 0) return;
  end_chain(stream);
  const auto s = static_cast<cudaStream_t>(stream);
  if (a.w.sparse24) {
    launch<0, true>(a, s);
  } else if (a.w.bits == kF32) {
    launch<kF32, false>(a, s);
  } else if (a.w.bits == 8) {
    launch<8, false>(a, s);
  } else if (a.w.bits == 4) {
    launch<4, false>(a, s);
  } else if (a.w.bits == 2) {
    launch<2, false>(a, s);
  } else {
    launch<0, false>(a, s);
  }
}

}  // namespace lowbit::cuda
