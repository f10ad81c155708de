// Calibration and scaling on real models: the goldens' tiny Llamas and the one that is linked in.
#include "engine/calibrate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "backends.h"
#include "base/check.h"
#include "base/rng.h"
#include "engine/perplexity.h"
#include "formats/codec.h"
#include "models/awq.h"
#include "models/golden_cases.h"

namespace lowbit {
namespace {

const Backend& cpu() { return find_backend("cpu"); }

struct Tiny {
  golden::Case golden = golden::read_case("gqa4");
  LoadedModel loaded = golden::load_case(golden, cpu());
};

// What a step of the model puts into one Linear, seen from outside.
class Spy final : public Trace {
 public:
  explicit Spy(std::string op) : op_(std::move(op)) {}
  void begin(const OpTag&) override {}
  void end(const OpTag& tag, std::string_view, const OpCost& cost) override {
    if (tag.text() != op_) return;
    const OutBuffer& in = cost.inputs.at(0);
    rows = in.rows;
    k = in.cols;
    for (int64_t r = 0; r < rows; ++r) {
      const auto* row = static_cast<const std::byte*>(in.values.data) +
                        r * row_bytes(format_of(in.values.format), in.values.ld);
      x.resize(x.size() + static_cast<size_t>(k));
      decode_plain(in.values.format, row, k, &x[x.size() - static_cast<size_t>(k)]);
    }
  }
  std::vector<float> x;
  int64_t rows = 0, k = 0;

 private:
  std::string op_;
};

TEST(Calibration, SumsWhatTheLinearsRead) {
  const Tiny tiny;
  const auto ctx = static_cast<int32_t>(tiny.golden.prompt.size());
  Calibration calibration(*tiny.loaded.model, cpu(), tiny.golden.prompt,
                          {.ctx = ctx, .hessians = true});
  for (const auto& [tensor, op] : std::map<std::string, std::string>{
           {"model.layers.1.self_attn.k_proj.weight", "layers.1.qkv"},
           {"model.layers.0.mlp.down_proj.weight", "layers.0.down"},
           {"lm_head.weight", "head"}}) {
    Spy spy(op);
    Stepper stepper(*tiny.loaded.model, cpu(), {.max_context = ctx, .max_step_tokens = ctx});
    stepper.set_trace(&spy);
    const Chunk chunk{0, tiny.golden.prompt, ctx};
    stepper.step(std::span(&chunk, 1));
    const InputStats* stats = calibration.find(tensor);
    ASSERT_TRUE(stats) << tensor;
    ASSERT_EQ(stats->rows, spy.rows);
    for (int64_t i = 0; i < spy.k; ++i) {
      for (int64_t j = 0; j < spy.k; ++j) {
        double sum = 0, abs = 0;
        for (int64_t r = 0; r < spy.rows; ++r) {
          sum += double{spy.x[r * spy.k + i]} * spy.x[r * spy.k + j];
          abs += std::abs(spy.x[r * spy.k + i]);
        }
        const auto rows = static_cast<double>(spy.rows);
        ASSERT_NEAR(stats->hessian[i * spy.k + j], sum / rows, 1e-5 * (1 + std::abs(sum / rows)));
        if (i != j) continue;
        ASSERT_NEAR(stats->mean_square[i], sum / rows, 1e-5 * (1 + sum / rows));
        ASSERT_NEAR(stats->mean_abs[i], abs / rows, 1e-5 * (1 + abs / rows));
      }
    }
  }
  EXPECT_EQ(calibration.find("model.norm.weight"), nullptr);
}

TEST(Calibration, PassesDoNotChangeWhatItSays) {
  const Tiny tiny;
  Calibration at_once(*tiny.loaded.model, cpu(), tiny.golden.prompt, {.ctx = 8, .hessians = true});
  Calibration piecewise(*tiny.loaded.model, cpu(), tiny.golden.prompt,
                        {.ctx = 8, .hessians = true, .max_bytes = 1});
  const std::vector<const Linear*> linears = tiny.loaded.model->linears();
  for (const Linear* linear : linears) {
    const InputStats *a = at_once.find(linear->name), *b = piecewise.find(linear->name);
    ASSERT_TRUE(a && b) << linear->name;
    EXPECT_EQ(a->hessian, b->hessian) << linear->name;
    EXPECT_EQ(a->mean_square, b->mean_square) << linear->name;
    EXPECT_EQ(a->rows, static_cast<int64_t>(tiny.golden.prompt.size())) << linear->name;
  }
  EXPECT_EQ(at_once.passes(), 1);
  EXPECT_EQ(piecewise.passes(), static_cast<int>(linears.size()));
}

TEST(Calibration, NothingToReadIsAnError) {
  const Tiny tiny;
  EXPECT_THROW(Calibration(*tiny.loaded.model, cpu(), {}, {}), Error);
  EXPECT_THROW(Calibration(*tiny.loaded.model, cpu(), tiny.golden.prompt, {.ctx = 1 << 20}), Error);
}

TEST(Scaling, LeavesWhatTheModelComputes) {
  for (const std::string& name : golden::case_names()) {  // with and without biases, grouped or not
    const golden::Case golden = golden::read_case(name);
    const LoadedModel loaded = golden::load_case(golden, cpu());
    ScaledCheckpoint scaled(*loaded.checkpoint);
    const std::vector<ScalingGroup> groups = scaling_groups(*loaded.checkpoint);
    ASSERT_FALSE(groups.empty());
    Rng rng(61);
    for (const ScalingGroup& group : groups) {
      std::vector<float> s(static_cast<size_t>(group.elements()));
      for (float& value : s) value = std::exp2(4 * rng.next_uniform() - 2);
      scaled.scale(group, s);
    }
    LoadOptions options;
    options.kv_format = format_of(FormatId::kF32);
    const auto model = load_model(scaled, cpu(), options);
    const std::vector<float> before = golden::logits_of(*loaded.model, cpu(), golden.prompt);
    const std::vector<float> after = golden::logits_of(*model, cpu(), golden.prompt);
    ASSERT_EQ(before.size(), after.size());
    for (size_t i = 0; i < before.size(); ++i) ASSERT_NEAR(before[i], after[i], 3e-4) << name;
  }
}

// The embedded model, quantized with what it reads on text that it wrote itself.
class Embedded : public testing::Test {
 protected:
  static constexpr int32_t kCtx = 128, kBos = 4094;
  Embedded() {
    Stepper writer(*loaded_.model, cpu(), {.max_context = 512});
    std::vector<int32_t> text = {kBos};
    writer.prefill(0, text);
    for (int i = 0; i < 500; ++i) {
      text.push_back(writer.sample(0, {.temperature = 1, .top_k = 0, .top_p = 1, .seed = 7}));
      writer.prefill(0, std::span<const int32_t>(text).last(1));
    }
    tokens_.assign(text.begin() + 1, text.end());
  }

  double divergence_of(const Checkpoint& checkpoint, const LoadOptions& options) {
    const auto model = load_model(checkpoint, cpu(), options);
    Stepper tested(*model, cpu(), {.max_context = kCtx});
    Stepper reference(*loaded_.model, cpu(), {.max_context = kCtx});
    return divergence(score(tested, &reference, scored(), {.ctx = kCtx, .bos = kBos})).mean;
  }
  std::span<const int32_t> seen() const { return std::span<const int32_t>(tokens_).first(340); }
  std::span<const int32_t> scored() const { return std::span<const int32_t>(tokens_).last(160); }

  LoadedModel loaded_ = load("embedded:prose-7m", cpu(), {});
  std::vector<int32_t> tokens_;
};

// Rows are learned one by one, so that some of each tensor say what all do.
TEST_F(Embedded, AutoroundHasNoLayerWorseThanRoundToNearest) {
  constexpr int64_t kRows = 4;
  constexpr int32_t kSteps = 12;
  const Format format = parse_format("int4-g64");
  Calibration calibration(*loaded_.model, cpu(), seen(),
                          {.ctx = kCtx, .bos = kBos, .hessians = true});
  double all_rtn = 0, all_autoround = 0;
  for (const TensorUse& use : loaded_.model->tensors()) {
    if (use.role != TensorRole::kLinear) continue;
#ifdef LB_SANITIZED  // a minute for all
    if (use.tensor.find("layers.0.") == std::string::npos) continue;
#endif
    const QTensor w = slice_rows(loaded_.checkpoint->tensor(use.tensor, use.n, use.k), 0, kRows);
    const InputStats* stats = calibration.find(use.tensor);
    ASSERT_TRUE(stats) << use.tensor;
    const auto error = [&](const QTensor& q) {
      const std::vector<float> before = decode_rows(w), after = decode_rows(q);
      double sum = 0;
      for (int64_t r = 0; r < kRows; ++r) {
        for (int64_t i = 0; i < w.k; ++i) {
          double slope = 0;
          for (int64_t j = 0; j < w.k; ++j) {
            slope += double{before[r * w.k + j] - after[r * w.k + j]} * stats->hessian[i * w.k + j];
          }
          sum += double{before[r * w.k + i] - after[r * w.k + i]} * slope;
        }
      }
      return sum;
    };
    const QuantizeContext context = {use.tensor, stats, kSteps};
    const double rtn = error(quantize_rtn(w, format, context));
    const double autoround = error(quantize_autoround(w, format, context));
    EXPECT_LE(autoround, rtn) << use.tensor;
    all_rtn += rtn;
    all_autoround += autoround;
  }
  EXPECT_LT(all_autoround, 0.8 * all_rtn);
}

#ifdef LB_SANITIZED  // half a minute for each
constexpr const char* kCloser[] = {"gptq-order"};
#else
constexpr const char* kCloser[] = {"mse", "importance", "hqq", "gptq", "gptq-mse", "gptq-order"};
#endif

TEST_F(Embedded, EveryQuantizerStaysCloserThanRoundToNearest) {
  Calibration calibration(*loaded_.model, cpu(), seen(),
                          {.ctx = kCtx, .bos = kBos, .hessians = true});
  LoadOptions options;
  options.set_format(parse_format_pair("int3"));
  options.inputs = &calibration;
  const auto closeness = [&](const char* quantizer) {
    options.policy.all.quantizer = &find_quantizer(quantizer);
    return divergence_of(*loaded_.checkpoint, options);
  };
  const double rtn = closeness("rtn");
  for (const char* quantizer : kCloser) {
    EXPECT_LT(closeness(quantizer), rtn) << quantizer;
  }
}

}  // namespace
}  // namespace lowbit
