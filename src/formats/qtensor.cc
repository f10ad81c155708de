#include "formats/qtensor.h"

#include <cstdlib>
#include <cstring>

#include "base/check.h"

namespace lowbit {

PlaneSizes plane_sizes(const Format& format, int64_t n, int64_t k) {
  const size_t blocks =
      format.quantized()
          ? static_cast<size_t>(blocks_along_n(format, n) * blocks_along_k(format, k))
          : 0;
  return {.codes = static_cast<size_t>(n * row_bytes(format, k)),
          .scales = blocks * static_cast<size_t>(format.scale_bits()) / 8,
          .zeros = blocks * static_cast<size_t>(format.zero_bits()) / 8};
}

Bytes allocate_bytes(size_t size, std::byte** writable) {
  constexpr size_t kAlign = 64;  // one cache line, one AVX-512 register
  *writable = nullptr;
  if (size == 0) return {};
  // calloc gives large blocks as untouched zero pages: a big KV pool costs only what is used of it.
  void* memory = std::calloc(size + kAlign - 1, 1);
  if (!memory) throw_error("out of memory: {} bytes for one tensor or buffer", size);
  const auto address = (reinterpret_cast<uintptr_t>(memory) + kAlign - 1) / kAlign * kAlign;
  *writable = reinterpret_cast<std::byte*>(address);
  return {{*writable, size}, std::shared_ptr<const void>(memory, [](const void* p) {
            std::free(const_cast<void*>(p));
          })};
}

QTensorBuilder build_qtensor(const Format& format, int64_t n, int64_t k) {
  const PlaneSizes sizes = plane_sizes(format, n, k);
  QTensorBuilder builder{{format, n, k, {}, {}, {}}};
  builder.tensor.codes = allocate_bytes(sizes.codes, &builder.codes);
  builder.tensor.scales = allocate_bytes(sizes.scales, &builder.scales);
  builder.tensor.zeros = allocate_bytes(sizes.zeros, &builder.zeros);
  return builder;
}

namespace {

// Bytes of one row of blocks in a plane that has `bits` per block.
size_t block_row_bytes(const QTensor& t, int bits) {
  return static_cast<size_t>(blocks_along_k(t.format, t.k)) * static_cast<size_t>(bits) / 8;
}

}  // namespace

QTensor slice_rows(const QTensor& t, int64_t begin, int64_t end) {
  LB_CHECK(0 <= begin && begin <= end && end <= t.n, "rows {} to {} of {}", begin, end, t.n);
  LB_CHECK(t.format.block.n == 1 || !t.format.quantized() || (begin == 0 && end == t.n));
  if (begin == 0 && end == t.n) return t;
  const auto rows = [&](const Bytes& plane, size_t row_size) {
    return plane.slice(static_cast<size_t>(begin) * row_size,
                       static_cast<size_t>(end - begin) * row_size);
  };
  QTensor slice{t.format, end - begin, t.k, {}, {}, {}};
  slice.codes = rows(t.codes, static_cast<size_t>(row_bytes(t.format, t.k)));
  slice.scales =
      rows(t.scales, t.format.quantized() ? block_row_bytes(t, t.format.scale_bits()) : 0);
  slice.zeros = rows(t.zeros, t.format.quantized() ? block_row_bytes(t, t.format.zero_bits()) : 0);
  return slice;
}

Format stacked_format(const Format& format) {
  Format stacked = format;
  if (format.quantized() && format.block.n == 0) stacked.block.n = 1;
  return stacked;
}

QTensor stack_rows(std::span<const QTensor> parts) {
  LB_CHECK(!parts.empty());
  if (parts.size() == 1) return parts[0];
  int64_t n = 0;
  for (const QTensor& part : parts) {
    LB_CHECK(part.format == parts[0].format && part.k == parts[0].k);
    n += part.n;
  }
  const Format format = stacked_format(parts[0].format);
  const bool per_tensor = format != parts[0].format;  // each row keeps the scale of its part
  QTensorBuilder stacked = build_qtensor(format, n, parts[0].k);
  const auto append = [](std::byte*& to, const Bytes& plane, int64_t times) {
    for (; times > 0 && !plane.data.empty(); --times, to += plane.data.size()) {
      std::memcpy(to, plane.data.data(), plane.data.size());
    }
  };
  for (const QTensor& part : parts) {
    append(stacked.codes, part.codes, 1);
    append(stacked.scales, part.scales, per_tensor ? part.n : 1);
    append(stacked.zeros, part.zeros, per_tensor ? part.n : 1);
  }
  return stacked.tensor;
}

QTensor permute_rows(const QTensor& t, std::span<const int64_t> order) {
  LB_CHECK(static_cast<int64_t>(order.size()) == t.n);
  LB_CHECK(!t.format.quantized() || t.format.block.n == 1);
  QTensorBuilder permuted = build_qtensor(t.format, t.n, t.k);
  const auto copy_rows = [&](std::byte* to, const Bytes& plane) {
    if (plane.data.empty()) return;
    const size_t row_size = plane.data.size() / static_cast<size_t>(t.n);
    for (size_t i = 0; i < order.size(); ++i) {
      const size_t from = static_cast<size_t>(order[i]);
      std::memcpy(to + i * row_size, plane.data.data() + from * row_size, row_size);
    }
  };
  copy_rows(permuted.codes, t.codes);
  copy_rows(permuted.scales, t.scales);
  copy_rows(permuted.zeros, t.zeros);
  return permuted.tensor;
}

void release_pages(const QTensor& tensor) {
  release_pages(tensor.codes);
  release_pages(tensor.scales);
  release_pages(tensor.zeros);
}

}  // namespace lowbit
