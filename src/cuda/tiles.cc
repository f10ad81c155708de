// Registry rows and the packer of layout kTiles.
#include <fmt/core.h>

#include <memory>
#include <vector>

#include "base/check.h"
#include "cuda/batch_plan.h"
#include "cuda/linear_any.h"
#include "cuda/linear_rows.h"
#include "cuda/matmul_rows.h"
#include "cuda/runtime.h"
#include "cuda/tiles_args.h"
#include "cuda/tiles_pack.h"
#include "cuda/tiles_rows.h"
#include "formats/codec.h"

namespace lowbit {
namespace {

using namespace cuda;

// ---- which formats a row reads ------------------------------------------------------------------

bool fits_stream(const Format& f) {
  if (f.code == Code::kF32 || f.outer == Outer::kInt8) return false;
  if (f.block.k != 0 && f.block.k < 16) return false;
  return f.quantized() || f.bits == 16;
}

// 2:4 formats: where a dropped weight is a code of 0.
template <int kBits>
bool sparse(const Format& f) {
  return fits_stream(f) && f.sparse24 && f.bits == kBits && f.zero == Zero::kNone &&
         (f.code == Code::kInt || f.code == Code::kUInt);
}
bool fits_tiles(const Format& f) { return fits_stream(f) && !f.sparse24; }
bool fits_layout(const Format& f) { return fits_tiles(f) || sparse<4>(f) || sparse<8>(f); }

template <Code... kCodes>
bool code_is(const Format& f) {
  return fits_tiles(f) && ((f.code == kCodes) || ...);
}
// Integers with a middle: ternary codes have their own.
template <int kBits>
bool integer(const Format& f) {
  return fits_tiles(f) && f.bits == kBits && (f.code == Code::kInt || f.code == Code::kUInt);
}
bool ternary(const Format& f) { return code_is<Code::kTernary, Code::kTrit>(f); }
bool one_bit(const Format& f) { return fits_tiles(f) && f.code == Code::kSign; }

// Numbers without a scale, or codes that are f16 numbers exactly up to one factor for each
// token.
bool exact_in_f16(const Format& f) {
  if (!f.quantized()) return true;
  if (f.zero != Zero::kNone || f.outer == Outer::kTensor || f.outer == Outer::kSuper) return false;
  return f.block.k == 0 || f.scale == Scale::kE8M0 || f.scale == Scale::kE4M3;
}
// Numbers that are whole ones, up to one factor for each token, or that may be rounded to such.
bool exact_in_fixed(const Format& f) {
  if (!f.quantized()) return true;
  return f.code == Code::kInt && f.bits <= 8 && f.block.k == 0 && f.zero == Zero::kNone &&
         f.outer == Outer::kNone;
}
bool any(const Format&) { return true; }
// Whole units of linear_units.cu.
bool in_units(const Format& f) {
  const bool codes = f.code == Code::kF32 || (f.bits <= 8 && f.code != Code::kTrit);
  return codes && f.block.k % (f.sparse24 ? 16 : 8) == 0;
}

WeightView planless_view(const Format& f, int64_t n, int64_t k) { return view(QTensor{f, n, k}); }

std::string needs_copies(const LinearSpec&, const DeviceInfo& device) {
  if (device.sm >= 80) return "";
  return fmt::format("needs asynchronous copies (sm_80), this GPU is sm_{}", device.sm);
}

// Sums of whole rows are 32-bit integers.
std::string needs_sums(const LinearSpec& spec, const DeviceInfo& device) {
  constexpr int64_t kMost = int64_t{1} << 17;
  if (spec.k > kMost) {
    return fmt::format("sums of {} products may exceed 32 bits (at most {})", spec.k, kMost);
  }
  return needs_copies(spec, device);
}

// Products of many tokens: codes whose scales are of whole rows go to the tensor cores as they are,
// in f16 (bf16 weights in bf16); others times their scales, in bf16.
bool by_rows(const Format& f) { return f.block.k == 0 && f.zero == Zero::kNone; }
template <bool (*kCodes)(const Format&)>
bool rows_of_codes(const Format& f) {
  return kCodes(f) && by_rows(f);
}
template <bool (*kCodes)(const Format&)>
bool scaled_codes(const Format& f) {
  return kCodes(f) && !by_rows(f);
}

std::string needs_wgmma(const LinearSpec&, const DeviceInfo& device) {
  if (device.sm == 90) return "";
  return fmt::format("needs wgmma (sm_90a), this GPU is sm_{}", device.sm);
}
// Of codes and scales whose product is a bf16 number, a pair's products are exact.
std::string needs_wgmma_and_exact_pairs(const LinearSpec& spec, const DeviceInfo& device) {
  const bool exact =
      spec.w.zero == Zero::kNone &&
      (spec.w.scale == Scale::kE8M0 || (spec.w.scale == Scale::kE4M3 && spec.w.bits <= 4));
  if (spec.a.quantized() && !exact) {
    return "rounds weights to bf16, which " + name(spec.a) + " activations would have exactly";
  }
  return needs_wgmma(spec, device);
}

// Sums of slices, panels of x, and the tokens' scales.
size_t panel_bytes(const LinearSpec& spec) {
  const TileShape s = tile_shape(planless_view(spec.w, spec.n, spec.k), spec.n, spec.k);
  const auto tokens = static_cast<size_t>(spec.m_max);
  const size_t blocks = (tokens + kPanelTokens - 1) / kPanelTokens;
  return kBatchBytes + tokens * sizeof(float) +
         blocks * static_cast<size_t>(s.blocks) * static_cast<size_t>(s.units) * kPanelTokens *
             kUnit * 2;
}

// x prepared in global memory, where it does not fit beside the ring.
size_t workspace(const LinearSpec& spec) {
  const TileShape s = tile_shape(planless_view(spec.w, spec.n, spec.k), spec.n, spec.k);
  const size_t units = static_cast<size_t>(s.blocks) * static_cast<size_t>(s.units);
  const size_t sums = 4;  // of a unit, at most
  const size_t rows = spec.w.code == Code::kBF16 ? 2 * kMaxTokens : kMaxTokens;
  return units * (rows * kUnit * sizeof(uint16_t) + kMaxTokens * sizeof(float) * sums) +
         kMaxTokens * sizeof(float);
}

// ---- rows ---------------------------------------------------------------------------------------

// Products are exact, sums f32 with the tensor cores' truncation. x is rounded to f16 after the
// token, or of one token alone the columns of a warp, were brought to one power of two.
constexpr LinearKernel tiles(std::string_view name, bool (*weights)(const Format&),
                             void (*launch)(const LinearArgs&, Stream)) {
  return {.name = name,
          .weights = weights,
          .activations = exact_in_f16,
          .layout = LayoutId::kTiles,
          .rank = 10,
          .u_acc = 0x1p-22,
          .u_x = 0x1p-11,
          .x_block = kUnit,
          .zeros_apart = true,
          .fused_norm = true,
          .fused_silu = true,
          .reject = needs_copies,
          .workspace = workspace,
          .launch = launch};
}
// x is rounded to 16 bits in units of its token's; products and sums over a group are exact.
constexpr LinearKernel fixed(std::string_view name, bool (*weights)(const Format&),
                             void (*launch)(const LinearArgs&, Stream)) {
  LinearKernel row = tiles(name, weights, launch);
  row.activations = exact_in_fixed;
  row.rank = 12;
  row.u_x = 0x1p-15;
  row.x_block = kWholeToken;
  row.products = Products::kInteger;
  row.reject = needs_sums;
  return row;
}

// More than a few tokens: x in f16, as tiles() has it. Pairs stay with rows that add integers
// exactly, as long as those take them at once.
constexpr LinearKernel matmul(std::string_view name, bool (*weights)(const Format&),
                              void (*launch)(const LinearArgs&, Stream)) {
  LinearKernel row = tiles(name, weights, launch);
  row.m.lo = 9;
  row.pair_m = MRange{kMaxTokens + 1};
  row.rank = 20;
  row.reject = needs_wgmma;
  row.workspace = panel_bytes;
  return row;
}
// x and weights rounded to bf16.
constexpr LinearKernel scaled_matmul(std::string_view name, bool (*weights)(const Format&),
                                     void (*launch)(const LinearArgs&, Stream)) {
  LinearKernel row = matmul(name, weights, launch);
  row.u_x = row.u_w = 0x1p-8;
  row.reject = needs_wgmma_and_exact_pairs;
  return row;
}
constexpr LinearKernel bf16_matmul(std::string_view name, bool (*weights)(const Format&),
                                   void (*launch)(const LinearArgs&, Stream)) {
  LinearKernel row = matmul(name, weights, launch);
  row.u_x = 0x1p-8;
  return row;
}

constexpr LinearKernel kRows[] = {
    fixed("cuda.fixed.int8", integer<8>, fixed_int8),
    fixed("cuda.fixed.int7", integer<7>, fixed_int7),
    fixed("cuda.fixed.int6", integer<6>, fixed_int6),
    fixed("cuda.fixed.int5", integer<5>, fixed_int5),
    fixed("cuda.fixed.int4", integer<4>, fixed_int4),
    fixed("cuda.fixed.int3", integer<3>, fixed_int3),
    fixed("cuda.fixed.int2", integer<2>, fixed_int2),
    fixed("cuda.fixed.int1", integer<1>, fixed_int1),
    fixed("cuda.fixed.sign", one_bit, fixed_sign),
    fixed("cuda.fixed.ternary", ternary, fixed_int2),
    fixed("cuda.fixed.int8.24", sparse<8>, fixed_int8_24),
    fixed("cuda.fixed.int4.24", sparse<4>, fixed_int4_24),
    fixed("cuda.fixed.e2m1", code_is<Code::kE2M1>, fixed_e2m1),
    tiles("cuda.tiles.int8", integer<8>, linear_int8),
    tiles("cuda.tiles.int7", integer<7>, linear_int7),
    tiles("cuda.tiles.int6", integer<6>, linear_int6),
    tiles("cuda.tiles.int5", integer<5>, linear_int5),
    tiles("cuda.tiles.int4", integer<4>, linear_int4),
    tiles("cuda.tiles.int3", integer<3>, linear_int3),
    tiles("cuda.tiles.int2", integer<2>, linear_int2),
    tiles("cuda.tiles.int1", integer<1>, linear_int1),
    tiles("cuda.tiles.sign", one_bit, linear_sign),
    tiles("cuda.tiles.ternary", ternary, linear_int2),
    tiles("cuda.tiles.e4m3", code_is<Code::kE4M3>, linear_e4m3),
    tiles("cuda.tiles.e5m2", code_is<Code::kE5M2>, linear_e5m2),
    tiles("cuda.tiles.e3m2", code_is<Code::kE3M2>, linear_e3m2),
    tiles("cuda.tiles.e2m3", code_is<Code::kE2M3>, linear_e2m3),
    tiles("cuda.tiles.e3m1", code_is<Code::kE3M1>, linear_e3m1),
    tiles("cuda.tiles.e2m2", code_is<Code::kE2M2>, linear_e2m2),
    tiles("cuda.tiles.e3m0", code_is<Code::kE3M0>, linear_e3m0),
    tiles("cuda.tiles.e2m1", code_is<Code::kE2M1>, linear_e2m1),
    tiles("cuda.tiles.e2m0", code_is<Code::kE2M0>, linear_e2m0),
    tiles("cuda.tiles.f16", code_is<Code::kF16>, linear_f16),
    tiles("cuda.tiles.bf16", code_is<Code::kBF16>, linear_bf16),
#ifdef LB_CUDA_SM90A
    matmul("cuda.matmul.int8", rows_of_codes<integer<8>>, matmul_int8),
    matmul("cuda.matmul.int7", rows_of_codes<integer<7>>, matmul_int7),
    matmul("cuda.matmul.int6", rows_of_codes<integer<6>>, matmul_int6),
    matmul("cuda.matmul.int5", rows_of_codes<integer<5>>, matmul_int5),
    matmul("cuda.matmul.int4", rows_of_codes<integer<4>>, matmul_int4),
    matmul("cuda.matmul.int3", rows_of_codes<integer<3>>, matmul_int3),
    matmul("cuda.matmul.int2", rows_of_codes<integer<2>>, matmul_int2),
    matmul("cuda.matmul.int1", rows_of_codes<integer<1>>, matmul_int1),
    matmul("cuda.matmul.int8.24", rows_of_codes<sparse<8>>, matmul_int8_24),
    matmul("cuda.matmul.int4.24", rows_of_codes<sparse<4>>, matmul_int4_24),
    matmul("cuda.matmul.sign", rows_of_codes<one_bit>, matmul_sign),
    matmul("cuda.matmul.ternary", rows_of_codes<ternary>, matmul_int2),
    matmul("cuda.matmul.e4m3", rows_of_codes<code_is<Code::kE4M3>>, matmul_e4m3),
    matmul("cuda.matmul.e5m2", rows_of_codes<code_is<Code::kE5M2>>, matmul_e5m2),
    matmul("cuda.matmul.e3m2", rows_of_codes<code_is<Code::kE3M2>>, matmul_e3m2),
    matmul("cuda.matmul.e2m3", rows_of_codes<code_is<Code::kE2M3>>, matmul_e2m3),
    matmul("cuda.matmul.e3m1", rows_of_codes<code_is<Code::kE3M1>>, matmul_e3m1),
    matmul("cuda.matmul.e2m2", rows_of_codes<code_is<Code::kE2M2>>, matmul_e2m2),
    matmul("cuda.matmul.e3m0", rows_of_codes<code_is<Code::kE3M0>>, matmul_e3m0),
    matmul("cuda.matmul.e2m1", rows_of_codes<code_is<Code::kE2M1>>, matmul_e2m1),
    matmul("cuda.matmul.e2m0", rows_of_codes<code_is<Code::kE2M0>>, matmul_e2m0),
    matmul("cuda.matmul.f16", code_is<Code::kF16>, matmul_f16),
    bf16_matmul("cuda.matmul.bf16", code_is<Code::kBF16>, matmul_bf16),
    scaled_matmul("cuda.matmul.int8.scaled", scaled_codes<integer<8>>, scaled_matmul_int8),
    scaled_matmul("cuda.matmul.int7.scaled", scaled_codes<integer<7>>, scaled_matmul_int7),
    scaled_matmul("cuda.matmul.int6.scaled", scaled_codes<integer<6>>, scaled_matmul_int6),
    scaled_matmul("cuda.matmul.int5.scaled", scaled_codes<integer<5>>, scaled_matmul_int5),
    scaled_matmul("cuda.matmul.int4.scaled", scaled_codes<integer<4>>, scaled_matmul_int4),
    scaled_matmul("cuda.matmul.int3.scaled", scaled_codes<integer<3>>, scaled_matmul_int3),
    scaled_matmul("cuda.matmul.int2.scaled", scaled_codes<integer<2>>, scaled_matmul_int2),
    scaled_matmul("cuda.matmul.int1.scaled", scaled_codes<integer<1>>, scaled_matmul_int1),
    scaled_matmul("cuda.matmul.int8.24.scaled", scaled_codes<sparse<8>>, scaled_matmul_int8_24),
    scaled_matmul("cuda.matmul.int4.24.scaled", scaled_codes<sparse<4>>, scaled_matmul_int4_24),
    scaled_matmul("cuda.matmul.sign.scaled", scaled_codes<one_bit>, scaled_matmul_sign),
    scaled_matmul("cuda.matmul.ternary.scaled", scaled_codes<ternary>, scaled_matmul_int2),
    scaled_matmul("cuda.matmul.e4m3.scaled", scaled_codes<code_is<Code::kE4M3>>,
                  scaled_matmul_e4m3),
    scaled_matmul("cuda.matmul.e5m2.scaled", scaled_codes<code_is<Code::kE5M2>>,
                  scaled_matmul_e5m2),
    scaled_matmul("cuda.matmul.e3m2.scaled", scaled_codes<code_is<Code::kE3M2>>,
                  scaled_matmul_e3m2),
    scaled_matmul("cuda.matmul.e2m3.scaled", scaled_codes<code_is<Code::kE2M3>>,
                  scaled_matmul_e2m3),
    scaled_matmul("cuda.matmul.e3m1.scaled", scaled_codes<code_is<Code::kE3M1>>,
                  scaled_matmul_e3m1),
    scaled_matmul("cuda.matmul.e2m2.scaled", scaled_codes<code_is<Code::kE2M2>>,
                  scaled_matmul_e2m2),
    scaled_matmul("cuda.matmul.e3m0.scaled", scaled_codes<code_is<Code::kE3M0>>,
                  scaled_matmul_e3m0),
    scaled_matmul("cuda.matmul.e2m1.scaled", scaled_codes<code_is<Code::kE2M1>>,
                  scaled_matmul_e2m1),
    scaled_matmul("cuda.matmul.e2m0.scaled", scaled_codes<code_is<Code::kE2M0>>,
                  scaled_matmul_e2m0),
#endif
    {.name = "cuda.linear.units",
     .weights = in_units,
     .activations = any,
     .rank = 1,
     .u_acc = 0x1p-24,
     .zeros_apart = true,
     .tables = true,
     .generic = true,
     .launch = linear_units},
    {.name = "cuda.linear.any",
     .weights = any,
     .activations = any,
     .rank = 0,
     .u_acc = 0x1p-24,
     .generic = true,
     .launch = linear_any},
};

// ---- packer -------------------------------------------------------------------------------------

DeviceBytes device_bytes(size_t size) {
  auto buffer = std::make_shared<Buffer>(size);
  return {buffer->data(), size, buffer};
}

size_t packed_bytes(const Format& f, int64_t n, int64_t k) {
  const WeightView w = planless_view(f, n, k);
  const TileShape s = tile_shape(w, n, k);
  return tiles_bytes(s) + (scales_of_rows(w) ? int64_t{s.tiles} * kTileRows * sizeof(float) : 0);
}

DeviceTensor pack(const QTensor& canonical, bool paired) {
  WeightView from = view(canonical);
  std::array<DeviceBytes, kPlanes.size()> planes;
  for (size_t i = 0; i < kPlanes.size(); ++i) {
    const Bytes& plane = canonical.plane(kPlanes[i]);
    if (plane.data.empty()) continue;
    planes[i] = device_bytes(plane.data.size());
    LB_CUDA(cudaMemcpy(planes[i].data, plane.data.data(), plane.data.size(), cudaMemcpyDefault));
  }
  const auto data = [&](Plane plane) { return planes[static_cast<size_t>(plane)].data; };
  from.codes = data(Plane::kCodes);
  from.scales = data(Plane::kScales);
  from.zeros = data(Plane::kZeros);
  from.meta = data(Plane::kMeta);
  from.outer = data(Plane::kOuter);

  const TileShape shape = tile_shape(from, canonical.n, canonical.k);
  DeviceTensor out{from};
  DeviceBytes& tiles = out.planes[static_cast<size_t>(Plane::kCodes)];
  DeviceBytes& rows = out.planes[static_cast<size_t>(Plane::kScales)];
  tiles = device_bytes(tiles_bytes(shape));
  LB_CUDA(cudaMemset(tiles.data, 0, tiles.size));
  if (scales_of_rows(from)) rows = device_bytes(size_t(shape.tiles) * kTileRows * sizeof(float));
  pack_tiles(from, canonical.n, canonical.k, paired, static_cast<uint8_t*>(tiles.data),
             static_cast<float*>(rows.data));
  LB_CUDA(cudaStreamSynchronize(nullptr));  // the canonical planes end here
  out.view.codes = tiles.data;
  out.view.scales = rows.data;
  out.view.zeros = nullptr;
  out.view.meta = nullptr;
  out.view.outer = nullptr;
  out.view.paired = paired;
  return out;
}

Bytes unpack(const DeviceTensor& packed, const Format& format, int64_t n, int64_t k) {
  const bool trits = format.code == Code::kTrit;
  const size_t size = static_cast<size_t>(n * (trits ? k : row_bytes(format, k)));
  const Buffer codes(size);
  unpack_tiles(packed.view, n, k, codes.as<uint8_t>());
  std::byte* out = nullptr;
  Bytes bytes = allocate_bytes(size, &out);
  LB_CUDA(cudaMemcpy(out, codes.data(), size, cudaMemcpyDeviceToHost));
  if (!trits) return bytes;
  std::byte* trit_bytes = nullptr;
  Bytes trit_plane = allocate_bytes(static_cast<size_t>(n * row_bytes(format, k)), &trit_bytes);
  std::vector<uint32_t> row(static_cast<size_t>(k));
  for (int64_t r = 0; r < n; ++r) {
    for (int64_t i = 0; i < k; ++i) {
      row[static_cast<size_t>(i)] = std::to_integer<uint32_t>(out[r * k + i]);
    }
    pack_codes(format, row, trit_bytes + r * row_bytes(format, k));
  }
  return trit_plane;
}

constexpr Packer kPackers[] = {{LayoutId::kTiles, fits_layout, packed_bytes, pack, unpack}};

}  // namespace

namespace cuda {
std::span<const LinearKernel> linear_rows() { return kRows; }
std::span<const Packer> packers() { return kPackers; }
}  // namespace cuda
}  // namespace lowbit
