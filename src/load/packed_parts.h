// What readers of packed weights share: the parts of one module with every type and shape checked,
// formats by what the parts say, and loops that fill planes.
#pragma once

#include <cstring>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "formats/codec.h"
#include "load/quantized.h"

namespace lowbit {

class PackedParts {
 public:
  PackedParts(const QuantizedFiles& files, const std::string& module)
      : files_(files), module_(module) {}

  bool has(std::string_view part) const { return find(part) != nullptr; }
  const StoredTensor* find(std::string_view part) const;  // nullptr: absent

  // Error unless the part is there and has one of these types (and the shape).
  const StoredTensor& get(std::string_view part,
                          std::initializer_list<std::string_view> types) const;
  const StoredTensor& get(std::string_view part, std::initializer_list<std::string_view> types,
                          std::initializer_list<int64_t> shape) const;
  // A single number, integers included.
  double number(std::string_view part) const;

  // Error if the module has one of these parts: what `reader` (a format, a form) does not use would
  // be left out in silence, and the weight would mean something else than what was stored.
  void refuse(std::initializer_list<std::string_view> parts, std::string_view reader) const;

  // "FILE: MODULEpart: message"
  [[noreturn]] void fail(std::string_view part, const std::string& message) const;

 private:
  const QuantizedFiles& files_;
  const std::string& module_;
};

inline const std::initializer_list<std::string_view> kFloatTypes = {"F32", "F16", "BF16"};

// "sf16": how a format's name says the type of its scales.
std::string_view scale_word(const StoredTensor& scales);

// Groups of columns as our formats have them: "g<K>" with the largest K that divides `group`,
// scales of larger groups repeated; "row" where a group is all of an odd row. "" if there is none.
std::string group_word(int64_t group, int64_t k);

template <class T>
T element(const StoredTensor& stored, int64_t index) {
  T value;
  std::memcpy(&value, stored.data.data.data() + static_cast<size_t>(index) * sizeof value,
              sizeof value);
  return value;
}
// An F32, F16 or BF16 element.
float float_element(const StoredTensor& stored, int64_t index);

// Calls codes_of(row, span of k codes) for every row, on all threads, and packs what it wrote.
template <class CodesOf>
void fill_codes(const QTensorBuilder& out, const CodesOf& codes_of) {
  const QTensor& t = out.tensor;
  thread_pool().for_ranges(t.n, 1, [&](int64_t begin, int64_t end) {
    std::vector<uint32_t> codes(static_cast<size_t>(t.k));
    for (int64_t row = begin; row < end; ++row) {
      codes_of(row, std::span(codes));
      pack_codes(t.format, codes, out.codes + row * row_bytes(t.format, t.k));
    }
  });
}

// Copies the elements of `from` into a plane of scales or zeros of the same type (`from` with rows
// of plain numbers): element (row r of blocks, block b) is from[index(r, b)].
template <class IndexOf>
void fill_blocks(const QTensorBuilder& out, Plane plane, const StoredTensor& from,
                 const IndexOf& index_of) {
  const QTensor& t = out.tensor;
  const auto size = static_cast<size_t>(t.format.scale_bits() / 8);
  const int64_t rows = blocks_along_n(t.format, t.n), blocks = blocks_along_k(t.format, t.k);
  std::byte* to = out.plane(plane);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t b = 0; b < blocks; ++b, to += size) {
      std::memcpy(to, from.data.data.data() + static_cast<size_t>(index_of(r, b)) * size, size);
    }
  }
}

// Zero points of Zero::kInt: zero_of(row of blocks, block), from 0 to 255.
template <class ZeroOf>
void fill_zeros(const QTensorBuilder& out, const ZeroOf& zero_of) {
  const QTensor& t = out.tensor;
  const int64_t rows = blocks_along_n(t.format, t.n), blocks = blocks_along_k(t.format, t.k);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t b = 0; b < blocks; ++b) {
      out.zeros[r * blocks + b] = static_cast<std::byte>(zero_of(r, b));
    }
  }
}

// The group of the file that block b of a row belongs to.
inline int64_t group_of_block(const Format& format, int64_t b, int64_t group) {
  return format.block.k == 0 ? 0 : b * format.block.k / group;
}

// What shares a scale, told from the shape of the scales of a weight [n, k].
struct ScaleGrid {
  const StoredTensor* scales;
  std::string words;    // of a format's name: "tensor-sbf16", "row-sf32", "g128-sf16"
  int64_t columns = 1;  // scales along k
  int64_t group = 0;    // columns of W under each; 0 in blocks of 128 rows
  int64_t index(const Format& format, int64_t row, int64_t b) const {
    return row * columns + (group == 0 ? b : group_of_block(format, b, group));
  }
};
// `blocks`: scales of [n / 128, k / 128] are those of blocks.
ScaleGrid read_scale_grid(const PackedParts& parts, std::string_view part, int64_t n, int64_t k,
                          bool blocks);

// Codes of a byte: F8_E4M3, F8_E5M2, or I8, perhaps with zero points (I8, like the scales). Codes
// without zeros view the file.
Format byte_format(const PackedParts& parts, std::string_view part, const ScaleGrid& grid,
                   const StoredTensor* zeros, int64_t n, int64_t k);
QTensor byte_tensor(const StoredTensor& codes, const Format& format, const ScaleGrid& grid,
                    const StoredTensor* zeros, int64_t n, int64_t k);
// Zero points [like the scales] of I8, or nullptr where there are none or all are 0.
const StoredTensor* read_zero_points(const PackedParts& parts, std::string_view part,
                                     const ScaleGrid& grid);

// A column's group, for files that do not keep columns in the order of their groups (`g_idx`, from
// act-order). Error for a number that is no group.
struct ColumnGroups {
  bool in_order = true;           // column i belongs to group i / group
  std::vector<int32_t> group_of;  // [k]; empty if in order
};
ColumnGroups read_column_groups(const PackedParts& parts, std::string_view part, int64_t k,
                                int64_t group, int64_t groups);

// For files whose groups are not runs of columns: rows of f32 from codes_of(row, span of codes),
// zero_of(row, group) and scale_of(row, group); (q - z) s is rounded once.
template <class CodesOf, class ZeroOf, class ScaleOf>
QTensor decode_groups(const ColumnGroups& columns, int64_t n, int64_t k, const CodesOf& codes_of,
                      const ZeroOf& zero_of, const ScaleOf& scale_of) {
  const QTensorBuilder out = build_qtensor(format_of(FormatId::kF32), n, k);
  thread_pool().for_ranges(n, 1, [&](int64_t begin, int64_t end) {
    std::vector<uint32_t> codes(static_cast<size_t>(k));
    for (int64_t row = begin; row < end; ++row) {
      codes_of(row, std::span(codes));
      auto* values = reinterpret_cast<float*>(out.codes) + row * k;
      for (size_t i = 0; i < codes.size(); ++i) {
        const int32_t group = columns.group_of[i];
        const double q = codes[i], z = zero_of(row, group), s = scale_of(row, group);
        values[i] = static_cast<float>((q - z) * s);
      }
    }
  });
  return out.tensor;
}

// "3 matrices were quantized in another order of columns (act-order) ...", or nothing.
std::vector<std::string> decoded_remark(int64_t count);

}  // namespace lowbit
