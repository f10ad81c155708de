#include "models/rotation.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "base/check.h"
#include "base/rng.h"
#include "base/thread_pool.h"
#include "formats/codec.h"

namespace lowbit {
namespace {

constexpr std::string_view kHead = "lm_head.weight", kTied = "tie_word_embeddings";
constexpr uint64_t kSeed = 0;  // of the signs: one model, one rotation

std::vector<float> hartley(int64_t n) {
  std::vector<float> matrix;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      const double angle =
          2 * std::numbers::pi * static_cast<double>(i * j % n) / static_cast<double>(n);
      matrix.push_back(static_cast<float>((std::cos(angle) + std::sin(angle)) /
                                          std::sqrt(static_cast<double>(n))));
    }
  }
  return matrix;
}

// A vector whose numbers lie `stride` floats apart, `width` of them side by side.
struct Lanes {
  float* data;
  int64_t stride, width;
  float* at(int64_t i) const { return data + i * stride; }
};

}  // namespace

Rotation::Rotation(int64_t size) {
  const Rng rng(kSeed);
  for (int64_t i = 0; i < size; ++i) {
    signs_.push_back(rng.bits(static_cast<uint64_t>(i)) & 1 ? -1.0f : 1.0f);
  }
  for (odd_ = size; odd_ % 2 == 0;) odd_ /= 2;
  hartley_ = hartley(odd_);
}

namespace {

// The symmetric part of R of so many lanes at once: Hadamard inside runs of size / odd, Hartley
// across them.
void mix(const Lanes& x, int64_t size, int64_t odd, const std::vector<float>& hartley) {
  const int64_t power = size / odd;
  for (int64_t half = 1; half < power; half *= 2) {
    for (int64_t i = 0; i < size; ++i) {
      if ((i % power) & half) continue;
      float *a = x.at(i), *b = x.at(i + half);
      for (int64_t lane = 0; lane < x.width; ++lane) {
        const float sum = a[lane] + b[lane];
        b[lane] = a[lane] - b[lane];
        a[lane] = sum;
      }
    }
  }
  const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(power)));
  for (int64_t i = 0; i < size; ++i) {
    for (int64_t lane = 0; lane < x.width; ++lane) x.at(i)[lane] *= scale;
  }
  if (odd == 1) return;
  std::vector<float> column(static_cast<size_t>(odd));
  for (int64_t i = 0; i < power; ++i) {
    for (int64_t lane = 0; lane < x.width; ++lane) {
      for (int64_t j = 0; j < odd; ++j) column[j] = x.at(j * power + i)[lane];
      for (int64_t j = 0; j < odd; ++j) {
        float sum = 0;
        for (int64_t m = 0; m < odd; ++m) sum += hartley[j * odd + m] * column[m];
        x.at(j * power + i)[lane] = sum;
      }
    }
  }
}

}  // namespace

void Rotation::turn_rows(float* x, int64_t n, int64_t k) const {
  constexpr int64_t kWidth = 64;
  LB_CHECK(n % size() == 0, "{} of {}", n, size());
  thread_pool().for_ranges(k, kWidth, [&](int64_t begin, int64_t end) {
    for (int64_t block = 0; block < n; block += size()) {
      for (int64_t c = begin; c < end; c += kWidth) {
        const Lanes lanes{x + block * k + c, k, std::min(kWidth, end - c)};
        for (int64_t i = 0; i < size(); ++i) {
          for (int64_t lane = 0; lane < lanes.width; ++lane) lanes.at(i)[lane] *= signs_[i];
        }
        mix(lanes, size(), odd_, hartley_);
      }
    }
  });
}

void Rotation::turn_columns(float* x, int64_t n, int64_t k) const {
  LB_CHECK(k % size() == 0, "{} of {}", k, size());
  thread_pool().for_ranges(n, 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t c = 0; c < k; c += size()) {
        const Lanes lanes{x + r * k + c, 1, 1};
        for (int64_t i = 0; i < size(); ++i) *lanes.at(i) *= signs_[i];
        mix(lanes, size(), odd_, hartley_);
      }
    }
  });
}

namespace {

Hyperparams config_of(const Checkpoint& base, bool unties) {
  if (!unties) return base.config();
  nlohmann::json tree = nlohmann::json::parse(base.config().json_text());
  tree[std::string(kTied)] = false;
  return Hyperparams::from_tree(base.config().source(), std::move(tree));
}

}  // namespace

RotatedCheckpoint::RotatedCheckpoint(const Checkpoint& base, const LayerPolicy& policy)
    : CheckpointView(base),
      policy_(policy),
      stream_(rotation_plan(base).hidden),
      head_(rotation_plan(base).head_dim),
      unties_(rotation_plan(base).unties),
      config_(config_of(base, unties_)) {
  for (const TurnedTensor& turned : rotation_plan(base).tensors) turned_[turned.name] = turned;
}

std::string RotatedCheckpoint::config_json() const {
  if (!unties_) return base().config_json();
  auto config = nlohmann::ordered_json::parse(base().config_json());
  config[std::string(kTied)] = false;
  return config.dump(2) + "\n";
}

std::vector<std::string> RotatedCheckpoint::tensor_names() const {
  std::vector<std::string> names = base().tensor_names();
  if (unties_ && !names.empty() && !base().has(std::string(kHead))) {
    names.insert(std::lower_bound(names.begin(), names.end(), kHead), std::string(kHead));
  }
  return names;
}

bool RotatedCheckpoint::has(const std::string& name) const {
  return (unties_ && name == kHead) || base().has(name);
}

const TurnedTensor* RotatedCheckpoint::find(const std::string& tensor) const {
  const auto found = turned_.find(tensor);
  return found == turned_.end() ? nullptr : &found->second;
}

const Rotation* RotatedCheckpoint::rotation(TurnedTensor::By by) const {
  if (by == TurnedTensor::By::kNothing) return nullptr;
  return by == TurnedTensor::By::kStream ? &stream_ : &head_;
}

std::vector<float> RotatedCheckpoint::norm_of(const TurnedTensor& turned) const {
  std::vector<float> norm(static_cast<size_t>(turned.k), 1.0f);
  if (!turned.norm.empty()) decode_row(base().tensor(turned.norm, 1, turned.k), 0, norm.data());
  return norm;
}

Format RotatedCheckpoint::served_format(const TurnedTensor& turned, const Format& stored) const {
  const bool stays = !turned.layer.empty() && !policy_.choose(turned.layer).format;
  return stays && !stored.quantized() ? stored : format_of(FormatId::kF32);
}

QTensor RotatedCheckpoint::outline(const std::string& name, int64_t n, int64_t k) const {
  const TurnedTensor* turned = find(name);
  if (!turned) return base().outline(name, n, k);
  QTensor outline = base().outline(turned->from, n, k);
  outline.format = served_format(*turned, outline.format);
  return outline;
}

QTensor RotatedCheckpoint::tensor(const std::string& name, int64_t n, int64_t k) const {
  const TurnedTensor* turned = find(name);
  if (!turned) return base().tensor(name, n, k);
  const QTensor stored = base().tensor(turned->from, n, k);
  std::vector<float> w(static_cast<size_t>(n * k), 1.0f);
  if (!turned->ones) {
    const std::vector<float> norm = norm_of(*turned);
    thread_pool().for_ranges(n, 1, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        decode_row(stored, r, &w[r * k]);
        for (int64_t i = 0; i < k; ++i) w[r * k + i] *= norm[i];
      }
    });
  }
  if (const Rotation* by = rotation(turned->columns)) by->turn_columns(w.data(), n, k);
  if (const Rotation* by = rotation(turned->rows)) by->turn_rows(w.data(), n, k);
  const QTensorBuilder out = build_qtensor(served_format(*turned, stored.format), n, k);
  for (int64_t r = 0; r < n; ++r) {
    encode_plain(out.tensor.format.id, &w[r * k], k,
                 out.codes + r * row_bytes(out.tensor.format, k));
  }
  return out.tensor;
}

const InputStats* RotatedInputs::find(const std::string& tensor) {
  const TurnedTensor* turned = checkpoint_.find(tensor);
  if (!turned) return base_.find(tensor);
  if (of_ == tensor) return &turned_;
  const InputStats* stats = base_.find(turned->from);
  const Rotation* by = checkpoint_.rotation(turned->columns);
  if (!stats || !by) return stats;
  const int64_t k = turned->k;
  LB_CHECK(static_cast<int64_t>(stats->hessian.size()) == k * k, "{}", tensor);
  turned_ = *stats;
  of_ = tensor;
  const std::vector<float> norm = checkpoint_.norm_of(*turned);
  const auto inverse = [&](int64_t i) { return norm[i] == 0 ? 0 : 1 / norm[i]; };
  for (int64_t i = 0; i < k; ++i) {
    for (int64_t j = 0; j < k; ++j) turned_.hessian[i * k + j] *= inverse(i) * inverse(j);
  }
  by->turn_rows(turned_.hessian.data(), k, k);
  by->turn_columns(turned_.hessian.data(), k, k);
  for (int64_t i = 0; i < k; ++i) {
    const float square = std::max(turned_.hessian[i * k + i], 0.0f);
    turned_.mean_square[i] = square;
    turned_.mean_abs[i] = std::sqrt(square * 2 / std::numbers::pi_v<float>);
  }
  return &turned_;
}

}  // namespace lowbit
