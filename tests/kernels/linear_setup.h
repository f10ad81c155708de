// Inputs and outputs of one Linear, hostile on purpose: every buffer has exactly the size it needs
// (so that ASan sees a read past the end), and all padding is NaN.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "base/rng.h"
#include "formats/codec.h"
#include "ops/linear.h"
#include "quantize/quantizer.h"

namespace lowbit::test {

inline constexpr float kPoison = std::numeric_limits<float>::quiet_NaN();

inline std::vector<float> gaussian(int64_t count, uint64_t seed, uint64_t stream) {
  const Rng rng(seed, stream);
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = rng.gaussian(i);
  return values;
}

inline Bytes exact_copy(std::span<const std::byte> data) {
  auto memory = std::make_shared<std::vector<std::byte>>(data.begin(), data.end());
  return {{memory->data(), memory->size()}, memory};
}

// Random numbers of a format that nothing quantizes to.
inline QTensor random_import(const Format& format, int64_t n, int64_t k, uint64_t seed) {
  const QTensorBuilder out = build_qtensor(format, n, k);
  Rng rng(seed, 3);
  for (const Plane plane : {Plane::kScales, Plane::kZeros}) {
    std::byte* bytes = out.plane(plane);
    for (size_t i = 0; i < out.tensor.plane(plane).data.size(); ++i) {
      bytes[i] = static_cast<std::byte>(rng.next() & 0xff);
    }
  }
  for (size_t i = 0; i < out.tensor.outer.data.size() / 2; ++i) {
    store_scale(Scale::kF16, out.outer, static_cast<int64_t>(i), 0.01 + rng.next_uniform());
  }
  return out.tensor;
}

// Scales and zeros as RTN chooses them; codes of quantized formats are random, so that all occur
// but those that stand for no finite number.
inline QTensor random_weights(const Format& format, int64_t n, int64_t k, uint64_t seed) {
  QTensorBuilder source = build_qtensor(format_of(FormatId::kF32), n, k);
  const std::vector<float> values = gaussian(n * k, seed, 1);
  encode_plain(FormatId::kF32, values.data(), n * k, source.codes);
  QTensor w = format.rule == ScaleRule::kImport ? random_import(format, n, k, seed)
                                                : quantize_rtn(source.tensor, format, {"w"});
  std::vector<std::byte> codes(w.codes.data.begin(), w.codes.data.end());
  if (format.quantized()) {
    const Rng rng(seed, 2);
    std::vector<uint32_t> row(static_cast<size_t>(stored_codes(format, k)));
    for (int64_t r = 0; r < n; ++r) {
      for (size_t i = 0; i < row.size(); ++i) {
        const auto code = static_cast<uint32_t>(rng.bits(static_cast<uint64_t>(r * k) + i)) &
                          ((1u << format.bits) - 1u);
        row[i] = std::isfinite(decode_code(format, code)) ? code : 0;
      }
      pack_codes(format, row, codes.data() + r * row_bytes(format, k));
    }
  }
  w.codes = exact_copy(codes);
  for (const Plane plane : {Plane::kScales, Plane::kZeros, Plane::kMeta, Plane::kOuter}) {
    w.plane(plane) = exact_copy(w.plane(plane).data);
  }
  return w;
}

// The codes in the layout that `kernel` reads.
inline QTensor in_layout(const QTensor& w, LayoutId layout, std::span<const Packer> packers) {
  if (layout == LayoutId::kCanonical) return w;
  for (const Packer& packer : packers) {
    if (packer.layout != layout || !packer.accepts(w.format)) continue;
    std::vector<std::byte> packed(w.codes.data.size());
    packer.pack(w, packed.data());
    QTensor result = w;
    result.codes = exact_copy(packed);
    return result;
  }
  ADD_FAILURE() << "nothing packs " << name(layout) << " for " << name(w.format);
  return w;
}

// Activations [m, k] with NaN between the rows.
class Activations {
 public:
  Activations(FormatId format, int32_t m, int32_t k, uint64_t seed)
      : format_(format), k_(k), ld_(k + 3), bytes_(format_of(format).bits / 8) {
    data_.resize(static_cast<size_t>(m * ld_ - 3) * bytes_);
    const std::vector<float> values = gaussian(int64_t{m} * k, seed, 3);
    const std::vector<float> poison(3, kPoison);
    for (int32_t t = 0; t < m; ++t) {
      encode_plain(format, values.data() + int64_t{t} * k, k, at(t, 0));
      if (t + 1 < m) encode_plain(format, poison.data(), 3, at(t, k));
    }
  }
  Act act(int32_t first = 0) { return {at(first, 0), nullptr, ld_, format_}; }
  std::vector<float> row(int32_t t) {
    std::vector<float> values(static_cast<size_t>(k_));
    decode_plain(format_, at(t, 0), k_, values.data());
    return values;
  }

 private:
  void* at(int64_t t, int64_t i) {
    return data_.data() + static_cast<size_t>(t * ld_ + i) * bytes_;
  }
  FormatId format_;
  int32_t k_;
  int64_t ld_;
  size_t bytes_;
  std::vector<std::byte> data_;
};

// y [m, n] inside a larger matrix of NaN.
class Output {
 public:
  Output(int32_t m, int32_t n) : m_(m), n_(n), ld_(n + 5) {
    values_.assign(static_cast<size_t>((m + 2) * ld_), kPoison);
  }
  float* data() { return values_.data() + ld_ + 2; }
  int64_t ld() const { return ld_; }
  float& at(int32_t t, int32_t i) { return data()[t * ld_ + i]; }
  void fill(const std::vector<float>& y) {
    for (int32_t t = 0; t < m_; ++t) {
      for (int32_t i = 0; i < n_; ++i) at(t, i) = y[static_cast<size_t>(t * n_ + i)];
    }
  }
  bool padding_untouched() {
    int64_t numbers = 0, inside = 0;
    for (const float value : values_) numbers += !std::isnan(value);
    for (int32_t t = 0; t < m_; ++t) {
      for (int32_t i = 0; i < n_; ++i) inside += !std::isnan(at(t, i));
    }
    return numbers == inside;
  }
  bool same_bits(const Output& other) const {
    return std::memcmp(values_.data(), other.values_.data(), values_.size() * sizeof(float)) == 0;
  }

 private:
  int32_t m_, n_;
  int64_t ld_;
  std::vector<float> values_;
};

// Memory of exactly the size a kernel asked for, 64-byte aligned at its start, filled with NaN.
class Workspace {
 public:
  explicit Workspace(size_t bytes) : memory_((bytes + 3) / 4 + 16, kPoison) {
    void* start = memory_.data();
    size_t space = memory_.size() * sizeof(float);
    data_ = std::align(64, bytes, start, space);
    guard_ = memory_.data() + memory_.size();
    for (auto* p = reinterpret_cast<float*>(static_cast<std::byte*>(data_) + bytes); p < guard_;) {
      *p++ = 12345.0f;
    }
    end_ = reinterpret_cast<float*>(static_cast<std::byte*>(data_) + bytes);
  }
  void* data() { return data_; }
  bool guard_untouched() const {
    for (const float* p = end_; p < guard_; ++p) {
      if (*p != 12345.0f) return false;
    }
    return true;
  }

 private:
  std::vector<float> memory_;
  void* data_;
  float *guard_, *end_;
};

}  // namespace lowbit::test
