// A tensor in its canonical form: the order of planes and bits that files hold, that the reference
// kernels read and that every kernel layout is packed from.
//
//   codes   row by row, each row starting at a byte; code i of a row at bits [i*b, (i+1)*b),
//           least significant bit first
//   scales  [ceil(n / block.n), ceil(k / block.k)] row-major; a last short block is a block
//   zeros   the same shape: one byte each (Zero::kInt) or like the scales (Zero::kFloat)
#pragma once

#include <cstdint>
#include <span>

#include "base/file.h"
#include "formats/format.h"

namespace lowbit {

struct PlaneSizes {
  size_t codes = 0, scales = 0, zeros = 0;  // bytes
  size_t total() const { return codes + scales + zeros; }
};

// Codes of one row, padded to a byte.
constexpr int64_t row_bytes(const Format& format, int64_t k) { return (k * format.bits + 7) / 8; }
constexpr int64_t blocks_along_n(const Format& f, int64_t n) {
  return f.block.n == 0 ? 1 : (n + f.block.n - 1) / f.block.n;
}
constexpr int64_t blocks_along_k(const Format& f, int64_t k) {
  return f.block.k == 0 ? 1 : (k + f.block.k - 1) / f.block.k;
}
PlaneSizes plane_sizes(const Format& format, int64_t n, int64_t k);

struct QTensor {
  Format format;
  int64_t n = 0;  // rows: output features (1 for a vector)
  int64_t k = 0;  // columns: input features
  Bytes codes, scales, zeros;

  size_t bytes() const { return codes.data.size() + scales.data.size() + zeros.data.size(); }
  double bits_per_weight() const {  // as stored
    return static_cast<double>(bytes()) * 8 / (static_cast<double>(n) * static_cast<double>(k));
  }
};

// Fresh, zeroed, 64-byte aligned memory; *writable points at it.
Bytes allocate_bytes(size_t size, std::byte** writable);

// A tensor with fresh planes. The pointers stay valid as long as any copy of the tensor's planes.
struct QTensorBuilder {
  QTensor tensor;
  std::byte *codes = nullptr, *scales = nullptr, *zeros = nullptr;
};
QTensorBuilder build_qtensor(const Format& format, int64_t n, int64_t k);

// Rows [begin, end) without copying. Error-free: `begin` and `end` must be multiples of block.n.
QTensor slice_rows(const QTensor& tensor, int64_t begin, int64_t end);

// Tensors of one format and one k stacked along n (q|k|v, gate|up), the numbers unchanged: where a
// format has one scale per tensor, each row of the result carries its part's. Copies.
QTensor stack_rows(std::span<const QTensor> parts);
Format stacked_format(const Format& format);  // of two or more parts

// New row i = old row order[i]; the numbers of a row stay as they are.
QTensor permute_rows(const QTensor& tensor, std::span<const int64_t> order);

void release_pages(const QTensor& tensor);

}  // namespace lowbit
