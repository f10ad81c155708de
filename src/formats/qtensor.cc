#include "formats/qtensor.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/check.h"

namespace lowbit {

std::string_view name(Plane plane) {
  switch (plane) {
    case Plane::kCodes:
      return "codes";
    case Plane::kScales:
      return "scales";
    case Plane::kZeros:
      return "zeros";
    case Plane::kMeta:
      return "meta";
    case Plane::kOuter:
      return "outer";
  }
  __builtin_unreachable();
}

PlaneShape plane_shape(const Format& f, Plane plane, int64_t n, int64_t k) {
  const auto blocks = [&](int bits) -> PlaneShape {
    if (!f.quantized() || bits == 0) return {};
    return {blocks_along_n(f, n), (blocks_along_k(f, k) * bits + 7) / 8};
  };
  switch (plane) {
    case Plane::kCodes:
      return {n, row_bytes(f, k)};
    case Plane::kScales:
      return blocks(f.scale_bits());
    case Plane::kZeros:
      return blocks(f.zero_bits());
    case Plane::kMeta:
      return f.sparse24 ? PlaneShape{n, (stored_codes(f, k) * 2 + 7) / 8} : PlaneShape{};
    case Plane::kOuter:
      switch (f.outer) {
        case Outer::kNone:
          return {};
        case Outer::kTensor:
        case Outer::kTable:
          return {1, f.outer_bits() / 8};
        case Outer::kRow:
        case Outer::kInt8:
          return {n, f.outer_bits() / 8};
        case Outer::kSuper:
          return {n, k / kSuperBlock * f.outer_bits() / 8};
      }
  }
  __builtin_unreachable();
}

size_t tensor_bytes(const Format& format, int64_t n, int64_t k) {
  size_t total = 0;
  for (const Plane plane : kPlanes) total += plane_shape(format, plane, n, k).bytes();
  return total;
}

const Bytes& QTensor::plane(Plane plane) const {
  switch (plane) {
    case Plane::kCodes:
      return codes;
    case Plane::kScales:
      return scales;
    case Plane::kZeros:
      return zeros;
    case Plane::kMeta:
      return meta;
    case Plane::kOuter:
      return outer;
  }
  __builtin_unreachable();
}

Bytes& QTensor::plane(Plane plane) {
  return const_cast<Bytes&>(static_cast<const QTensor*>(this)->plane(plane));
}

size_t QTensor::bytes() const {
  size_t total = 0;
  for (const Plane which : kPlanes) total += plane(which).data.size();
  return total;
}

std::byte* QTensorBuilder::plane(Plane plane) const {
  return const_cast<std::byte*>(tensor.plane(plane).data.data());
}

Bytes allocate_bytes(size_t size, std::byte** writable) {
  constexpr size_t kAlign = 64;  // one cache line, one AVX-512 register
  *writable = nullptr;
  if (size == 0) return {};
  // calloc gives large blocks as untouched zero pages: a big KV pool costs only what is used of it.
  void* memory = std::calloc(size + kAlign - 1, 1);
  if (!memory) {
    throw OutOfMemory(fmt::format("out of memory: {} bytes for one tensor or buffer", size));
  }
  const auto address = (reinterpret_cast<uintptr_t>(memory) + kAlign - 1) / kAlign * kAlign;
  *writable = reinterpret_cast<std::byte*>(address);
  return {{*writable, size}, std::shared_ptr<const void>(memory, [](const void* p) {
            std::free(const_cast<void*>(p));
          })};
}

QTensorBuilder build_qtensor(const Format& format, int64_t n, int64_t k) {
  QTensorBuilder builder{{format, n, k}};
  const auto allocate = [&](Plane plane) {
    std::byte* writable = nullptr;
    builder.tensor.plane(plane) =
        allocate_bytes(plane_shape(format, plane, n, k).bytes(), &writable);
    return writable;
  };
  builder.codes = allocate(Plane::kCodes);
  builder.scales = allocate(Plane::kScales);
  builder.zeros = allocate(Plane::kZeros);
  builder.meta = allocate(Plane::kMeta);
  builder.outer = allocate(Plane::kOuter);
  return builder;
}

namespace {

// Rows of the tensor that share a row of this plane; 0: all of them.
int64_t rows_per_plane_row(const Format& f, Plane plane) {
  if (plane == Plane::kScales || plane == Plane::kZeros) return f.block.n;
  const bool of_tensor = f.outer == Outer::kTensor || f.outer == Outer::kTable;
  return plane == Plane::kOuter && of_tensor ? 0 : 1;
}

// The plane's row that holds row `row` of the tensor.
const std::byte* plane_row(const QTensor& t, Plane plane, int64_t row) {
  const int64_t shared = rows_per_plane_row(t.format, plane);
  return t.plane(plane).data.data() +
         (shared == 0 ? 0 : row / shared) * plane_shape(t.format, plane, t.n, t.k).row_bytes;
}

}  // namespace

QTensor slice_rows(const QTensor& t, int64_t begin, int64_t end) {
  LB_CHECK(0 <= begin && begin <= end && end <= t.n, "rows {} to {} of {}", begin, end, t.n);
  if (begin == 0 && end == t.n) return t;
  QTensor slice{t.format, end - begin, t.k};
  for (const Plane plane : kPlanes) {
    const PlaneShape shape = plane_shape(t.format, plane, t.n, t.k);
    if (shape.rows == 0) continue;
    const int64_t shared = rows_per_plane_row(t.format, plane);
    if (shared == 0) {
      slice.plane(plane) = t.plane(plane);
      continue;
    }
    LB_CHECK(begin % shared == 0 && (end % shared == 0 || end == t.n),
             "rows {} to {} in blocks of {}", begin, end, shared);
    const int64_t last = (end + shared - 1) / shared;
    slice.plane(plane) =
        t.plane(plane).slice(static_cast<size_t>(begin / shared * shape.row_bytes),
                             static_cast<size_t>((last - begin / shared) * shape.row_bytes));
  }
  return slice;
}

Format stacked_format(const Format& format, std::span<const int64_t> part_rows) {
  Format stacked = format;
  if (!format.quantized() || part_rows.size() < 2) return stacked;
  const auto ends_at_block = [&](int64_t rows) {
    return format.block.n != 0 && rows % format.block.n == 0;
  };
  if (!std::all_of(part_rows.begin(), part_rows.end() - 1, ends_at_block)) stacked.block.n = 1;
  if (format.outer == Outer::kTensor) stacked.outer = Outer::kRow;
  return stacked;
}

QTensor stacked_outline(std::span<const QTensor> parts) {
  LB_CHECK(!parts.empty());
  std::vector<int64_t> rows;
  int64_t n = 0;
  for (const QTensor& part : parts) {
    LB_CHECK(part.format == parts[0].format && part.k == parts[0].k);
    LB_CHECK(parts.size() == 1 || !part.format.has_table());
    rows.push_back(part.n);
    n += part.n;
  }
  return {stacked_format(parts[0].format, rows), n, parts[0].k};
}

QTensor stack_rows(std::span<const QTensor> parts) {
  const QTensor outline = stacked_outline(parts);
  if (parts.size() == 1) return parts[0];
  const QTensorBuilder stacked = build_qtensor(outline.format, outline.n, outline.k);
  for (const Plane plane : kPlanes) {
    const PlaneShape shape = plane_shape(outline.format, plane, outline.n, outline.k);
    if (shape.rows == 0) continue;
    const int64_t shared = rows_per_plane_row(outline.format, plane);
    std::byte* to = stacked.plane(plane);
    for (const QTensor& part : parts) {
      for (int64_t row = 0; row < part.n; row += shared, to += shape.row_bytes) {
        std::memcpy(to, plane_row(part, plane, row), static_cast<size_t>(shape.row_bytes));
      }
    }
  }
  return stacked.tensor;
}

QTensor permute_rows(const QTensor& t, std::span<const int64_t> order) {
  LB_CHECK(static_cast<int64_t>(order.size()) == t.n);
  Format format = t.format;
  if (format.quantized() && format.block.n > 1) format.block.n = 1;  // blocks of rows fall apart
  const QTensorBuilder permuted = build_qtensor(format, t.n, t.k);
  for (const Plane plane : kPlanes) {
    const PlaneShape shape = plane_shape(format, plane, t.n, t.k);
    std::byte* to = permuted.plane(plane);
    for (int64_t i = 0; i < shape.rows; ++i, to += shape.row_bytes) {
      const int64_t from = shape.rows == t.n ? order[static_cast<size_t>(i)] : 0;
      std::memcpy(to, plane_row(t, plane, from), static_cast<size_t>(shape.row_bytes));
    }
  }
  return permuted.tensor;
}

void release_pages(const QTensor& tensor) {
  for (const Plane plane : kPlanes) release_pages(tensor.plane(plane));
}

void read_pages(const QTensor& tensor) {
  for (const Plane plane : kPlanes) read_pages(tensor.plane(plane));
}

}  // namespace lowbit
