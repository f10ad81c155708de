// Writers of safetensors and GGUF bytes for tests, without any of the loaders' checks.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace lowbit::fixtures {

template <class T>
std::string raw(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

// Length, header, data.
inline std::string safetensors(std::string_view header, std::string_view data) {
  return raw(uint64_t{header.size()}) + std::string(header) + std::string(data);
}

// Pieces of a GGUF file, in the file's order.
struct GgufBytes {
  std::string magic = "GGUF";
  uint32_t version = 3;
  std::vector<std::string> pairs;
  std::vector<std::string> tensors;
  std::string data;
  size_t alignment = 32;
  int64_t tensor_count = -1, pair_count = -1;  // -1: as many as there are

  std::string bytes() const {
    std::string out = magic + raw(version);
    out += raw(tensor_count < 0 ? uint64_t{tensors.size()} : static_cast<uint64_t>(tensor_count));
    out += raw(pair_count < 0 ? uint64_t{pairs.size()} : static_cast<uint64_t>(pair_count));
    for (const std::string& pair : pairs) out += pair;
    for (const std::string& tensor : tensors) out += tensor;
    out.resize((out.size() + alignment - 1) / alignment * alignment);
    return out + data;
  }
};

inline std::string gguf_text(std::string_view text) {
  return raw(uint64_t{text.size()}) + std::string(text);
}
inline std::string gguf_pair(std::string_view key, uint32_t type, const std::string& value) {
  return gguf_text(key) + raw(type) + value;
}
inline std::string gguf_u32(std::string_view key, uint32_t value) {
  return gguf_pair(key, 4, raw(value));
}
inline std::string gguf_f32(std::string_view key, float value) {
  return gguf_pair(key, 6, raw(value));
}
inline std::string gguf_string(std::string_view key, std::string_view value) {
  return gguf_pair(key, 8, gguf_text(value));
}

// `dims` innermost first, as in the file.
inline std::string gguf_info(std::string_view name, const std::vector<uint64_t>& dims,
                             uint32_t type, uint64_t offset) {
  std::string out = gguf_text(name) + raw(static_cast<uint32_t>(dims.size()));
  for (const uint64_t size : dims) out += raw(size);
  return out + raw(type) + raw(offset);
}

}  // namespace lowbit::fixtures
