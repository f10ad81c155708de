// The canonical planes of a tensor (formats/qtensor.h) as plain pointers: where the codes and the
// scales of a number are, on the host and, through nvcc, in kernels.
#pragma once

#include "formats/numbers.h"

namespace lowbit {

// Codes that are stored for a row of k weights.
LB_HOST_DEVICE constexpr int64_t stored_codes(const Format& format, int64_t k) {
  return format.sparse24 ? k / 2 : k;
}
// Codes of one row, padded to a byte.
LB_HOST_DEVICE constexpr int64_t row_bytes(const Format& format, int64_t k) {
  const int64_t codes = stored_codes(format, k);
  return format.code == Code::kTrit ? (codes + 4) / 5 : (codes * format.bits + 7) / 8;
}
constexpr int64_t blocks_along_n(const Format& f, int64_t n) {
  return f.block.n == 0 ? 1 : (n + f.block.n - 1) / f.block.n;
}
LB_HOST_DEVICE constexpr int64_t blocks_along_k(const Format& f, int64_t k) {
  return f.block.k == 0 ? 1 : (k + f.block.k - 1) / f.block.k;
}

struct PlanesView {
  Format format;
  int32_t k, k_blocks;
  int64_t row_bytes;  // of codes
  const std::byte *codes, *scales = nullptr, *zeros = nullptr, *meta = nullptr, *outer = nullptr;

  LB_HOST_DEVICE int64_t scales_row(int64_t row) const {  // of blocks
    return format.block.n == 0 ? 0 : format.block.n == 1 ? row : row / format.block.n;
  }
  // The first byte of the scales, and of the zeros, above a row.
  LB_HOST_DEVICE int64_t scales_at(int64_t row) const {
    return scales_row(row) * ((int64_t{k_blocks} * format.scale_bits() + 7) / 8);
  }
  LB_HOST_DEVICE int64_t zeros_at(int64_t row) const {
    return format.zero == Zero::kInt ? scales_row(row) * k_blocks : scales_at(row);
  }
};

// Of block `block` along k of a row, its outer scale included.
LB_HOST_DEVICE inline BlockParams load_block(const PlanesView& p, int64_t row, int64_t block) {
  const Format& f = p.format;
  if (!f.quantized()) return {};
  const double scale = load_scale(f.scale, p.scales + p.scales_at(row), block);
  double zero = 0;
  if (f.zero == Zero::kInt) {
    zero = static_cast<double>(p.zeros[p.zeros_at(row) + block]);
  } else if (f.zero != Zero::kNone) {
    zero = load_scale(f.scale, p.zeros + p.zeros_at(row), block);
  }
  BlockParams params = block_params(f, scale, zero);
  switch (f.outer) {
    case Outer::kNone:
    case Outer::kTable:  // which decode_row() looks codes up in
      break;
    case Outer::kTensor:
      params.scale *= load_as<float>(p.outer, 0);
      break;
    case Outer::kRow:
      params.scale *= load_as<float>(p.outer, row);
      break;
    case Outer::kInt8:
      params.unit = load_as<float>(p.outer, row);
      params.integers = true;
      break;
    case Outer::kSuper: {
      const int64_t super = row * (p.k / kSuperBlock) + block * f.block.k / kSuperBlock;
      const bool pairs = f.zero == Zero::kOffset;
      params.scale *= f16_to_f32(load_as<uint16_t>(p.outer, pairs ? 2 * super : super));
      if (pairs) {
        params.offset =
            rounded_product(params.offset, -f16_to_f32(load_as<uint16_t>(p.outer, 2 * super + 1)));
      }
    }
  }
  return params;
}

// The number at [row, i] without rounding but that of the product; a 2:4 format has zeros where no
// code is kept. Not for Outer::kTable.
LB_HOST_DEVICE inline double load_number(const PlanesView& p, int64_t row, int32_t i) {
  const Format& f = p.format;
  int64_t code = i;
  if (f.sparse24) {
    const std::byte* kept = p.meta + row * ((stored_codes(f, p.k) * 2 + 7) / 8);
    code = i / 4 * 2;
    if (load_code(kept, 2, code) != static_cast<uint32_t>(i % 4)) ++code;
    if (load_code(kept, 2, code) != static_cast<uint32_t>(i % 4)) return 0;
  }
  const double q = decode_code(f, load_stored_code(f, p.codes + row * p.row_bytes, code));
  return f.quantized() ? load_block(p, row, f.block.k == 0 ? 0 : i / f.block.k)(q) : q;
}

}  // namespace lowbit
