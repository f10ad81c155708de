// AWQ on a small model whose layers read one input that is far larger than the others.
#include "models/awq.h"

#include <gtest/gtest.h>

#include <cmath>

#include "formats/codec.h"

namespace lowbit {
namespace {

constexpr size_t kSalient = 5;
constexpr float kSize = 30;

// Rows of v and up are divided by the scales of o and down.
bool rows_scaled_too(const ScalingGroup::Tensor& t) {
  return t.name.find("v_proj") != std::string::npos || t.name.find("up_proj") != std::string::npos;
}

// Independent inputs of size 1, but for one.
class OneSalientInput final : public InputStatsSource {
 public:
  explicit OneSalientInput(const std::vector<ScalingGroup>& groups) {
    for (const ScalingGroup& group : groups) {
      for (const ScalingGroup::Tensor& tensor : group.consumers) {
        InputStats& stats = stats_[tensor.name];
        stats.rows = 100;
        stats.mean_abs.assign(static_cast<size_t>(tensor.k), 1);
        stats.mean_square.assign(static_cast<size_t>(tensor.k), 1);
        stats.mean_abs[kSalient] = kSize;
        stats.mean_square[kSalient] = kSize * kSize;
      }
    }
  }
  const InputStats* find(const std::string& tensor) override {
    const auto found = stats_.find(tensor);
    return found == stats_.end() ? nullptr : &found->second;
  }

 private:
  std::map<std::string, InputStats> stats_;
};

class Awq : public testing::Test {
 protected:
  std::vector<float> stored(const ScalingGroup::Tensor& t) const {
    return decode_rows(checkpoint_->tensor(t.name, t.n, t.k));
  }
  std::vector<float> scaled(const ScalingGroup::Tensor& t) const {
    return decode_rows(scaled_->tensor(t.name, t.n, t.k));
  }
  // Mean square of the outputs' error when `weights` become int4 and columns are divided by `s`.
  double output_error(const ScalingGroup::Tensor& t, const Checkpoint& weights,
                      std::span<const float> s) {
    const std::vector<float> codes = decode_rows(
        quantize_rtn(weights.tensor(t.name, t.n, t.k), parse_format("int4-g32"), {t.name}));
    const std::vector<float> w = stored(t);
    const InputStats& stats = *inputs_.find(t.name);
    double sum = 0;
    for (size_t i = 0; i < w.size(); ++i) {
      const size_t column = i % static_cast<size_t>(t.k);
      const double error = w[i] - codes[i] / (s.empty() ? 1 : s[column]);
      sum += error * error * stats.mean_square[column];
    }
    return sum / static_cast<double>(t.n);
  }

  std::unique_ptr<Checkpoint> checkpoint_ =
      open_checkpoint(std::string(LB_SOURCE_DIR) + "/tests/golden/llama/mha");
  std::vector<ScalingGroup> groups_ = scaling_groups(*checkpoint_);
  OneSalientInput inputs_{groups_};
  LayerPolicy policy_ = {.all = {parse_format("int4-g32")}};
  std::unique_ptr<ScaledCheckpoint> scaled_ = awq(*checkpoint_, inputs_, policy_);
};

TEST_F(Awq, OutputsOfScaledInt4AreCloserThanOfInt4) {
  for (const ScalingGroup& group : groups_) {
    if (group.producer.n != 1) continue;  // a matrix is scaled as a consumer too
    double plain = 0, with_scales = 0;
    for (const ScalingGroup::Tensor& t : group.consumers) {
      if (rows_scaled_too(t)) continue;
      plain += output_error(t, *checkpoint_, {});
      with_scales += output_error(t, *scaled_, scaled_->columns(t.name));
    }
    EXPECT_LT(with_scales, 0.7 * plain) << group.name;
    EXPECT_GT(scaled_->columns(group.consumers[0].name)[kSalient], 1.5f) << group.name;
  }
}

// What a consumer reads times what it multiplies by is what it was.
TEST_F(Awq, ScalesThatMoveLeaveProductsAsTheyWere) {
  for (const ScalingGroup& group : groups_) {
    if (group.producer.n != 1) continue;
    const std::vector<float> norm = stored(group.producer), moved = scaled(group.producer);
    EXPECT_NE(norm, moved) << group.name;
    for (const ScalingGroup::Tensor& t : group.consumers) {
      const std::vector<float> w = stored(t), now = scaled(t);
      double row = 1;
      for (size_t i = 0; i < w.size(); ++i) {
        const size_t column = i % static_cast<size_t>(t.k);
        const double before = double{w[i]} * norm[column], after = double{now[i]} * moved[column];
        if (column == 0) row = rows_scaled_too(t) && before != 0 ? after / before : 1;
        EXPECT_NEAR(after, before * row, 1e-6 * std::abs(before * row)) << t.name << " " << i;
      }
    }
  }
}

TEST_F(Awq, LayersThatStayAsStoredAreNotScaled) {
  policy_.all.format = std::nullopt;
  const auto untouched = awq(*checkpoint_, inputs_, policy_);
  for (const ScalingGroup& group : groups_) {
    EXPECT_TRUE(untouched->columns(group.consumers[0].name).empty()) << group.name;
  }
}

}  // namespace
}  // namespace lowbit
