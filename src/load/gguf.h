// The GGUF container, versions 2 and 3, little endian: typed metadata, then tensors.
// Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
// What the metadata mean for a model is gguf_checkpoint.cc's business.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "load/hyperparams.h"
#include "load/stored.h"

namespace lowbit {

// An array of metadata. Both kinds view the file, so they must not outlive it.
struct GgufArray {
  std::string_view element;  // "string", "float32", ...
  size_t element_bytes = 0;  // 0 for strings
  uint64_t count = 0;
  std::span<const std::byte> data;      // numbers, perhaps misaligned
  std::vector<std::string_view> texts;  // strings
};

class GgufFile {
 public:
  GgufFile(const std::string& path, const Bytes& file);

  const std::string& path() const { return path_; }
  uint32_t version() const { return version_; }

  // Every value that is not an array, under its key; the getters check type and range.
  const Hyperparams& values() const { return values_; }

  // Arrays; empty if absent, Error if the key holds something else.
  std::vector<std::string_view> texts(std::string_view key) const;
  std::vector<float> floats(std::string_view key) const;
  std::vector<int32_t> integers(std::string_view key) const;  // int32 or uint32

  // A GGUF file with the same metadata and no tensors: what a tokenizer needs.
  std::string without_tensors() const;

  // GGUF's own names; shapes outermost first (the file has them innermost first).
  const StoredTensors& tensors() const { return tensors_; }

 private:
  const GgufArray* find_array(std::string_view key) const;

  std::string path_;
  Bytes file_;
  uint32_t version_ = 0;
  uint64_t pair_count_ = 0;
  std::span<const std::byte> pairs_;  // as they lie in the file
  Hyperparams values_;
  std::map<std::string, GgufArray, std::less<>> arrays_;
  StoredTensors tensors_;
};

// A tensor of a type that we read (gguf_blocks.h), shape checked. Blocks are taken apart into our
// planes, without loss. `outer`: the scale of the whole tensor, for types that have one beside it.
QTensor gguf_tensor(const std::string& name, const StoredTensor& stored, int64_t n, int64_t k,
                    float outer = 1);
QTensor gguf_outline(const std::string& name, const StoredTensor& stored, int64_t n, int64_t k);

}  // namespace lowbit
