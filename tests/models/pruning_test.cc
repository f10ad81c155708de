// Which blocks of a matrix become zero, and of which layers of a model.
#include "models/pruning.h"

#include <gtest/gtest.h>

#include "backends.h"
#include "engine/prepared.h"
#include "formats/codec.h"
#include "models/golden_cases.h"
#include "models/method_policy.h"

namespace lowbit {
namespace {

TEST(Pruning, TakesTheBlocksOfLeastMagnitude) {
  // Blocks of 2 x 2, the last column and the last row of blocks narrower.
  std::vector<float> w = {9, 9, 1, 1, 3,  //
                          9, 9, 1, 1, 3,  //
                          2, 2, 8, 8, 0};
  prune_blocks({0.5, 2}, 3, 5, w.data());          // three of six: 0, 4 (1s), 8 (2s)
  EXPECT_EQ(w, (std::vector<float>{9, 9, 0, 0, 3,  //
                                   9, 9, 0, 0, 3,  //
                                   0, 0, 8, 8, 0}));
  std::vector<float> same(16, 1.0f);
  prune_blocks({0.75, 2}, 4, 4, same.data());  // of equal blocks the first
  EXPECT_EQ(same, (std::vector<float>{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 1}));
}

TEST(Pruning, IsOfTheFeedForwardLayersAlone) {
  const golden::Case golden = golden::read_case("gqa4");
  const Backend& cpu = find_backend("cpu");
  const LoadedModel loaded = golden::load_case(golden, cpu);
  const LayerPolicy policy = policy_of(parse_method("baseline+bsr-0.75-16"));
  const PreparedWeights prepared(*loaded.checkpoint, cpu, policy, {});
  for (const TensorUse& use : loaded.model->tensors()) {
    const QTensor before = loaded.checkpoint->tensor(use.tensor, use.n, use.k),
                  after = prepared.checkpoint().tensor(use.tensor, use.n, use.k);
    EXPECT_EQ(after.format, before.format);
    const std::vector<float> was = decode_rows(before), is = decode_rows(after);
    const bool feed_forward = use.tensor.find("mlp.") != std::string::npos;
    const auto zeros = std::count(is.begin(), is.end(), 0.0f);
    if (feed_forward) {
      EXPECT_GE(zeros, use.n * use.k * 3 / 4 - 16 * 16) << use.tensor;
      for (size_t i = 0; i < is.size(); ++i) {
        ASSERT_TRUE(is[i] == 0 || is[i] == was[i]) << use.tensor;
      }
    } else {
      EXPECT_EQ(is, was) << use.tensor;
    }
  }
}

}  // namespace
}  // namespace lowbit
