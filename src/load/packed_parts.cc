#include "load/packed_parts.h"

#include <algorithm>

#include "base/check.h"
#include "base/text.h"

namespace lowbit {

const StoredTensor* PackedParts::find(std::string_view part) const {
  const auto at = files_.tensors.find(module_ + std::string(part));
  return at == files_.tensors.end() ? nullptr : &at->second;
}

void PackedParts::fail(std::string_view part, const std::string& message) const {
  const StoredTensor* stored = find(part);
  throw_error("{}: {}{}: {}", stored ? stored->file : files_.folder.path(), printable(module_, 200),
              part, message);
}

const StoredTensor& PackedParts::get(std::string_view part,
                                     std::initializer_list<std::string_view> types) const {
  const StoredTensor* stored = find(part);
  if (!stored) fail(part, "no such tensor, and the packed weight cannot be read without it");
  if (std::find(types.begin(), types.end(), stored->type) == types.end()) {
    fail(part, fmt::format("has type {}; supported here: {}", printable(stored->type),
                           join(std::vector<std::string>(types.begin(), types.end()), ", ")));
  }
  return *stored;
}

const StoredTensor& PackedParts::get(std::string_view part,
                                     std::initializer_list<std::string_view> types,
                                     std::initializer_list<int64_t> shape) const {
  const StoredTensor& stored = get(part, types);
  if (!std::equal(stored.shape.begin(), stored.shape.end(), shape.begin(), shape.end())) {
    fail(part, fmt::format("has shape {}, config.json asks for {}", shape_text(stored.shape),
                           shape_text(shape)));
  }
  return stored;
}

void PackedParts::refuse(std::initializer_list<std::string_view> parts,
                         std::string_view reader) const {
  for (const std::string_view part : parts) {
    if (!has(part)) continue;
    fail(part, fmt::format("is not used by {}, as which config.json reads this weight: the config "
                           "or the file was changed. Get the folder anew, or quantize the "
                           "original model again",
                           reader));
  }
}

double PackedParts::number(std::string_view part) const {
  const StoredTensor& stored = get(part, {"U8", "I32", "I64", "F32", "F16", "BF16"});
  const bool one =
      std::all_of(stored.shape.begin(), stored.shape.end(), [](int64_t size) { return size == 1; });
  if (!one) {
    fail(part, fmt::format("has shape {}, expected one number", shape_text(stored.shape)));
  }
  if (stored.type == "U8") return element<uint8_t>(stored, 0);
  if (stored.type == "I32") return element<int32_t>(stored, 0);
  if (stored.type == "I64") return static_cast<double>(element<int64_t>(stored, 0));
  return float_element(stored, 0);
}

std::string_view scale_word(const StoredTensor& scales) {
  return scales.type == "F32" ? "sf32" : scales.type == "F16" ? "sf16" : "sbf16";
}

std::string group_word(int64_t group, int64_t k) {
  const int64_t largest = std::min<int64_t>(group & -group, 256);
  if (group > k || (group == k && largest != group)) return "row";
  return largest < 8 ? "" : fmt::format("g{}", largest);
}

float float_element(const StoredTensor& stored, int64_t index) {
  if (stored.type == "F32") return element<float>(stored, index);
  const auto bits = element<uint16_t>(stored, index);
  return stored.type == "F16" ? f16_to_f32(bits) : bf16_to_f32(bits);
}

ScaleGrid read_scale_grid(const PackedParts& parts, std::string_view part, int64_t n, int64_t k,
                          bool blocks) {
  const StoredTensor& scales = parts.get(part, kFloatTypes);
  using Shape = std::vector<int64_t>;
  const Shape& shape = scales.shape;
  const Shape of_blocks = {(n + 127) / 128, (k + 127) / 128};
  ScaleGrid grid{&scales, "", 1, k};
  if (blocks && shape == of_blocks) {
    grid = {&scales, "b128x128", of_blocks[1], 0};
  } else if (shape.empty() || shape == Shape{1} || shape == Shape{1, 1}) {
    grid.words = "tensor";
  } else if (shape == Shape{n} || shape == Shape{n, 1}) {
    grid.words = "row";
  } else if (shape.size() == 2 && shape[0] == n && shape[1] > 0 && k % shape[1] == 0) {
    grid = {&scales, group_word(k / shape[1], k), shape[1], k / shape[1]};
  }
  if (grid.words.empty()) {
    parts.fail(
        part,
        fmt::format("has shape {}; supported for a weight of {}: one scale, one a row, "
                    "groups of 8 columns or more{}",
                    shape_text(shape), shape_text({n, k}), blocks ? ", blocks of 128 x 128" : ""));
  }
  grid.words += "-" + std::string(scale_word(scales));
  return grid;
}

const StoredTensor* read_zero_points(const PackedParts& parts, std::string_view part,
                                     const ScaleGrid& grid) {
  const StoredTensor* zeros = parts.find(part);
  if (!zeros) return nullptr;
  if (all_zero(*zeros)) return nullptr;
  parts.get(part, {"I8"});
  if (zeros->shape != grid.scales->shape) {
    parts.fail(part, fmt::format("has shape {}, the scales have {}", shape_text(zeros->shape),
                                 shape_text(grid.scales->shape)));
  }
  return zeros;
}

Format byte_format(const PackedParts& parts, std::string_view part, const ScaleGrid& grid,
                   const StoredTensor* zeros, int64_t n, int64_t k) {
  const StoredTensor& codes = parts.get(part, {"F8_E4M3", "F8_E5M2", "I8"}, {n, k});
  const bool integers = codes.type == "I8";
  if (zeros && !integers) parts.fail(part, "codes of " + codes.type + " cannot have zero points");
  return parse_format(fmt::format("{}-{}",
                                  integers                  ? zeros ? "int8-asym" : "int8"
                                  : codes.type == "F8_E5M2" ? "fp8-e5m2"
                                                            : "fp8",
                                  grid.words));
}

QTensor byte_tensor(const StoredTensor& codes, const Format& format, const ScaleGrid& grid,
                    const StoredTensor* zeros, int64_t n, int64_t k) {
  const auto index = [&](int64_t row, int64_t b) { return grid.index(format, row, b); };
  QTensorBuilder out = build_qtensor(format, n, k);
  fill_blocks(out, Plane::kScales, *grid.scales, index);
  if (!zeros) {
    out.tensor.codes = codes.data;
    return out.tensor;
  }
  constexpr std::byte kSign{0x80};  // (q + 128) - (z + 128): both without a sign
  for (size_t i = 0; i < codes.data.data.size(); ++i) out.codes[i] = codes.data.data[i] ^ kSign;
  fill_zeros(out, [&](int64_t row, int64_t b) {
    return element<std::byte>(*zeros, index(row, b)) ^ kSign;
  });
  release_pages(codes.data);
  return out.tensor;
}

ColumnGroups read_column_groups(const PackedParts& parts, std::string_view part, int64_t k,
                                int64_t group, int64_t groups) {
  ColumnGroups columns;
  if (!parts.has(part)) return columns;
  const StoredTensor& stored = parts.get(part, {"I32"}, {k});
  columns.group_of.resize(static_cast<size_t>(k));
  for (int64_t i = 0; i < k; ++i) {
    const auto of = element<int32_t>(stored, i);
    if (of < 0 || of >= groups) {
      parts.fail(part, fmt::format("column {} belongs to group {}, there are {}", i, of, groups));
    }
    columns.group_of[static_cast<size_t>(i)] = of;
    columns.in_order &= of == i / group;
  }
  if (columns.in_order) columns.group_of.clear();
  return columns;
}

std::vector<std::string> decoded_remark(int64_t count) {
  if (count == 0) return {};
  return {
      fmt::format("{} matrices are decoded to f32, their numbers unchanged: their groups are not "
                  "runs of columns (desc_act), and no format here holds that",
                  count)};
}

}  // namespace lowbit
