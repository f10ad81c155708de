// Reading and writing through the argument structs of ops/args.h on the host: shared by the ref and
// cpu backends and by tests.
#pragma once

#include "formats/codec.h"
#include "ops/args.h"

namespace lowbit {

// The format behind a view, enough for the codec (the scale rule is its family's default).
Format format_of(const WeightView& w);

// The canonical planes behind a view, for the codec. Owns nothing.
QTensor tensor_of(const WeightView& w, int64_t n, int64_t k);

// Row `n` of a canonical weight matrix as f32.
void decode_row(const WeightView& w, int64_t n, int64_t k, float* out);

// An activation without memory.
Act act_of(const Format& format, int64_t k);
Format format_of(const Act& act);
QTensor tensor_of(const Act& act, int64_t rows);  // of a format with scales
QTensorBuilder builder_of(const Act& act, int64_t rows);

// Row `row` of an activation, in double without rounding.
void load_row(const Act& act, int64_t row, int64_t k, float* out);
void load_row(const Act& act, int64_t row, int64_t k, double* out);

// Rows [first, first + rows) from `values` [rows, k], rounded to the format: all that share a
// scale.
void store_rows(const Act& act, int64_t first, int64_t rows, int64_t k, const float* values);
inline void store_row(const Act& act, int64_t row, int64_t k, const float* values) {
  store_rows(act, row, 1, k, values);
}

// The row of K and of V that holds the head `kv_head` of position `pos` of a sequence.
inline int64_t kv_row(const KvView& kv, int32_t slot, int32_t pos, int32_t kv_head,
                      int32_t kv_heads) {
  const int32_t page = kv.page_table[int64_t{slot} * kv.max_pages + pos / kv.page_tokens];
  return (int64_t{page} * kv_heads + kv_head) * kv.page_tokens + pos % kv.page_tokens;
}

}  // namespace lowbit
