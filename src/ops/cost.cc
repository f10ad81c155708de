// Bytes and flops of every op, counted from its arguments: each input read once, each output
// written once, a multiply-add is two flops.
#include "formats/format.h"
#include "ops/exec.h"
#include "ops/view.h"

namespace lowbit {
namespace {

double element_bytes(FormatId format) { return format_of(format).bits / 8.0; }

double product(double a, double b, double c = 1) { return a * b * c; }

OutBuffer out_of(const Act& act, int64_t rows, int64_t cols) {
  return {act.data, rows, cols, act.ld, act.format};
}

}  // namespace

OpCost cost(const LinearArgs& a) {
  const double out = product(a.m, a.n, sizeof(float));
  return {.bytes_read = static_cast<double>(tensor_bytes(format_of(a.w), a.n, a.k)) +
                        product(a.m, a.k, element_bytes(a.x.format)) +
                        (a.epilogue == Epilogue::kAdd ? out : 0),
          .bytes_written = out,
          .flops = 2 * product(a.m, a.n, a.k),
          .outputs = {{a.y, a.m, a.n, a.ldy, FormatId::kF32}},
          .inputs = {out_of(a.x, a.m, a.k)}};
}

OpCost cost(const EmbedArgs& a) {
  return {.bytes_read = a.tokens_count * static_cast<double>(a.table.row_bytes),
          .bytes_written = product(a.tokens_count, a.d, sizeof(float)),
          .outputs = {{a.out, a.tokens_count, a.d, a.d, FormatId::kF32}}};
}

OpCost cost(const RmsNormArgs& a) {
  return {.bytes_read = product(a.rows, a.d, sizeof(float)) + product(a.d, sizeof(float)),
          .bytes_written = product(a.rows, a.d, element_bytes(a.out.format)),
          .flops = 4 * product(a.rows, a.d),
          .outputs = {out_of(a.out, a.rows, a.d)}};
}

OpCost cost(const RotaryTableArgs& a) {
  return {.bytes_read = product(a.tokens_count, sizeof(int32_t)) + product(a.half, sizeof(float)),
          .bytes_written = product(a.tokens_count, 2 * a.half, sizeof(float)),
          .flops = product(a.tokens_count, a.half),
          .outputs = {{a.cos_sin, a.tokens_count, 2 * a.half, 2 * a.half, FormatId::kF32}}};
}

OpCost cost(const RopeAppendArgs& a) {
  const int64_t width = int64_t{a.heads + 2 * a.kv_heads} * a.head_dim;
  const double kv = product(a.tokens_count, 2 * a.kv_heads, a.head_dim);
  return {.bytes_read = product(a.tokens_count, static_cast<double>(width), sizeof(float)),
          .bytes_written = product(a.tokens_count, a.heads * a.head_dim, sizeof(float)) +
                           kv * element_bytes(a.kv.format),
          .flops = 3 * product(a.tokens_count, a.heads + a.kv_heads, a.head_dim),
          .outputs = {{a.qkv, a.tokens_count, a.heads * a.head_dim, width, FormatId::kF32}}};
}

OpCost cost(const AttentionArgs& a) {
  double context = 0;  // positions read, summed over tokens
  for (int32_t t = 0; t < a.tokens_count; ++t) context += a.pos[t] + 1;
  return {
      .bytes_read = product(a.tokens_count, a.heads * a.head_dim, sizeof(float)) +
                    context * 2 * product(a.kv_heads, a.head_dim, element_bytes(a.kv.format)),
      .bytes_written = product(a.tokens_count, a.heads * a.head_dim, element_bytes(a.out.format)),
      .flops = 4 * context * product(a.heads, a.head_dim),
      .outputs = {out_of(a.out, a.tokens_count, int64_t{a.heads} * a.head_dim)}};
}

OpCost cost(const SiluMulArgs& a) {
  return {.bytes_read = 2 * product(a.rows, a.d, sizeof(float)),
          .bytes_written = product(a.rows, a.d, element_bytes(a.out.format)),
          .flops = 4 * product(a.rows, a.d),
          .outputs = {out_of(a.out, a.rows, a.d)}};
}

OpCost cost(const GatherRowsArgs& a) {
  return {.bytes_read = product(a.rows, a.d, sizeof(float)),
          .bytes_written = product(a.rows, a.d, sizeof(float)),
          .outputs = {{a.out, a.rows, a.d, a.d, FormatId::kF32}}};
}

OpCost cost(const SampleArgs& a) {
  return {.bytes_read = product(a.rows, a.vocab, sizeof(float)),
          .bytes_written = product(a.rows, sizeof(int32_t))};
}

}  // namespace lowbit
