// ggml's tensor types and how their blocks are taken apart into our planes (formats/qtensor.h): the
// same codes and scales in another order, so nothing is lost.
// Layouts: ggml-common.h of https://github.com/ggml-org/ggml, and the dequantizers of the PyPI
// package gguf 0.19.0, which the tests compare with.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "load/stored.h"

namespace lowbit {

// Where a block's parts go, each as an unpacked code of the format's own width.
struct BlockParts {
  uint32_t *codes, *scales, *zeros;  // of this block, in order along k
  std::byte* outer;                  // the f16 (or two) of a super-block
};

struct GgufType {
  uint32_t id;            // in the file
  std::string_view name;  // as ggml calls it
  // 0: a type that we do not read, known by name only.
  int64_t block_weights = 0, block_bytes = 0;
  FormatId format = FormatId::kF32;
  // False if the block holds a code that is no number. Null where elements are plain numbers.
  bool (*split)(const uint8_t* block, const BlockParts& out) = nullptr;
};

std::span<const GgufType> gguf_types();
const GgufType* find_gguf_type(std::string_view name);  // nullptr: unknown
std::string readable_gguf_types();                      // "F32, F16, ..." for messages

// The planes of a tensor [n, k] of a type with blocks; its shape and size have been checked.
// `outer` is the scale of the whole tensor where the format has one (NVFP4).
QTensor split_gguf_blocks(const std::string& name, const StoredTensor& stored, const GgufType& type,
                          int64_t n, int64_t k, float outer);

}  // namespace lowbit
