// Inputs and outputs of one Linear, hostile on purpose: every buffer has exactly the size it needs
// (so that ASan sees a read past the end), and all padding is NaN.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "formats/codec.h"
#include "ops/linear.h"
#include "ops/view.h"
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

// Random scales of all levels.
inline QTensor random_levels(const Format& format, int64_t n, int64_t k, uint64_t seed) {
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
  QTensor w = format.outer == Outer::kSuper ? random_levels(format, n, k, seed)
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

// The activation whose memory is `planes`.
inline Act act_over(const QTensorBuilder& planes) {
  Act act = act_of(planes.tensor.format, planes.tensor.k);
  act.data = planes.codes;
  act.scales = planes.scales;
  act.zeros = planes.zeros;
  act.outer = planes.outer;
  return act;
}

inline bool same_planes(const QTensorBuilder& a, const QTensorBuilder& b) {
  return std::ranges::all_of(kPlanes, [&](Plane plane) {
    return std::ranges::equal(a.tensor.plane(plane).data, b.tensor.plane(plane).data);
  });
}

// Activations [m, k]: of a format without scales with NaN between the rows, else any codes.
class Activations {
 public:
  Activations(const Format& format, int32_t m, int32_t k, uint64_t seed)
      : format_(format), k_(k), ld_(format.quantized() ? k : k + 3) {
    if (format.quantized()) {
      tensor_ = random_weights(format, m, k, seed);
      return;
    }
    data_.resize(static_cast<size_t>(row_bytes(format, m * ld_ - 3)));
    const std::vector<float> values = gaussian(int64_t{m} * k, seed, 3);
    const std::vector<float> poison(3, kPoison);
    for (int32_t t = 0; t < m; ++t) {
      encode_plain(format.id, values.data() + int64_t{t} * k, k, at(t, 0));
      if (t + 1 < m) encode_plain(format.id, poison.data(), 3, at(t, k));
    }
  }
  Act act(int32_t first = 0) {
    Act act = act_of(format_, ld_);
    act.data = at(first, 0);
    if (!format_.quantized()) return act;
    act.data = row_of(Plane::kCodes, first);
    act.scales = row_of(Plane::kScales, format_.block.n == 0 ? 0 : first);
    act.zeros = row_of(Plane::kZeros, format_.block.n == 0 ? 0 : first);
    act.outer = row_of(Plane::kOuter, first);
    return act;
  }
  // What a device needs a copy of.
  std::vector<std::pair<Plane, std::span<const std::byte>>> planes() const {
    if (!format_.quantized()) return {{Plane::kCodes, data_}};
    std::vector<std::pair<Plane, std::span<const std::byte>>> planes;
    for (const Plane plane : {Plane::kCodes, Plane::kScales, Plane::kZeros, Plane::kOuter}) {
      if (!tensor_.plane(plane).data.empty()) planes.emplace_back(plane, tensor_.plane(plane).data);
    }
    return planes;
  }
  std::vector<double> row(int32_t t) {
    std::vector<double> values(static_cast<size_t>(k_));
    load_row(act(), t, k_, values.data());
    return values;
  }

 private:
  void* at(int64_t t, int64_t i) { return data_.data() + row_bytes(format_, t * ld_ + i); }
  std::byte* row_of(Plane plane, int64_t row) {
    const int64_t stride = plane_shape(format_, plane, tensor_.n, k_).row_bytes;
    return const_cast<std::byte*>(tensor_.plane(plane).data.data()) + row * stride;
  }
  Format format_;
  int32_t k_;
  int64_t ld_;
  std::vector<std::byte> data_;
  QTensor tensor_;
};

// y [m, n] inside a larger matrix of NaN.
class Output {
 public:
  Output(int32_t m, int32_t n) : m_(m), n_(n), ld_(n + 5) {
    values_.assign(static_cast<size_t>((m + 2) * ld_), kPoison);
  }
  float* data() { return values_.data() + ld_ + 2; }
  int64_t ld() const { return ld_; }
  std::span<float> memory() { return values_; }
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
