// Rotations that disappear in the weights.
#include "models/rotation.h"

#include <gtest/gtest.h>

#include <cmath>

#include "backends.h"
#include "base/rng.h"
#include "engine/calibrate.h"
#include "formats/codec.h"
#include "models/golden_cases.h"

namespace lowbit {
namespace {

const Backend& cpu() { return find_backend("cpu"); }

std::vector<float> identity(int64_t n) {
  std::vector<float> matrix(static_cast<size_t>(n * n));
  for (int64_t i = 0; i < n; ++i) matrix[i * n + i] = 1;
  return matrix;
}

TEST(Rotation, IsOrthogonalAndSpreadsEveryNumber) {
  for (const int64_t n : {1, 2, 3, 8, 12, 48, 63, 64, 288}) {
    const Rotation rotation(n);
    std::vector<float> r = identity(n), transposed = identity(n);
    rotation.turn_columns(r.data(), n, n);        // I R
    rotation.turn_rows(transposed.data(), n, n);  // R^T I
    std::vector<float> product = r;
    rotation.turn_rows(product.data(), n, n);  // R^T R
    float largest = 0;
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        ASSERT_NEAR(product[i * n + j], i == j ? 1 : 0, 2e-6) << n;
        ASSERT_NEAR(r[i * n + j], transposed[j * n + i], 2e-6) << n;
        largest = std::max(largest, std::abs(r[i * n + j]));
      }
    }
    EXPECT_LT(largest, 1.5f / std::sqrt(static_cast<float>(n))) << n;
  }
}

TEST(Rotation, TurnsBlocksOfRowsAndColumnsAlone) {
  const Rotation rotation(4);
  std::vector<float> x(static_cast<size_t>(8 * 12));
  Rng rng(3);
  for (float& value : x) value = rng.next_uniform();
  std::vector<float> rows = x, second(x.begin() + 4 * 12, x.end());
  rotation.turn_rows(rows.data(), 8, 12);
  rotation.turn_rows(second.data(), 4, 12);
  EXPECT_TRUE(std::equal(second.begin(), second.end(), rows.begin() + 4 * 12));
  std::vector<float> columns = x;
  rotation.turn_columns(columns.data(), 8, 12);
  for (int64_t r = 0; r < 8; ++r) {
    for (int64_t c = 0; c < 12; c += 4) {
      float before = 0, after = 0;
      for (int64_t i = c; i < c + 4; ++i) {
        before += x[r * 12 + i] * x[r * 12 + i];
        after += columns[r * 12 + i] * columns[r * 12 + i];
      }
      EXPECT_NEAR(before, after, 1e-5);
    }
  }
}

LoadOptions in_f32() {
  LoadOptions options;
  options.set_format(parse_format_pair("f32"));
  options.policy.embedding.same = true;
  options.kv_format = format_of(FormatId::kF32);
  return options;
}

TEST(Rotation, LeavesWhatTheModelComputes) {
  for (const std::string& name :
       golden::case_names()) {  // tied, biases, grouped queries, odd sizes
    const golden::Case golden = golden::read_case(name);
    const LoadedModel loaded = golden::load_case(golden, cpu());
    const LoadOptions options = in_f32();
    const RotatedCheckpoint rotated(*loaded.checkpoint, options.policy);
    const auto before =
        golden::logits_of(*load_model(*loaded.checkpoint, cpu(), options), cpu(), golden.prompt);
    const auto after =
        golden::logits_of(*load_model(rotated, cpu(), options), cpu(), golden.prompt);
    ASSERT_EQ(before.size(), after.size());
    for (size_t i = 0; i < before.size(); ++i) ASSERT_NEAR(before[i], after[i], 3e-4) << name;
    const std::string v = "model.layers.0.self_attn.v_proj.weight";
    const RotationPlan plan = rotation_plan(*loaded.checkpoint);
    for (const TurnedTensor& turned : plan.tensors) {
      if (turned.name != v) continue;
      EXPECT_NE(decode_rows(rotated.tensor(v, turned.n, turned.k)),
                decode_rows(loaded.checkpoint->tensor(v, turned.n, turned.k)));
    }
  }
}

TEST(Rotation, InputsAreThoseThatTheRotatedModelReads) {
  const golden::Case golden = golden::read_case("gqa4");
  const LoadedModel loaded = golden::load_case(golden, cpu());
  const LoadOptions options = in_f32();
  const RotatedCheckpoint rotated(*loaded.checkpoint, options.policy);
  const auto stored = load_model(*loaded.checkpoint, cpu(), options),
             turned = load_model(rotated, cpu(), options);
  const CalibrateOptions how = {.ctx = 16, .hessians = true};
  Calibration before(*stored, cpu(), golden.prompt, how), after(*turned, cpu(), golden.prompt, how);
  RotatedInputs inputs(before, rotated);
  for (const char* tensor :
       {"model.layers.0.self_attn.q_proj.weight", "model.layers.1.self_attn.o_proj.weight",
        "model.layers.1.mlp.down_proj.weight", "lm_head.weight"}) {
    const InputStats *expected = after.find(tensor), *found = inputs.find(tensor);
    ASSERT_TRUE(expected && found) << tensor;
    double mean = 0;
    for (const float square : expected->mean_square) mean += square;
    mean /= static_cast<double>(expected->mean_square.size());
    for (size_t i = 0; i < expected->hessian.size(); ++i) {
      ASSERT_NEAR(expected->hessian[i], found->hessian[i], 1e-3 * mean) << tensor;
    }
    for (size_t i = 0; i < expected->mean_square.size(); ++i) {
      ASSERT_NEAR(expected->mean_square[i], found->mean_square[i], 1e-3 * mean) << tensor;
    }
  }
}

TEST(Rotation, WhatStaysAsStoredKeepsItsType) {
  const golden::Case golden = golden::read_case("tied");
  const LoadedModel loaded = golden::load_case(golden, cpu());
  LayerPolicy policy;
  policy.all.format = parse_format("int4-g32");
  const RotatedCheckpoint rotated(*loaded.checkpoint, policy);
  const RotationPlan plan = rotation_plan(*loaded.checkpoint);
  EXPECT_TRUE(plan.unties);
  for (const TurnedTensor& turned : plan.tensors) {
    const Format stored = loaded.checkpoint->outline(turned.from, turned.n, turned.k).format;
    const Format served = rotated.tensor(turned.name, turned.n, turned.k).format;
    EXPECT_EQ(served, rotated.outline(turned.name, turned.n, turned.k).format) << turned.name;
    EXPECT_EQ(served, turned.layer == "embedding" ? stored : format_of(FormatId::kF32))
        << turned.name;
  }
}

}  // namespace
}  // namespace lowbit
