#include "load/stored.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "base/hash.h"
#include "base/text.h"

namespace lowbit {
namespace {

static_assert(std::endian::native == std::endian::little, "files are read as they lie in memory");

bool aligned(const Bytes& bytes, size_t alignment) {
  return reinterpret_cast<uintptr_t>(bytes.data.data()) % alignment == 0;
}

}  // namespace

std::string hash_of(const StoredTensors& tensors) {
  constexpr size_t kWhole = size_t{64} << 20, kPiece = 4096, kPieces = 4;
  size_t total = 0;
  for (const auto& [name, tensor] : tensors) total += tensor.data.data.size();
  Hash hash;
  for (const auto& [name, tensor] : tensors) {
    hash.add(name);
    hash.add(tensor.type);
    hash.add(tensor.shape.size());
    for (const int64_t size : tensor.shape) hash.add(static_cast<uint64_t>(size));
    const std::span<const std::byte> bytes = tensor.data.data;
    if (total <= kWhole || bytes.size() <= kPieces * kPiece) {
      hash.add(bytes);
      continue;
    }
    hash.add(bytes.size());
    for (size_t i = 0; i < kPieces; ++i) {
      hash.add(bytes.subspan((bytes.size() - kPiece) * i / (kPieces - 1), kPiece));
    }
  }
  return fmt::format("{:016x}", hash.value());
}

bool all_zero(const StoredTensor& tensor) {
  const auto bytes = tensor.data.data;
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::vector<std::string> parts;
  for (const int64_t size : shape) parts.push_back(std::to_string(size));
  return "[" + join(parts, ", ") + "]";
}

void check_shape(const std::string& name, const StoredTensor& stored, int64_t n, int64_t k) {
  if (n < 1 || k < 1) {
    throw_error("{}: {}: has shape {}, which holds no numbers", stored.file, printable(name, 200),
                shape_text(stored.shape));
  }
  const bool vector = n == 1 && stored.shape == std::vector<int64_t>{k};
  if (vector || stored.shape == std::vector<int64_t>{n, k}) return;
  const std::vector<int64_t> expected =
      n == 1 && stored.shape.size() == 1 ? std::vector{k} : std::vector{n, k};
  throw_error("{}: {}: has shape {}, the model's hyperparameters ask for {}", stored.file,
              printable(name, 200), shape_text(stored.shape), shape_text(expected));
}

std::optional<Format> plain_format(const std::string& type) {
  if (type == "F32") return format_of(FormatId::kF32);
  if (type == "F16") return format_of(FormatId::kF16);
  if (type == "BF16") return format_of(FormatId::kBF16);
  return std::nullopt;
}

std::vector<StoredType> count_types(const StoredTensors& tensors) {
  std::map<std::string, StoredType> types;
  for (const auto& [name, tensor] : tensors) {
    StoredType& type = types[tensor.type];
    type.type = tensor.type;
    ++type.tensors;
    type.bytes += tensor.data.data.size();
  }
  std::vector<StoredType> list;
  for (auto& [name, type] : types) list.push_back(std::move(type));
  return list;
}

QTensor plain_outline(const std::string& name, const StoredTensor& stored, int64_t n, int64_t k,
                      std::string_view supported) {
  const auto format = plain_format(stored.type);
  if (!format) {
    throw_error("{}: {}: has type {}; supported: {}", stored.file, printable(name, 200),
                printable(stored.type), supported);
  }
  check_shape(name, stored, n, k);
  return {*format, n, k};
}

QTensor plain_tensor(const std::string& name, const StoredTensor& stored, int64_t n, int64_t k,
                     std::string_view supported) {
  QTensor tensor = plain_outline(name, stored, n, k, supported);
  if (aligned(stored.data, tensor.format.bits / 8)) {
    tensor.codes = stored.data;
    return tensor;
  }
  QTensorBuilder copy = build_qtensor(tensor.format, n, k);
  std::memcpy(copy.codes, stored.data.data.data(), stored.data.data.size());
  release_pages(stored.data);
  return copy.tensor;
}

void fail_missing(const std::string& where, const std::string& name, const StoredTensors& tensors) {
  if (tensors.empty()) throw_error("{}: {}: no such tensor, there are none", where, name);
  throw_error("{}: {}: no such tensor among the {} (the first is `{}`)", where, name,
              tensors.size(), printable(tensors.begin()->first, 200));
}

}  // namespace lowbit
