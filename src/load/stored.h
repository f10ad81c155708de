// A tensor as a file stores it: named type, shape, bytes. The checks that both containers share.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "formats/qtensor.h"

namespace lowbit {

struct StoredTensor {
  std::string file;            // for messages
  std::string type;            // as the file's format calls it: "BF16", "Q8_0", "I64"
  std::vector<int64_t> shape;  // outermost first
  Bytes data;
};
using StoredTensors = std::map<std::string, StoredTensor>;

// All tensors of one type in a model's files.
struct StoredType {
  std::string type;
  int64_t tensors = 0;
  size_t bytes = 0;
};
std::vector<StoredType> count_types(const StoredTensors& tensors);

// 16 hexadecimal digits that follow from the names, types, shapes and bytes of all tensors,
// whatever files they lie in. Of more than 64 MiB a sample of the bytes, four pieces of 4 KiB from
// each tensor (its first and its last included), so that a checkpoint of any size costs little:
// other weights have another hash, one number that was changed may not.
std::string hash_of(const StoredTensors& tensors);

// Whether every byte is 0.
bool all_zero(const StoredTensor& tensor);

// "[4096, 14336]"
std::string shape_text(const std::vector<int64_t>& shape);

// Error unless the tensor has shape [n, k], or [k] if n is 1. Names file, tensor and both shapes.
void check_shape(const std::string& name, const StoredTensor& stored, int64_t n, int64_t k);

// The format that holds F32, F16 or BF16; nullopt for any other type name.
std::optional<Format> plain_format(const std::string& type);

// Format and checked shape of an F32, F16 or BF16 tensor, planes empty. Any other type is refused
// by name: "supported: " + `supported`.
QTensor plain_outline(const std::string& name, const StoredTensor& stored, int64_t n, int64_t k,
                      std::string_view supported);

// The same with its numbers: views the file where its first element is
// aligned, else a copy.
QTensor plain_tensor(const std::string& name, const StoredTensor& stored, int64_t n, int64_t k,
                     std::string_view supported);

// The Error for a tensor that no file has; `where` names the file or folder.
[[noreturn]] void fail_missing(const std::string& where, const std::string& name,
                               const StoredTensors& tensors);

}  // namespace lowbit
