#include "ops/view.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "formats/encode.h"
#include "ops/exec.h"

namespace lowbit {
namespace {

// Of a format without scales.
std::byte* row_at(const Act& act, int64_t row) {
  return static_cast<std::byte*>(act.data) + row * act.ld * (format_of(act.format).bits / 8);
}

void set_planes(QTensor* tensor, const std::array<const void*, kPlanes.size()>& planes) {
  for (size_t i = 0; i < planes.size(); ++i) {
    const size_t bytes = plane_shape(tensor->format, kPlanes[i], tensor->n, tensor->k).bytes();
    tensor->plane(kPlanes[i]) = {{static_cast<const std::byte*>(planes[i]), bytes}, nullptr};
  }
}

// Codes of 0 under scales of all ones, which are NaN in every type that a row can have.
void fill_nan(const QTensorBuilder& out, int64_t first, int64_t rows) {
  const auto fill = [&](Plane plane, int value) {
    const PlaneShape shape = plane_shape(out.tensor.format, plane, out.tensor.n, out.tensor.k);
    if (shape.bytes() == 0) return;
    const bool shared = shape.rows < out.tensor.n;  // by all rows
    std::memset(out.plane(plane) + (shared ? 0 : first * shape.row_bytes), value,
                static_cast<size_t>((shared ? shape.rows : rows) * shape.row_bytes));
  };
  fill(Plane::kCodes, 0);
  fill(Plane::kScales, 0xff);
  fill(Plane::kZeros, 0);
  fill(Plane::kOuter, 0xff);
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
  QTensor tensor{format_of(w), n, k};
  set_planes(&tensor, {w.codes, w.scales, w.zeros, w.meta, w.outer});
  return tensor;
}

void decode_row(const WeightView& w, int64_t n, int64_t k, float* out) {
  decode_row(tensor_of(w, n + 1, k), n, out);  // planes are addressed from their start
}

Act act_of(const Format& f, int64_t k) {
  return {.data = nullptr,
          .scales = nullptr,
          .ld = k,
          .format = f.id,
          .block_n = f.block.n,
          .block_k = f.block.k,
          .code = f.code,
          .bits = f.bits,
          .scale = f.scale,
          .zero = f.zero,
          .rule = f.rule,
          .outer_kind = f.outer};
}

Act take_act(Scratch& scratch, const Format& format, int64_t rows, int64_t k) {
  const auto take = [&](Plane plane) {
    return scratch.take_bytes(plane_shape(format, plane, rows, k).bytes());
  };
  Act act = act_of(format, k);
  act.data = take(Plane::kCodes);
  act.scales = take(Plane::kScales);
  act.zeros = take(Plane::kZeros);
  act.outer = take(Plane::kOuter);
  return act;
}

Format format_of(const Act& act) {
  Format format = format_of(act.format);
  if (act.scale == Scale::kNone) return format;
  format.code = act.code;
  format.bits = act.bits;
  format.scale = act.scale;
  format.block = {act.block_n, act.block_k};
  format.zero = act.zero;
  format.rule = act.rule;
  format.outer = act.outer_kind;
  return format;
}

QTensor tensor_of(const Act& act, int64_t rows) {
  LB_DCHECK(act.scale != Scale::kNone);
  QTensor tensor{format_of(act), rows, act.ld};
  set_planes(&tensor, {act.data, act.scales, act.zeros, nullptr, act.outer});
  return tensor;
}

QTensorBuilder builder_of(const Act& act, int64_t rows) {
  return {tensor_of(act, rows),
          static_cast<std::byte*>(act.data),
          static_cast<std::byte*>(act.scales),
          static_cast<std::byte*>(act.zeros),
          nullptr,
          static_cast<std::byte*>(act.outer)};
}

void load_row(const Act& act, int64_t row, int64_t k, float* out) {
  if (act.scale != Scale::kNone) return decode_row(tensor_of(act, row + 1), row, out);
  decode_plain(act.format, row_at(act, row), k, out);
}

void load_row(const Act& act, int64_t row, int64_t k, double* out) {
  if (act.scale != Scale::kNone) return decode_row(tensor_of(act, row + 1), row, out);
  std::vector<float> single(static_cast<size_t>(k));
  load_row(act, row, k, single.data());
  std::copy(single.begin(), single.end(), out);
}

void store_rows(const Act& act, int64_t first, int64_t rows, int64_t k, const float* values) {
  if (act.scale == Scale::kNone) {
    for (int64_t r = 0; r < rows; ++r) {
      encode_plain(act.format, values + r * k, k, row_at(act, first + r));
    }
    return;
  }
  LB_DCHECK(act.ld == k && (act.block_n == 1 || first == 0));
  const QTensorBuilder out = builder_of(act, first + rows);
  const int64_t band = act.block_n == 0 ? rows : 1;
  for (int64_t r = 0; r < rows; r += band) {
    const std::span<const float> numbers(values + r * k, static_cast<size_t>(band * k));
    if (encode_rows(numbers, first + r, band, out) >= 0) fill_nan(out, first + r, band);
  }
}

}  // namespace lowbit
