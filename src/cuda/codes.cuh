// Numbers in memory as kernels read them: one element of an activation, a cache or a canonical
// weight matrix of any format, equal to what the host's codec reads, bit for bit. For kernels that
// read every format; fast ones decode whole words of the few formats that they are for.
#pragma once

#include "formats/planes.h"
#include "ops/args.h"

namespace lowbit::cuda {

LB_HOST_DEVICE inline PlanesView view_of(const WeightView& w, int32_t k) {
  const auto plane = [](const void* p) { return static_cast<const std::byte*>(p); };
  return {.format = {.id = w.format,
                     .code = w.code,
                     .bits = w.bits,
                     .scale = w.scale,
                     .block = {w.block_n, w.block_k},
                     .zero = w.zero,
                     .outer = w.outer_kind,
                     .sparse24 = w.sparse24},
          .k = k,
          .k_blocks = w.k_blocks,
          .row_bytes = w.row_bytes,
          .codes = plane(w.codes),
          .scales = plane(w.scales),
          .zeros = plane(w.zeros),
          .meta = plane(w.meta),
          .outer = plane(w.outer)};
}

// Rows of `ld` numbers: an Act without scales may use fewer of each.
LB_HOST_DEVICE inline PlanesView view_of(const Act& a) {
  const auto plane = [](const void* p) { return static_cast<const std::byte*>(p); };
  Format format = {.id = a.format, .code = a.code, .bits = a.bits};
  if (a.scale == Scale::kNone) {  // such an Act says no more than its format
    format.code = a.format == FormatId::kF16    ? Code::kF16
                  : a.format == FormatId::kBF16 ? Code::kBF16
                                                : Code::kF32;
    format.bits = format.code == Code::kF32 ? 32 : 16;
  } else {
    format.scale = a.scale;
    format.block = {a.block_n, a.block_k};
    format.zero = a.zero;
    format.rule = a.rule;
    format.outer = a.outer_kind;
  }
  return {.format = format,
          .k = static_cast<int32_t>(a.ld),
          .k_blocks = static_cast<int32_t>(blocks_along_k(format, a.ld)),
          .row_bytes = row_bytes(format, a.ld),
          .codes = plane(a.data),
          .scales = plane(a.scales),
          .zeros = plane(a.zeros),
          .outer = plane(a.outer)};
}

// The number at [row, i], rounded once to f32.
LB_HOST_DEVICE inline float load_f32(const PlanesView& p, int64_t row, int32_t i) {
  return static_cast<float>(load_number(p, row, i));
}

// Rounds to a format without a scale, code i of a row that begins at `row`.
LB_HOST_DEVICE inline void store_plain(FormatId format, void* row, int64_t i, float value) {
  if (format == FormatId::kF32) {
    static_cast<float*>(row)[i] = value;
  } else {
    static_cast<uint16_t*>(row)[i] =
        format == FormatId::kBF16 ? f32_to_bf16(value) : f32_to_f16(value);
  }
}

// The row of K and of V that holds the head `kv_head` of position `pos` of a sequence.
LB_HOST_DEVICE inline int64_t kv_row(const KvView& kv, int32_t slot, int32_t pos, int32_t kv_head,
                                     int32_t kv_heads) {
  const int32_t page = kv.page_table[int64_t{slot} * kv.max_pages + pos / kv.page_tokens];
  return (int64_t{page} * kv_heads + kv_head) * kv.page_tokens + pos % kv.page_tokens;
}

}  // namespace lowbit::cuda
