// Bytes and flops of every op, counted from its arguments: each input read once, each output
// written once, a multiply-add is two flops.
#include "formats/format.h"
#include "ops/exec.h"
#include "ops/view.h"

namespace lowbit {
namespace {

// Of rows of an activation, scales included.
double bytes_of(const Act& act, int64_t rows, int64_t k) {
  return static_cast<double>(tensor_bytes(format_of(act), rows, k));
}

double product(double a, double b, double c = 1) { return a * b * c; }

OutBuffer floats_out(float* data, int64_t rows, int64_t cols, int64_t ld) {
  return {{data, nullptr, ld, FormatId::kF32}, rows, cols};
}

}  // namespace

OpCost cost(const LinearArgs& a) {
  const int32_t columns = a.epilogue == Epilogue::kSiluMul ? a.n / 2 : a.n;
  const double out = product(a.m, columns, sizeof(float));
  return {.bytes_read = static_cast<double>(tensor_bytes(format_of(a.w), a.n, a.k)) +
                        bytes_of(a.x, a.m, a.k) + (a.epilogue == Epilogue::kAdd ? out : 0),
          .bytes_written = out,
          .flops = 2 * product(a.m, a.n, a.k),
          .outputs = {floats_out(a.y, a.m, columns, a.ldy)},
          .inputs = {{a.x, a.m, a.k}}};
}

OpCost cost(const EmbedArgs& a) {
  return {.bytes_read = a.tokens_count * static_cast<double>(a.table.row_bytes),
          .bytes_written = product(a.tokens_count, a.d, sizeof(float)),
          .outputs = {floats_out(a.out, a.tokens_count, a.d, a.d)}};
}

OpCost cost(const QuantizeArgs& a) {
  return {.bytes_read = product(a.rows, a.k, sizeof(float)),
          .bytes_written = bytes_of(a.out, a.rows, a.k),
          .flops = 2 * product(a.rows, a.k),
          .outputs = {{a.out, a.rows, a.k}}};
}

OpCost cost(const RmsNormArgs& a) {
  return {.bytes_read = product(a.rows, a.d, sizeof(float)) + product(a.d, sizeof(float)),
          .bytes_written = bytes_of(a.out, a.rows, a.d),
          .flops = 4 * product(a.rows, a.d),
          .outputs = {{a.out, a.rows, a.d}}};
}

OpCost cost(const RotaryTableArgs& a) {
  return {.bytes_read = product(a.tokens_count, sizeof(int32_t)) + product(a.half, sizeof(float)),
          .bytes_written = product(a.tokens_count, 2 * a.half, sizeof(float)),
          .flops = product(a.tokens_count, a.half),
          .outputs = {floats_out(a.cos_sin, a.tokens_count, 2 * a.half, 2 * a.half)}};
}

OpCost cost(const RopeAppendArgs& a) {
  const int64_t width = int64_t{a.heads + 2 * a.kv_heads} * a.head_dim;
  const int64_t kv_rows = int64_t{a.tokens_count} * a.kv_heads;
  return {.bytes_read = product(a.tokens_count, static_cast<double>(width), sizeof(float)),
          .bytes_written = product(a.tokens_count, a.heads * a.head_dim, sizeof(float)) +
                           2 * bytes_of(a.kv.k, kv_rows, a.head_dim),
          .flops = 3 * product(a.tokens_count, a.heads + a.kv_heads, a.head_dim),
          .outputs = {floats_out(a.qkv, a.tokens_count, a.heads * a.head_dim, width)}};
}

OpCost cost(const AttentionArgs& a) {
  return {.bytes_read = product(a.tokens_count, a.heads * a.head_dim, sizeof(float)) +
                        2 * bytes_of(a.kv.k, a.context * a.kv_heads, a.head_dim),
          .bytes_written = bytes_of(a.out, a.tokens_count, int64_t{a.heads} * a.head_dim),
          .flops = 4 * product(static_cast<double>(a.context), a.heads, a.head_dim),
          .outputs = {{a.out, a.tokens_count, int64_t{a.heads} * a.head_dim}}};
}

OpCost cost(const SiluMulArgs& a) {
  return {.bytes_read = 2 * product(a.rows, a.d, sizeof(float)),
          .bytes_written = bytes_of(a.out, a.rows, a.d),
          .flops = 4 * product(a.rows, a.d),
          .outputs = {{a.out, a.rows, a.d}}};
}

OpCost cost(const GatherRowsArgs& a) {
  return {.bytes_read = product(a.rows, a.d, sizeof(float)),
          .bytes_written = product(a.rows, a.d, sizeof(float)),
          .outputs = {floats_out(a.out, a.rows, a.d, a.d)}};
}

OpCost cost(const SampleArgs& a) {
  return {.bytes_read = product(a.rows, a.vocab, sizeof(float)),
          .bytes_written = product(a.rows, sizeof(int32_t))};
}

OpCost cost(const AdvanceArgs& a) {
  return {.bytes_read = 2 * product(a.rows, sizeof(int32_t)),
          .bytes_written = 3 * product(a.rows, sizeof(int32_t))};
}

OpCost cost(const RopeAttentionArgs& a) {
  const OpCost rope = cost(a.rope);
  OpCost both = cost(a.attention);
  both.bytes_read += rope.bytes_read;
  both.bytes_written += rope.bytes_written;
  both.flops += rope.flops;
  return both;
}

}  // namespace lowbit
