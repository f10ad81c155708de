// What tests/golden/formats holds (scripts/golden/formats.py): tensors of numpy and of other tools.
#pragma once

#include <cstring>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/file.h"
#include "formats/codec.h"
#include "load/safetensors.h"

namespace lowbit::golden {

inline const std::string kFolder = std::string(LB_SOURCE_DIR) + "/tests/golden/formats/";

class Golden {
 public:
  explicit Golden(const std::string& file)
      : tensors_(parse_safetensors(file, map_file(kFolder + file + ".safetensors"))) {}

  bool has(const std::string& name) const { return tensors_.contains(name); }
  const StoredTensor& at(const std::string& name) const {
    const auto found = tensors_.find(name);
    LB_CHECK(found != tensors_.end(), "{}", name);
    return found->second;
  }
  // [rows, columns]; a vector is a column.
  std::vector<int64_t> shape(const std::string& name) const {
    std::vector<int64_t> shape = at(name).shape;
    if (shape.size() == 1) shape.push_back(1);
    return shape;
  }
  std::vector<float> floats(const std::string& name) const {
    const std::vector<int64_t> s = shape(name);
    return decode_rows(plain_tensor(name, reshaped(name), s[0], s[1], ""));
  }
  std::vector<int64_t> integers(const std::string& name) const {
    const StoredTensor& t = at(name);
    if (t.type == "I64") return as<int64_t>(t);
    if (t.type == "I32") return as<int32_t>(t);
    return t.type == "I8" ? as<int8_t>(t) : as<uint8_t>(t);
  }
  const StoredTensors& all() const { return tensors_; }

 private:
  template <class T>
  static std::vector<int64_t> as(const StoredTensor& t) {
    std::vector<T> values(t.data.data.size() / sizeof(T));
    std::memcpy(values.data(), t.data.data.data(), t.data.data.size());
    return {values.begin(), values.end()};
  }
  StoredTensor reshaped(const std::string& name) const {
    StoredTensor t = at(name);
    t.shape = shape(name);
    if (t.shape[0] == 1) t.shape = {t.shape[1]};
    return t;
  }

  StoredTensors tensors_;
};

inline QTensor f32_tensor(const std::vector<float>& w, int64_t n, int64_t k) {
  const QTensorBuilder b = build_qtensor(format_of(FormatId::kF32), n, k);
  encode_plain(FormatId::kF32, w.data(), n * k, b.codes);
  return b.tensor;
}

// Columns [0, k) of an input; all by default.
inline QTensor input(const Golden& golden, const std::string& name, int64_t k = 0) {
  const auto shape = golden.shape(name);
  if (k == 0) k = shape[1];
  const std::vector<float> w = golden.floats(name);
  std::vector<float> part;
  for (int64_t row = 0; row < shape[0]; ++row) {
    part.insert(part.end(), w.begin() + row * shape[1], w.begin() + row * shape[1] + k);
  }
  return f32_tensor(part, shape[0], k);
}

inline std::vector<uint32_t> codes_of(const QTensor& q) {
  const int64_t width = stored_codes(q.format, q.k);
  std::vector<uint32_t> codes(static_cast<size_t>(q.n * width));
  for (int64_t row = 0; row < q.n; ++row) {
    unpack_codes(
        q.format, q.codes.data.data() + row * row_bytes(q.format, q.k),
        std::span(codes).subspan(static_cast<size_t>(row * width), static_cast<size_t>(width)));
  }
  return codes;
}

inline nlohmann::json manifest() {
  return nlohmann::json::parse(map_file(kFolder + "manifest.json").text());
}

}  // namespace lowbit::golden
