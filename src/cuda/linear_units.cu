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

// How codes become numbers, the same for all of a launch.
struct Decoder {
  PlanesView w;
  bool integers, aligned;
  int bits;
  const float* table;  // [2^bits], unless integers

  __device__ float operator()(uint32_t code) const {
    if (!integers) return table[code];
    const uint32_t sign = w.format.code == Code::kInt ? 1u << (bits - 1) : 0;
    return static_cast<float>(static_cast<int>(code ^ sign) - static_cast<int>(sign));
  }
};

// y = scale (q - shift) x + offset x
struct Params {
  float scale, shift, offset;
};

__device__ __forceinline__ float load_float(Scale type, const std::byte* plane, int64_t at) {
  if (type == Scale::kBF16) return bf16_to_f32(load_as<uint16_t>(plane, at));
  if (type == Scale::kF16) return f16_to_f32(load_as<uint16_t>(plane, at));
  if (type == Scale::kF32) return load_as<float>(plane, at);
  return static_cast<float>(load_scale(type, plane, at));
}

__device__ __forceinline__ Params load_params(const PlanesView& w, int64_t row, int unit,
                                              int columns) {
  const Format& f = w.format;
  const int block = f.block.k == 0 ? 0 : unit * columns / f.block.k;
  if (f.outer != Outer::kNone && f.outer != Outer::kTable) {
    const BlockParams p = load_block(w, row, block);
    return {static_cast<float>(p.scale), static_cast<float>(p.shift), static_cast<float>(p.offset)};
  }
  const int64_t at = w.scales_row(row) * w.k_blocks + block;
  Params p = {load_float(f.scale, w.scales, at), 0, 0};
  if (f.zero == Zero::kNone) return p;
  const float zero = f.zero == Zero::kInt ? static_cast<float>(static_cast<int>(w.zeros[at]))
                                          : load_float(f.scale, w.zeros, at);
  if (f.zero == Zero::kInt || f.zero == Zero::kReal) p.shift = zero;
  if (f.zero == Zero::kFloat) p.shift = static_cast<float>(1 << (f.bits - 1));
  if (f.zero == Zero::kFloat || f.zero == Zero::kOffset) p.offset = zero;
  return p;
}

// The bytes of a unit; those past the row's end are 0.
template <int kBits>
__device__ __forceinline__ uint64_t load_unit(const Decoder& d, int64_t row, int unit) {
  const int bits = kBits == 0 ? d.bits : kBits;
  const std::byte* codes = d.w.codes + row * d.w.row_bytes;
  if constexpr (kBits == 8) {
    if (d.aligned) return load_as<uint64_t>(codes, unit);
  }
  if constexpr (kBits == 4) {
    if (d.aligned) return load_as<uint32_t>(codes, unit);
  }
  if constexpr (kBits == 2) {
    if (d.aligned) return load_as<uint16_t>(codes, unit);
  }
  uint64_t word = 0;
  for (int i = 0; i < bits; ++i) {
    const int64_t at = int64_t{unit} * bits + i;
    if (at < d.w.row_bytes) word |= static_cast<uint64_t>(codes[at]) << (8 * i);
  }
  return word;
}

// The numbers of a unit less the shift.
template <int kBits>
__device__ __forceinline__ void decode_unit(const Decoder& d, uint64_t word, const Params& p,
                                            float (&values)[kUnit]) {
  const int bits = kBits == 0 ? d.bits : kBits;
#pragma unroll
  for (int i = 0; i < kUnit; ++i) {
    values[i] = d(static_cast<uint32_t>(word >> (i * bits)) & ((1u << bits) - 1)) - p.shift;
  }
}

// Columns of the eight kept codes within the unit's 16.
__device__ __forceinline__ void load_kept(const PlanesView& w, int64_t row, int unit,
                                          int (&kept)[kUnit]) {
  const int64_t codes = w.k / 2, bytes = (codes * 2 + 7) / 8;
  uint32_t meta = 0;
  for (int i = 0; i < 2; ++i) {
    const int64_t at = int64_t{unit} * 2 + i;
    if (at < bytes) meta |= static_cast<uint32_t>(w.meta[row * bytes + at]) << (8 * i);
  }
#pragma unroll
  for (int i = 0; i < kUnit; ++i) kept[i] = i / 2 * 4 + static_cast<int>(meta >> (2 * i) & 3);
}

template <int kTokens, bool kSparse>
__device__ void load_run(const LinearArgs& a, int first_token, int begin,
                         float (&x)[kTokens][kPlaces<kSparse>]) {
  const PlanesView from = view_of(a.x);
  const bool plain = a.x.format == FormatId::kF32;
  for (int i = threadIdx.x; i < kTokens * kRun; i += kThreads) {
    const int token = first_token + i / kRun, column = begin + i % kRun;
    float value = 0;
    if (token < a.m && column < a.k) {
      value = plain ? static_cast<const float*>(a.x.data)[token * a.x.ld + column]
                    : load_f32(from, token, column);
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
__global__ void __launch_bounds__(kThreads) linear_units_kernel(const LinearArgs a) {
  __shared__ __align__(16) float x[kTokens][kPlaces<kSparse>];
  __shared__ float table[256];
  constexpr int kColumns = kSparse ? 2 * kUnit : kUnit;
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int row0 = (static_cast<int>(blockIdx.x) * kWarps + warp) * kRows;
  const int first_token = blockIdx.y * kTokens;
  Decoder d = {view_of(a.w, a.k), false, false, a.w.bits, table};
  const Format& f = d.w.format;
  d.integers = f.code == Code::kInt || f.code == Code::kUInt;
  d.aligned = d.w.row_bytes % a.w.bits == 0;
  if (f.has_table()) {
    d.integers = false;
    if (threadIdx.x < 1u << f.bits) table[threadIdx.x] = load_as<float>(d.w.outer, threadIdx.x);
  } else if (kBits != kF32 && !d.integers && threadIdx.x < 1u << f.bits) {
    table[threadIdx.x] = static_cast<float>(decode_code(f, threadIdx.x));
  }
  const bool two_levels = f.outer == Outer::kInt8;

  float sums[kRows][kTokens] = {};
  for (int begin = 0; begin < a.k; begin += kRun) {
    __syncthreads();
    load_run<kTokens, kSparse>(a, first_token, begin, x);
    __syncthreads();
    const int columns = min(kRun, a.k - begin);
    const int units = (columns + kColumns - 1) / kColumns;
#pragma unroll 2
    for (int i = lane; i < units; i += kWarp) {
      const int unit = begin / kColumns + i;
      uint64_t words[kRows];
      Params params[kRows];
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const int row = min(row0 + r, a.n - 1);
        if constexpr (kBits != kF32) {
          words[r] = load_unit<kBits>(d, row, unit);
          params[r] = load_params(d.w, row, unit, kColumns);
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
            values[j] = column < a.k ? load_as<float>(d.w.codes, int64_t{row} * a.k + column) : 0;
          }
        } else {
          decode_unit<kBits>(d, words[r], params[r], values);
        }
        if (two_levels) {  // integers times one f32 for the row
          const BlockParams p =
              load_block(d.w, row, f.block.k == 0 ? 0 : unit * kColumns / f.block.k);
          for (float& value : values) value = static_cast<float>(p(value));
          params[r] = {1, 0, 0};
        }
        if constexpr (kSparse) load_kept(d.w, row, unit, kept);
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
