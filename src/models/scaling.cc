#include "models/scaling.h"

#include <algorithm>

#include "base/check.h"
#include "base/thread_pool.h"
#include "formats/codec.h"

namespace lowbit {
namespace {

// factors[i] *= s(i), all 1 before the first time.
template <class Scale>
void multiply(std::vector<float>* factors, int64_t count, const Scale& s) {
  factors->resize(static_cast<size_t>(count), 1.0f);
  for (int64_t i = 0; i < count; ++i) (*factors)[static_cast<size_t>(i)] *= s(i);
}

}  // namespace

void ScaledCheckpoint::scale(const ScalingGroup& group, std::span<const float> s) {
  LB_CHECK(static_cast<int64_t>(s.size()) == group.elements());
  const auto inverse = [&](int64_t i) { return 1 / s[static_cast<size_t>(i)]; };
  for (const ScalingGroup::Tensor& consumer : group.consumers) {
    multiply(&factors_[consumer.name].columns, consumer.k,
             [&](int64_t i) { return s[static_cast<size_t>(group.element_of(i))]; });
  }
  Factors& producer = factors_[group.producer.name];
  multiply(group.producer.n == 1 ? &producer.columns : &producer.rows, group.elements(), inverse);
  if (!group.bias.empty()) multiply(&factors_[group.bias].columns, group.elements(), inverse);
}

std::span<const float> ScaledCheckpoint::columns(const std::string& tensor) const {
  const auto found = factors_.find(tensor);
  return found == factors_.end() ? std::span<const float>() : found->second.columns;
}

QTensor ScaledCheckpoint::tensor(const std::string& name, int64_t n, int64_t k) const {
  QTensor stored = base().tensor(name, n, k);
  const auto found = factors_.find(name);
  if (found == factors_.end()) return stored;
  const Factors& factors = found->second;
  const QTensorBuilder scaled = build_qtensor(format_of(FormatId::kF32), n, k);
  thread_pool().for_ranges(n, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> row(static_cast<size_t>(k));
    for (int64_t r = begin; r < end; ++r) {
      decode_row(stored, r, row.data());
      const float by = factors.rows.empty() ? 1 : factors.rows[static_cast<size_t>(r)];
      for (size_t i = 0; i < row.size(); ++i) {
        row[i] *= factors.columns.empty() ? by : by * factors.columns[i];
      }
      encode_plain(FormatId::kF32, row.data(), k,
                   scaled.codes + r * row_bytes(scaled.tensor.format, k));
    }
  });
  return scaled.tensor;
}

QTensor ScaledCheckpoint::outline(const std::string& name, int64_t n, int64_t k) const {
  QTensor outline = base().outline(name, n, k);
  if (factors_.count(name)) outline.format = format_of(FormatId::kF32);
  return outline;
}

const InputStats* ScaledInputs::find(const std::string& tensor) {
  const InputStats* stats = base_.find(tensor);
  const std::span<const float> s = checkpoint_.columns(tensor);
  if (!stats || s.empty()) return stats;
  scaled_ = *stats;
  const auto k = static_cast<int64_t>(s.size());
  for (int64_t i = 0; i < k; ++i) {
    scaled_.mean_abs[i] /= s[i];
    scaled_.mean_square[i] /= s[i] * s[i];
  }
  if (!scaled_.hessian.empty()) {
    thread_pool().for_ranges(k, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        for (int64_t j = 0; j < k; ++j) scaled_.hessian[i * k + j] /= s[i] * s[j];
      }
    });
  }
  return &scaled_;
}

}  // namespace lowbit
