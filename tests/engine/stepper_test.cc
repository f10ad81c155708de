#include "engine/stepper.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "base/check.h"
#include "engine/fakes.h"
#include "ref/backend.h"

namespace lowbit {
namespace {

constexpr int32_t kVocab = 70;  // more than two mask words, the last one not full

// Token t at position p prefers token (t + p) % vocab, then the next ones.
fakes::FakeModel model(int32_t context = 32) {
  return {kVocab, context, [](int32_t token, int32_t pos, float* logits) {
            for (int32_t j = 0; j < kVocab; ++j) {
              logits[j] = -static_cast<float>((j - token - pos + 2 * kVocab) % kVocab);
            }
          }};
}

std::vector<uint32_t> mask_of(std::initializer_list<int32_t> allowed) {
  std::vector<uint32_t> mask((kVocab + 31) / 32, 0);
  for (const int32_t id : allowed) mask[id / 32] |= 1u << (id % 32);
  return mask;
}

TEST(Stepper, LogitRowsFollowTheChunks) {
  const fakes::FakeModel m = model();
  Stepper stepper(m, ref_backend(), {.max_sequences = 2});
  const std::vector<int32_t> a = {10, 20, 30}, b = {40};
  const Chunk chunks[] = {{0, a, 2}, {1, b, 1}};
  stepper.step(chunks);
  EXPECT_EQ(stepper.logits().size(), 3u * kVocab);
  EXPECT_EQ(stepper.sample(0, {}), 20 + 1);
  EXPECT_EQ(stepper.sample(1, {}), 30 + 2);
  EXPECT_EQ(stepper.sample(2, {}), 40 + 0);
  EXPECT_EQ(stepper.length(0), 3);
  EXPECT_EQ(stepper.length(1), 1);
}

TEST(Stepper, AMaskForcesTheBestAllowedToken) {
  const fakes::FakeModel m = model();
  Stepper stepper(m, ref_backend(), {});
  stepper.prefill(0, std::vector<int32_t>{5});
  EXPECT_EQ(stepper.sample(0, {}, mask_of({69}).data()), 69);
  EXPECT_EQ(stepper.sample(0, {}, mask_of({4, 33, 69}).data()), 33);
  const SampleParams hot{5, 0, 1, 7};
  for (int i = 0; i < 5; ++i) EXPECT_EQ(stepper.sample(0, hot, mask_of({64}).data()), 64);
  EXPECT_THROW(stepper.sample(0, {}, mask_of({}).data()), Error);
  EXPECT_THROW(stepper.sample(0, hot, mask_of({}).data()), Error);
}

TEST(Stepper, BadTokensAndContextsAreErrors) {
  const fakes::FakeModel m = model(8);
  Stepper stepper(m, ref_backend(), {});
  EXPECT_THROW(stepper.prefill(0, std::vector<int32_t>{kVocab}), Error);
  EXPECT_THROW(stepper.prefill(0, std::vector<int32_t>{-1}), Error);
  EXPECT_THROW(stepper.prefill(0, std::vector<int32_t>(9, 1)), Error);
  for (const int32_t context : {9, -1, 1 << 30, std::numeric_limits<int32_t>::max()}) {
    EXPECT_THROW(Stepper(m, ref_backend(), {.max_context = context}), Error) << context;
  }
}

TEST(Stepper, ALongPromptTakesSeveralSteps) {
  const fakes::FakeModel m = model();
  Stepper stepper(m, ref_backend(), {.max_step_tokens = 4});
  std::vector<int32_t> prompt(11, 3);
  prompt.back() = 9;
  stepper.prefill(0, prompt);
  EXPECT_EQ(stepper.length(0), 11);
  EXPECT_EQ(stepper.sample(0, {}), 9 + 10);
}

int g_waits = 0;
bool g_fails = false;

TEST(Stepper, LaunchBlockingWaitsAfterEveryOpAndNamesTheOneThatFailed) {
  Backend backend = ref_backend();
  backend.synchronize = [](Stream) {
    ++g_waits;
    if (g_fails) throw_error("CUDA: an illegal memory access was encountered");
  };
  const fakes::FakeModel m = model();
  const auto waits = [&] {
    Stepper stepper(m, backend, {});
    stepper.prefill(0, std::vector<int32_t>{5});
    g_waits = 0;
    stepper.sample(0, {});
    return g_waits;
  };
  EXPECT_EQ(waits(), 0);
  for (const char* name : {"LOWBIT_LAUNCH_BLOCKING", "CUDA_LAUNCH_BLOCKING"}) {
    ::setenv(name, "1", 1);
    EXPECT_EQ(waits(), 1) << name;
    g_fails = true;
    try {
      waits();
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_STREQ(error.what(), "sample: CUDA: an illegal memory access was encountered");
    }
    g_fails = false;
    ::setenv(name, "0", 1);
    EXPECT_EQ(waits(), 0) << name;
    ::unsetenv(name);
  }
  ::setenv("LOWBIT_LAUNCH_BLOCKING", "yes", 1);
  EXPECT_THROW(waits(), Error);
  ::unsetenv("LOWBIT_LAUNCH_BLOCKING");
}

}  // namespace
}  // namespace lowbit
