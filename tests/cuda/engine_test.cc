// The embedded model on the GPU: captured steps against the same kernels op by op, decoding ahead
// of the host, and the cpu backend's tokens.
#include <algorithm>
#include <cstring>

#include "cpu/backend.h"
#include "cuda/backend.h"
#include "cuda/embedded_gpu.h"
#include "engine/generate.h"
#include "engine/loaded_model.h"
#include "models/scaling.h"

namespace lowbit {
namespace {

using Tokens = std::vector<int32_t>;

LoadedModel load_prose(const Backend& backend, const std::string& format, StepPlan plan,
                       FormatId cache = FormatId::kBF16) {
  LoadOptions options;
  if (!format.empty()) options.set_format(parse_format_pair(format));
  options.kv_format = format_of(cache);
  options.plan = plan;
  return load(std::string("embedded:") + kModel, backend, options);
}

std::vector<float> copied(std::span<const float> values) { return {values.begin(), values.end()}; }

// How many numbers differ in any bit.
int64_t different_bits(const std::vector<float>& a, const std::vector<float>& b) {
  int64_t count = std::abs(static_cast<int64_t>(a.size()) - static_cast<int64_t>(b.size()));
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    count += std::memcmp(&a[i], &b[i], sizeof(float)) != 0;
  }
  return count;
}

Tokens prompt_of(int32_t length, int32_t seed) {
  Tokens ids;
  for (int32_t i = 0; i < length; ++i) ids.push_back((i * 7919 + seed * 104729) % 4000);
  return ids;
}

class CudaEngine : public EmbeddedOnGpu {};

// Five sequences of different lengths over 300 tokens, which crosses pages of the cache.
TEST_F(CudaEngine, ReplayedStepsEqualTheSameKernelsOpByOp) {
  struct Case {
    const char* format;
    FormatId cache;
  };
  for (const Case& c : {Case{"", FormatId::kBF16}, Case{"int8", FormatId::kBF16},
                        Case{"int4", FormatId::kF32}, Case{"mxfp4", FormatId::kF16}}) {
    SCOPED_TRACE(c.format);
    const LoadedModel loaded = load_prose(cuda_backend(), c.format, StepPlan::kGraph, c.cache);
    const StepperOptions options{.max_sequences = 5};
    StepperOptions graph_options = options;
    graph_options.plan = StepPlan::kGraph;
    Stepper a(*loaded.model, cuda_backend(), options);
    Stepper b(*loaded.model, cuda_backend(), graph_options);
    std::vector<Tokens> prompts;
    std::vector<Chunk> chunks;
    Tokens sequences;
    std::vector<SampleParams> params;
    for (int32_t i = 0; i < 5; ++i) {
      prompts.push_back(prompt_of(1 + 31 * i, i));
      sequences.push_back(i);
      params.push_back({i % 2 == 0 ? 0.0f : 0.9f, i == 3 ? 20 : 0, i == 1 ? 0.9f : 1.0f,
                        static_cast<uint64_t>(i)});
    }
    for (int32_t i = 0; i < 5; ++i) chunks.push_back({i, prompts[static_cast<size_t>(i)], 1});
    a.step(chunks);
    b.step(chunks);
    ASSERT_EQ(different_bits(copied(a.logits()), copied(b.logits())), 0);
    b.start_decode(sequences, params);
    b.decode();
    Tokens tokens(5);
    for (int32_t step = 0; step < 300; ++step) {
      for (int32_t i = 0; i < 5; ++i) tokens[i] = a.sample(i, params[i]);
      const auto drawn = b.drawn();
      ASSERT_EQ(Tokens(drawn.begin(), drawn.end()), tokens) << "step " << step;
      chunks.clear();
      for (int32_t i = 0; i < 5; ++i) chunks.push_back({i, {&tokens[i], 1}, 1});
      a.step(chunks);
      if (step % 16 == 0 || step > 290) {
        ASSERT_EQ(different_bits(copied(a.logits()), copied(b.logits())), 0) << "step " << step;
      }
      if (step < 299) b.decode();
    }
    EXPECT_EQ(b.captured(), 1u);
  }
}

// A token alone over up to kShortContext positions is captured apart from one over more.
TEST_F(CudaEngine, ReplayedStepsPassTheShortContext) {
  for (const char* format : {"", "int8", "nvfp4"}) {
    SCOPED_TRACE(format);
    LoadOptions load_options;
    if (*format != 0) load_options.set_format(parse_format_pair(format));
    load_options.plan = StepPlan::kGraph;
    const auto model = load_model(*open_checkpoint("synthetic:tiny"), cuda_backend(), load_options);
    Stepper a(*model, cuda_backend(), {});
    Stepper b(*model, cuda_backend(), {.plan = StepPlan::kGraph});
    for (Stepper* s : {&a, &b}) {
      Tokens prompt = prompt_of(kShortContext - 8, 1);
      for (int32_t& id : prompt) id %= model->vocab_size();
      s->prefill(0, prompt);
    }
    b.start_decode(std::array{0}, std::array{SampleParams{}});
    b.decode();
    for (int32_t step = 0; step < 20; ++step) {
      const int32_t token = a.sample(0, {});
      ASSERT_EQ(b.drawn()[0], token) << "position " << b.length(0);
      a.step(std::array{Chunk{0, {&token, 1}, 1}});
      ASSERT_EQ(different_bits(copied(a.logits()), copied(b.logits())), 0)
          << "position " << b.length(0);
      b.decode();
    }
    EXPECT_EQ(b.captured(), 2u);
  }
}

TEST_F(CudaEngine, PromptsOfUpTo32TokensAreReplayed) {
  const LoadedModel loaded = load_prose(cuda_backend(), "int8", StepPlan::kGraph);
  Stepper a(*loaded.model, cuda_backend(), {});
  Stepper b(*loaded.model, cuda_backend(), {.plan = StepPlan::kGraph});
  const int32_t lengths[] = {1, 2, 6, 8, 9, 17, 32, 33, 100};
  for (int32_t run = 0; run < 3; ++run) {
    for (const int32_t length : lengths) {
      for (Stepper* s : {&a, &b}) {
        s->truncate(0, 0);
        s->prefill(0, prompt_of(length, run));
      }
      ASSERT_EQ(different_bits(copied(a.logits()), copied(b.logits())), 0)
          << length << " tokens, run " << run;
    }
  }
  EXPECT_EQ(b.captured(), 7u);
}

// The two plans round differently (of many tokens in bf16, x before or after its norm); both are
// far closer to each other than formats are.
TEST_F(CudaEngine, FusedKernelsComputeWhatSeparateOpsDo) {
  for (const char* format : {"", "int8", "int4", "nvfp4", "ternary", "int8+int8"}) {
    SCOPED_TRACE(format);
    const LoadedModel eager = load_prose(cuda_backend(), format, StepPlan::kEager);
    const LoadedModel graph = load_prose(cuda_backend(), format, StepPlan::kGraph);
    Stepper a(*eager.model, cuda_backend(), {});
    Stepper b(*graph.model, cuda_backend(), {.plan = StepPlan::kGraph});
    for (const int32_t length : {1, 7, 40}) {  // then decode with a token of its own
      Tokens prompt = prompt_of(length, 3);
      for (Stepper* s : {&a, &b}) {
        s->truncate(0, 0);
        s->prefill(0, prompt);
        s->prefill(0, prompt_of(1, 4));
      }
      const std::vector<float> x = copied(a.logits()), y = copied(b.logits());
      double error = 0, squares = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        error += (double{x[i]} - y[i]) * (double{x[i]} - y[i]);
        squares += double{x[i]} * x[i];
      }
      EXPECT_LT(error, (length > 8 ? 0x1p-14 : 1e-5) * squares) << length << " tokens";
    }
  }
}

std::vector<std::vector<std::byte>> planes_of(const DeviceTensor& tensor) {
  std::vector<std::vector<std::byte>> planes;
  for (const DeviceBytes& plane : tensor.planes) {
    planes.emplace_back(plane.data ? plane.size : 0);
    if (plane.data) cuda_backend().copy_out(planes.back().data(), plane.data, plane.size, nullptr);
  }
  return planes;
}

// Layers of synthetic weights are turned and stacked on the device.
TEST_F(CudaEngine, LayersThatShareWeightsArePackedAsIfEachHadItsOwn) {
  const auto checkpoint = open_checkpoint("synthetic:tiny");
  const ScaledCheckpoint apart(*checkpoint);  // scales nothing, and tells of no shared rows
  for (const char* format : {"", "int8", "int8-tensor", "int4", "int4-g8", "int4-sym-24", "mxfp4",
                             "nvfp4", "q4_k", "ternary5", "fp8-b128x128"}) {
    LoadOptions options;
    options.plan = StepPlan::kGraph;
    if (*format != 0) options.policy.all.format = parse_format(format);
    const auto turned = load_model(*checkpoint, cuda_backend(), options);
    const auto expected = load_model(apart, cuda_backend(), options);
    ASSERT_EQ(turned->linears().size(), expected->linears().size());
    for (size_t i = 0; i < turned->linears().size(); ++i) {
      const Linear &a = *turned->linears()[i], &b = *expected->linears()[i];
      EXPECT_EQ(a.resident, b.resident);
      EXPECT_TRUE(planes_of(a.weight) == planes_of(b.weight)) << format << " " << a.name;
    }
  }
}

// The best logit's lead over the second after these tokens.
double lead(const LoadedModel& model, const Tokens& tokens) {
  Stepper s(*model.model, *model.backend, {});
  s.prefill(0, tokens);
  std::vector<float> logits = copied(s.logits());
  std::partial_sort(logits.begin(), logits.begin() + 2, logits.end(), std::greater<float>());
  return double{logits[0]} - logits[1];
}

TEST_F(CudaEngine, WritesWhatTheCpuWrites) {
  for (const char* format : {"", "int8", "int4", "nvfp4", "int2"}) {
    const LoadedModel cpu = load_prose(cpu_backend(), format, StepPlan::kEager);
    for (const StepPlan plan : {StepPlan::kEager, StepPlan::kGraph}) {
      SCOPED_TRACE(std::string(format) + " " + std::string(name(plan)));
      const LoadedModel gpu = load_prose(cuda_backend(), format, plan);
      const Tokens prompt = gpu.tokenizer->encode("The morning was cold and");
      const GenerateOptions options{.max_new_tokens = 128};
      Stepper a(*cpu.model, cpu_backend(), {});
      Stepper b(*gpu.model, cuda_backend(), {.plan = plan});
      const Tokens want = generate(a, prompt, options, nullptr, nullptr).ids;
      const Tokens got = generate(b, prompt, options, nullptr, nullptr).ids;
      ASSERT_EQ(got.size(), want.size());
      const auto at = std::mismatch(want.begin(), want.end(), got.begin()).first;
      if (at == want.end()) continue;
      Tokens before = prompt;
      before.insert(before.end(), want.begin(), at);
      EXPECT_LT(lead(cpu, before), 0.05) << "token " << at - want.begin();
    }
  }
}

TEST_F(CudaEngine, DecodingAheadStopsWhereTheEagerPlanStops) {
  const LoadedModel loaded = load_prose(cuda_backend(), "int8", StepPlan::kGraph);
  const Tokens prompt = prompt_of(9, 1);
  for (const SampleParams& sampling : {SampleParams{0, 0, 1, 0}, SampleParams{1, 40, 0.95f, 3}}) {
    const StepperOptions options{.max_context = 140};
    StepperOptions graph_options = options;
    graph_options.plan = StepPlan::kGraph;
    Stepper a(*loaded.model, cuda_backend(), options);
    Stepper b(*loaded.model, cuda_backend(), graph_options);
    const auto check = [&](const GenerateOptions& o, StopReason reason) {
      GenerateResult results[2];
      for (int i = 0; i < 2; ++i) {
        Stepper& s = i == 0 ? a : b;
        s.truncate(0, 0);
        results[i] = generate(s, prompt, o, nullptr, nullptr);
      }
      EXPECT_EQ(results[1].ids, results[0].ids);
      EXPECT_EQ(results[0].stopped, reason);
      EXPECT_EQ(results[1].stopped, reason);
      EXPECT_EQ(results[1].decode_steps, results[0].decode_steps);
      EXPECT_EQ(b.length(0), a.length(0));
      return results[1].ids;
    };
    GenerateOptions o{.sampling = sampling, .max_new_tokens = 1000};
    const Tokens all = check(o, StopReason::kContextFull);
    EXPECT_EQ(all.size(), 140u - 9 + 1);
    o.stop_ids = {all[70]};
    check(o, StopReason::kStopId);
    o.stop_ids = {all[0]};
    check(o, StopReason::kStopId);
    o.stop_ids = {};
    for (const int32_t most : {1, 2, 3, 64}) {
      o.max_new_tokens = most;
      EXPECT_EQ(check(o, StopReason::kMaxNewTokens), Tokens(all.begin(), all.begin() + most));
    }
    // A draw under a mask still goes through the host, between two runs of decode().
    b.truncate(0, 0);
    b.prefill(0, prompt);
    std::vector<uint32_t> mask(static_cast<size_t>((b.vocab_size() + 31) / 32), 0);
    mask[3] = 1u << 5;
    EXPECT_EQ(b.sample(0, sampling, mask.data()), 3 * 32 + 5);
    EXPECT_EQ(b.sample(0, sampling), all[0]);
  }
}

}  // namespace
}  // namespace lowbit
