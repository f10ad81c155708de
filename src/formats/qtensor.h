// A tensor in its canonical form: the order of planes and bits that files hold, that the reference
// kernels read and that every kernel layout is packed from.
//
//   codes   row by row, each row starting at a byte; code i of a row at bits [i*b, (i+1)*b), least
//           significant bit first. Code::kTrit: five to a byte, code i is digit i % 5 of byte i
//           / 5. 2:4: the two kept codes of each four along k, in order
//   scales  [ceil(n / block.n), ceil(k / block.k)]: rows start at a byte, scales narrower than a
//           byte are packed like codes; a last short block is a block
//   zeros   the same shape: one byte each (Zero::kInt) or like the scales
//   meta    2:4: [n, k / 2] positions (0 to 3) of the kept codes, two bits each, packed like codes
//   outer   Outer::kTensor: one f32; kRow, kInt8: [n] f32; kSuper: [n, k / 256] f16, or pairs of
//   f16 (for
//           scales, for zeros) where the format has zeros; kTable: [2^bits] f32
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "base/file.h"
#include "formats/format.h"
#include "formats/planes.h"

namespace lowbit {

enum class Plane : uint8_t { kCodes, kScales, kZeros, kMeta, kOuter };
inline constexpr std::array kPlanes = {Plane::kCodes, Plane::kScales, Plane::kZeros, Plane::kMeta,
                                       Plane::kOuter};
std::string_view name(Plane plane);  // "codes", ...

// A plane as rows of bytes. Plane rows are rows of the tensor, rows of blocks, or one in all.
struct PlaneShape {
  int64_t rows = 0, row_bytes = 0;
  size_t bytes() const { return static_cast<size_t>(rows * row_bytes); }
};
PlaneShape plane_shape(const Format& format, Plane plane, int64_t n, int64_t k);
size_t tensor_bytes(const Format& format, int64_t n, int64_t k);  // of all planes

struct QTensor {
  Format format;
  int64_t n = 0;  // rows: output features (1 for a vector)
  int64_t k = 0;  // columns: input features
  Bytes codes = {}, scales = {}, zeros = {}, meta = {}, outer = {};

  const Bytes& plane(Plane plane) const;
  Bytes& plane(Plane plane);
  size_t bytes() const;
  double bits_per_weight() const {  // as stored
    return static_cast<double>(bytes()) * 8 / (static_cast<double>(n) * static_cast<double>(k));
  }
};

// Fresh, zeroed, 64-byte aligned memory; *writable points at it.
Bytes allocate_bytes(size_t size, std::byte** writable);

// A tensor with fresh planes. The pointers stay valid as long as any copy of the tensor's planes.
struct QTensorBuilder {
  QTensor tensor;
  std::byte *codes = nullptr, *scales = nullptr, *zeros = nullptr, *meta = nullptr,
            *outer = nullptr;

  std::byte* plane(Plane plane) const;
};
QTensorBuilder build_qtensor(const Format& format, int64_t n, int64_t k);

// Rows [begin, end) without copying. Error-free: `begin` and `end` must be multiples of block.n.
QTensor slice_rows(const QTensor& tensor, int64_t begin, int64_t end);

// Tensors of one format and one k stacked along n (q|k|v, gate|up), the numbers unchanged: scales
// that several rows share are repeated where the parts do not end at a block. Copies. Not for
// Outer::kTable: each part has its own.
QTensor stack_rows(std::span<const QTensor> parts);
// Its format and shape, without planes; of one part, that part's.
QTensor stacked_outline(std::span<const QTensor> parts);
// The format of the stack of parts with these numbers of rows.
Format stacked_format(const Format& format, std::span<const int64_t> part_rows);

// New row i = old row order[i]; the numbers of a row stay as they are.
QTensor permute_rows(const QTensor& tensor, std::span<const int64_t> order);

void release_pages(const QTensor& tensor);
void read_pages(const QTensor& tensor);

}  // namespace lowbit
