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
  format.block = {w.block_n, w.block_k};
  format.code = w.code;
  format.zero = w.zero;
  return format;
}

void decode_row(const WeightView& w, int64_t n, int64_t k, float* out) {
  const Format format = format_of(w);
  const auto bytes = [](const void* p, int64_t size) -> Bytes {
    return {{static_cast<const std::byte*>(p), static_cast<size_t>(size)}, nullptr};
  };
  // One row is enough for the codec; scales are addressed from the plane's start.
  const PlaneSizes sizes = plane_sizes(format, n + 1, k);
  const QTensor tensor{format,
                       n + 1,
                       k,
                       bytes(w.codes, static_cast<int64_t>(sizes.codes)),
                       bytes(w.scales, static_cast<int64_t>(sizes.scales)),
                       bytes(w.zeros, static_cast<int64_t>(sizes.zeros))};
  decode_row(tensor, n, out);
}

void load_row(const Act& act, int64_t row, int64_t k, float* out) {
  decode_plain(act.format, row_at(act, row), k, out);
}

void store_row(const Act& act, int64_t row, int64_t k, const float* values) {
  encode_plain(act.format, values, k, row_at(act, row));
}

}  // namespace lowbit
