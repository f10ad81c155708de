// Canonical planes to layout kTiles and back: one thread for each lane's share of a unit, one for
// each scale. Bytes moved: the tensor twice.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "cuda/act.cuh"
#include "cuda/check.h"
#include "cuda/tiles_pack.h"

namespace lowbit::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kLanes = 32, kMostWords = 16;

// Code i of a canonical row.
__device__ uint32_t canonical_code(const WeightView& w, const uint8_t* row, int64_t i) {
  if (w.code == Code::kTrit) {
    uint32_t digits = row[i / 5];
    for (int skip = 0; skip < i % 5; ++skip) digits /= 3;
    return digits % 3;
  }
  if (w.bits == 16) return reinterpret_cast<const uint16_t*>(row)[i];
  const int64_t bit = i * w.bits;
  uint32_t word = row[bit / 8];
  if (bit % 8 + w.bits > 8) word |= static_cast<uint32_t>(row[bit / 8 + 1]) << 8;
  return word >> bit % 8 & ((1u << w.bits) - 1);
}

// Codes to what a tile holds, and back.
__device__ uint32_t to_tile(const WeightView& w, uint32_t code) {
  if (w.code == Code::kTernary || w.code == Code::kTrit) return (code + 3) & 3;
  return w.code == Code::kUInt || w.code == Code::kSign ? code ^ 1u << (w.bits - 1) : code;
}
__device__ uint32_t from_tile(const WeightView& w, uint32_t code) {
  if (w.code == Code::kTernary || w.code == Code::kTrit) return (code + 1) & 3;
  return to_tile(w, code);
}

// The canonical row that row `row` of the tiles is.
__device__ int64_t source_row(int64_t row, int64_t n, bool paired) {
  if (!paired) return row;
  return row / kTileRows * 8 + row % 8 + (row % kTileRows < 8 ? 0 : n / 2);
}

// Where a code of a lane is from: row of the tiles, column among the stored ones.
struct Place {
  int64_t row, column;
};
__device__ Place place(const WeightView& w, int64_t tile, int64_t unit, int lane, int c) {
  const int run = w.sparse24 ? 2 : 4;  // stored of four columns
  const int i = c % (4 * run);
  return {tile * kTileRows + lane / 4 + 8 * (c / (4 * run)),
          (unit * (kUnit / 4) + i / run * 4 + lane % 4) * run + i % run};
}

// Which two of four columns are kept, as tiles.h counts the ways.
__device__ uint32_t way_of(const WeightView& w, int64_t row, int64_t run, int64_t k) {
  const auto* kept = static_cast<const uint8_t*>(w.meta) + row * ((k + 7) / 8);
  const uint32_t positions = kept[run / 2] >> run % 2 * 4;
  const uint32_t first = positions & 3, second = positions >> 2 & 3;
  return first == 0 ? second - 1 : first + second;
}

struct PackArgs {
  WeightView w;
  TileShape shape;
  int64_t n, k;
  bool paired;
  uint8_t* tiles;
  float* row_scales;
};

__device__ uint8_t* block_at(const PackArgs& a, int64_t tile, int64_t block) {
  return a.tiles + (tile * a.shape.blocks + block) * a.shape.block_bytes;
}

__global__ void __launch_bounds__(kThreads) pack_codes_kernel(const PackArgs a) {
  const int64_t units = int64_t{a.shape.blocks} * a.shape.units;
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int lane = static_cast<int>(index % kLanes);
  const int64_t unit = index / kLanes % units, tile = index / kLanes / units;
  if (tile >= a.shape.tiles) return;
  uint32_t words[kMostWords] = {}, ways = 0;
  CodePart parts[kMostParts];
  for (int c = 0; c < lane_codes(a.w); ++c) {
    const Place p = place(a.w, tile, unit, lane, c);
    const int64_t row = source_row(p.row, a.n, a.paired);
    if (p.row >= a.n || p.column >= (a.w.sparse24 ? a.k / 2 : a.k)) continue;
    if (a.w.sparse24 && c % 2 == 0) ways |= way_of(a.w, row, p.column / 2, a.k) << (c / 2 * 4);
    const auto* codes = static_cast<const uint8_t*>(a.w.codes) + row * a.w.row_bytes;
    const uint32_t code = to_tile(a.w, canonical_code(a.w, codes, p.column));
    const int count = code_parts(a.w, c, parts);
    for (int i = 0; i < count; ++i) {
      const uint32_t mask = (1u << parts[i].bits) - 1;
      words[parts[i].word] |= (code >> parts[i].from & mask) << parts[i].at;
    }
  }
  uint8_t* out =
      block_at(a, tile, unit / a.shape.units) + unit % a.shape.units * a.shape.unit_bytes;
  const int count = lane_words(a.w);
  for (int word = 0; word < count; ++word) {
    *reinterpret_cast<uint32_t*>(out + word_offset(word, count, lane)) = words[word];
  }
  if (a.w.sparse24) {
    auto* at = reinterpret_cast<uint32_t*>(out + a.shape.unit_bytes - kLanes * sizeof(uint32_t));
    at[lane] = ways;
  }
}

__global__ void __launch_bounds__(kThreads) unpack_codes_kernel(const PackArgs a, uint8_t* codes) {
  const int64_t row = blockIdx.y;
  const int64_t stored = (int64_t{blockIdx.x} * kThreads + threadIdx.x);
  const int bits = a.w.code == Code::kTrit ? 8 : a.w.bits;
  const int run = a.w.sparse24 ? 2 : 4;  // stored of four columns
  const int64_t count = a.k * run / 4, row_bytes = (count * bits + 7) / 8;
  if (stored >= row_bytes) return;
  // One byte of the canonical row from the codes that reach into it.
  uint32_t byte = 0;
  for (int64_t i = stored * 8 / bits; i * bits < stored * 8 + 8 && i < count; ++i) {
    const int64_t unit = i / (kUnit / 4 * run), tile = row / kTileRows;
    const int four = static_cast<int>(i / run % (kUnit / 4));  // columns of the unit
    const int in_tile = static_cast<int>(row % kTileRows), lane = in_tile % 8 * 4 + four % 4;
    const int c = (in_tile / 8 * 4 + four / 4) * run + static_cast<int>(i % run);
    const uint8_t* at =
        block_at(a, tile, unit / a.shape.units) + unit % a.shape.units * a.shape.unit_bytes;
    CodePart parts[kMostParts];
    const int count = code_parts(a.w, c, parts), words = lane_words(a.w);
    uint32_t code = 0;
    for (int p = 0; p < count; ++p) {
      const auto* from = at + word_offset(parts[p].word, words, lane);
      const uint32_t word = *reinterpret_cast<const uint32_t*>(from);
      code |= (word >> parts[p].at & ((1u << parts[p].bits) - 1)) << parts[p].from;
    }
    code = from_tile(a.w, code);
    const int64_t shift = i * bits - stored * 8;
    byte |= shift >= 0 ? code << shift : code >> -shift;
  }
  codes[row * row_bytes + stored] = static_cast<uint8_t>(byte);
}

// ---- scales and zeros ---------------------------------------------------------------------------

// Scale or zero of a super-block as f32: exact, 11 bits times 8.
__device__ float super_scale(const WeightView& w, const void* plane, int64_t row, int64_t block,
                             int64_t k, bool zero) {
  const int bits = w.scale == Scale::kI8 ? 8 : w.scale == Scale::kU4 ? 4 : 6;
  const int64_t row_bytes = (int64_t{w.k_blocks} * bits + 7) / 8;
  const auto* codes = static_cast<const uint8_t*>(plane) + row * row_bytes;
  const int64_t bit = block * bits;
  uint32_t word = codes[bit / 8];
  if (bit % 8 + bits > 8) word |= static_cast<uint32_t>(codes[bit / 8 + 1]) << 8;
  const auto code = static_cast<int>(word >> bit % 8 & ((1u << bits) - 1));
  const int value = w.scale == Scale::kI8   ? static_cast<int8_t>(code)
                    : w.scale == Scale::kI6 ? code - 32
                                            : code;
  const int64_t super = row * (k / 256) + block * w.block_k / 256;
  const auto* outer = static_cast<const __half*>(w.outer);
  const float d = w.zero == Zero::kOffset ? __half2float(outer[2 * super + (zero ? 1 : 0)])
                                          : __half2float(outer[super]);
  return zero ? -d * static_cast<float>(value) : d * static_cast<float>(value);
}

// One thread for each (tile, block, group, row).
__global__ void __launch_bounds__(kThreads) pack_scales_kernel(const PackArgs a) {
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int at = static_cast<int>(index % kTileRows), groups = a.shape.groups();
  const int in_block = static_cast<int>(index / kTileRows % groups);
  const int64_t block = index / kTileRows / groups % a.shape.blocks;
  const int64_t tile = index / kTileRows / groups / a.shape.blocks;
  if (tile >= a.shape.tiles) return;
  const int64_t tile_row = tile * kTileRows + at / 2 + at % 2 * 8;
  const int64_t column = (block * groups + in_block) * a.shape.group;
  if (tile_row >= a.n || column >= a.k) return;
  const int64_t row = source_row(tile_row, a.n, a.paired);
  const WeightView& w = a.w;
  const int64_t k_block = w.block_k == 0 ? 0 : column / w.block_k;
  const int64_t from = (w.block_n == 0 ? 0 : row / w.block_n) * w.k_blocks + k_block;
  uint8_t* scales = block_at(a, tile, block) + a.shape.units * a.shape.unit_bytes;
  const int bytes = scale_bytes(a.shape.scale), zero = zero_bytes(a.shape.zero, a.shape.scale);
  uint8_t* zeros = scales + groups * kTileRows * bytes;
  const int64_t to = (at / 2 * groups + in_block) * 2 + at % 2;
  if (w.outer_kind == Outer::kSuper) {
    reinterpret_cast<float*>(scales)[to] = super_scale(w, w.scales, row, k_block, a.k, false);
    if (zero != 0) {
      reinterpret_cast<float*>(zeros)[to] = super_scale(w, w.zeros, row, k_block, a.k, true);
    }
    return;
  }
  for (int i = 0; i < bytes; ++i) {
    scales[to * bytes + i] = static_cast<const uint8_t*>(w.scales)[from * bytes + i];
  }
  for (int i = 0; i < zero; ++i) {
    zeros[to * zero + i] = static_cast<const uint8_t*>(w.zeros)[from * zero + i];
  }
}

__global__ void __launch_bounds__(kThreads) pack_rows_kernel(const PackArgs a) {
  const int64_t tile_row = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (tile_row >= int64_t{a.shape.tiles} * kTileRows) return;
  float scale = 0;
  if (tile_row < a.n) {
    const int64_t row = source_row(tile_row, a.n, a.paired);
    scale = 1;
    if (a.shape.scale == Scale::kNone && a.w.scale != Scale::kNone) {
      scale = load_scale(a.w.scale, a.w.scales, a.w.block_n == 0 ? 0 : row / a.w.block_n);
    }
    const auto* outer = static_cast<const float*>(a.w.outer);
    if (a.w.outer_kind == Outer::kTensor) scale *= outer[0];
    if (a.w.outer_kind == Outer::kRow) scale *= outer[row];
  }
  a.row_scales[tile_row] = scale;
}

unsigned grid(int64_t threads) {
  return static_cast<unsigned>((threads + kThreads - 1) / kThreads);
}

}  // namespace

size_t tiles_bytes(const TileShape& s) {
  return static_cast<size_t>(int64_t{s.tiles} * s.blocks * s.block_bytes);
}

bool scales_of_rows(const WeightView& w) {
  return (w.block_k == 0 && w.zero == Zero::kNone && w.scale != Scale::kNone) ||
         w.outer_kind == Outer::kTensor || w.outer_kind == Outer::kRow;
}

void pack_tiles(const WeightView& canonical, int64_t n, int64_t k, bool paired, uint8_t* tiles,
                float* row_scales) {
  const PackArgs a{canonical, tile_shape(canonical, n, k), n, k, paired, tiles, row_scales};
  const int64_t blocks = int64_t{a.shape.tiles} * a.shape.blocks;
  pack_codes_kernel<<<grid(blocks * a.shape.units * kLanes), kThreads>>>(a);
  LB_CUDA(cudaGetLastError());
  if (a.shape.groups() != 0) {
    pack_scales_kernel<<<grid(blocks * a.shape.groups() * kTileRows), kThreads>>>(a);
    LB_CUDA(cudaGetLastError());
  }
  if (row_scales) {
    pack_rows_kernel<<<grid(int64_t{a.shape.tiles} * kTileRows), kThreads>>>(a);
    LB_CUDA(cudaGetLastError());
  }
}

void unpack_tiles(const WeightView& packed, int64_t n, int64_t k, uint8_t* codes) {
  PackArgs a{packed, tile_shape(packed, n, k), n, k, false, nullptr, nullptr};
  a.tiles = const_cast<uint8_t*>(static_cast<const uint8_t*>(packed.codes));
  const int bits = packed.code == Code::kTrit ? 8 : packed.bits;
  const int64_t stored = packed.sparse24 ? k / 2 : k;
  const dim3 blocks(grid((stored * bits + 7) / 8), static_cast<unsigned>(n));
  unpack_codes_kernel<<<blocks, kThreads>>>(a, codes);
  LB_CUDA(cudaGetLastError());
}

}  // namespace lowbit::cuda
