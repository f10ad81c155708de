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

// Row `row` of an activation.
void load_row(const Act& act, int64_t row, int64_t k, float* out);
void store_row(const Act& act, int64_t row, int64_t k, const float* values);

// Where the head `kv_head` of position `pos` of a sequence starts in a K or V pool.
inline int64_t kv_offset(const KvView& kv, int32_t slot, int32_t pos, int32_t kv_head,
                         int32_t kv_heads, int32_t head_dim) {
  const int32_t page = kv.page_table[int64_t{slot} * kv.max_pages + pos / kv.page_tokens];
  return ((int64_t{page} * kv_heads + kv_head) * kv.page_tokens + pos % kv.page_tokens) * head_dim;
}

}  // namespace lowbit
