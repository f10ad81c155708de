#include "ops/view.h"

#include "base/check.h"

namespace lowbit {
namespace {

size_t plain_bytes(FormatId format) { return format_of(format).bits / 8u; }

std::byte* row_at(const Act& act, int64_t row) {
  LB_DCHECK(!format_of(act.format).quantized());
  return static_cast<std::byte*>(act.data) + row * act.ld * plain_bytes(act.format);
}

}  // namespace

Format format_of(const WeightView& w) {
  Format format = format_of(w.format);
  format.code = w.code;
  format.bits = w.bits;
  format.scale = w.scale;
  format.block = {w.block_n, w.block_k};
  format.zero = w.zero;
  format.outer = w.outer_kind;
  format.sparse24 = w.sparse24;
  return format;
}

QTensor tensor_of(const WeightView& w, int64_t n, int64_t k) {
  const Format format = format_of(w);
  QTensor tensor{format, n, k};
  const auto set = [&](Plane plane, const void* data) {
    tensor.plane(plane) = {
        {static_cast<const std::byte*>(data), plane_shape(format, plane, n, k).bytes()}, nullptr};
  };
  set(Plane::kCodes, w.codes);
  set(Plane::kScales, w.scales);
  set(Plane::kZeros, w.zeros);
  set(Plane::kMeta, w.meta);
  set(Plane::kOuter, w.outer);
  return tensor;
}

void decode_row(const WeightView& w, int64_t n, int64_t k, float* out) {
  decode_row(tensor_of(w, n + 1, k), n, out);  // planes are addressed from their start
}

void load_row(const Act& act, int64_t row, int64_t k, float* out) {
  decode_plain(act.format, row_at(act, row), k, out);
}

void store_row(const Act& act, int64_t row, int64_t k, const float* values) {
  encode_plain(act.format, values, k, row_at(act, row));
}

}  // namespace lowbit
