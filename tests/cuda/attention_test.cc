// Attention on the GPU against the reference, on the same cache.
#include <fmt/core.h>

#include <array>

#include "cuda/attention_token.h"
#include "cuda/on_gpu.h"
#include "cuda/ops.h"
#include "kernels/linear_setup.h"
#include "ref/ops.h"

namespace lowbit {
namespace {

using namespace test;

struct Heads {
  int32_t heads, kv_heads, head_dim, page_tokens = 64;
};

// Sequences with interleaved pages; `pos` and `slot` are of the tokens of a step. Rows that no
// token may see are NaN.
class Step {
 public:
  Step(const Heads& h, const char* cache, const std::vector<int32_t>& token_pos,
       const std::vector<int32_t>& token_slot)
      : pos(token_pos), slot(token_slot), h_(h), format_(parse_cache_format(cache)) {
    const int32_t sequences = *std::ranges::max_element(slot) + 1;
    std::vector<int32_t> length(static_cast<size_t>(sequences), 0);
    for (size_t t = 0; t < pos.size(); ++t) {
      length[slot[t]] = std::max(length[slot[t]], pos[t] + 1);
    }
    max_pages_ = *std::ranges::max_element(length) / h.page_tokens + 2;
    table_.assign(static_cast<size_t>(sequences * max_pages_), -1);
    int32_t pages = 0;
    for (int32_t page = max_pages_ - 1; page >= 0; --page) {
      for (int32_t s = 0; s < sequences; ++s) {
        if (page * h.page_tokens < length[s]) table_[s * max_pages_ + page] = pages++;
      }
    }
    rows_ = int64_t{pages} * h.kv_heads * h.page_tokens;
    k = build_qtensor(format_, rows_, h.head_dim);
    v = build_qtensor(format_, rows_, h.head_dim);
    fill(length);
    width_ = int64_t{h.heads + 2 * h.kv_heads} * h.head_dim;
    qkv = gaussian(static_cast<int64_t>(pos.size()) * width_, 6, 3);
    cos_sin = gaussian(static_cast<int64_t>(pos.size()) * h.head_dim, 6, 4);
  }

  KvView view(const Act& keys, const Act& values, const int32_t* table) const {
    return {keys, values, table, max_pages_, h_.page_tokens};
  }
  std::vector<float> reference(bool rope) {
    std::vector<float> x = qkv, out(pos.size() * h_.heads * h_.head_dim);
    const KvView kv = view(act_over(k), act_over(v), table_.data());
    if (rope)
      ref::rope_append(rope_args(x.data(), cos_sin.data(), pos.data(), slot.data(), kv), {});
    ref::attention(args(x.data(), pos.data(), slot.data(), kv, out.data(), FormatId::kF32), {});
    return out;
  }
  AttentionArgs args(const float* x, const int32_t* p, const int32_t* s, const KvView& kv,
                     void* out, FormatId format) const {
    const int32_t d = h_.heads * h_.head_dim;
    return {tokens(),
            h_.heads,
            h_.kv_heads,
            h_.head_dim,
            x,
            p,
            s,
            kv,
            1 / std::sqrt(static_cast<float>(h_.head_dim)),
            {out, nullptr, d, format}};
  }
  RopeAppendArgs rope_args(float* x, const float* table, const int32_t* p, const int32_t* s,
                           const KvView& kv) const {
    return {tokens(), h_.heads, h_.kv_heads, h_.head_dim, x, table, p, s, kv};
  }
  int32_t tokens() const { return static_cast<int32_t>(pos.size()); }
  const std::vector<int32_t>& table() const { return table_; }

  std::vector<int32_t> pos, slot;
  QTensorBuilder k, v;
  std::vector<float> qkv, cos_sin;

 private:
  void fill(const std::vector<int32_t>& length) {
    const std::vector<float> nan(static_cast<size_t>(h_.head_dim), kPoison);
    const std::vector<float> keys = gaussian(rows_ * h_.head_dim, 6, 1);
    const std::vector<float> values = gaussian(rows_ * h_.head_dim, 6, 2);
    store_rows(act_over(k), 0, rows_, h_.head_dim, keys.data());
    store_rows(act_over(v), 0, rows_, h_.head_dim, values.data());
    const KvView kv = view(act_over(k), act_over(v), table_.data());
    for (size_t s = 0; s < length.size(); ++s) {
      const auto sequence = static_cast<int32_t>(s);
      for (int32_t p = length[s]; p % h_.page_tokens != 0; ++p) {
        for (int32_t head = 0; head < h_.kv_heads; ++head) {
          const int64_t row = kv_row(kv, sequence, p, head, h_.kv_heads);
          store_row(act_over(k), row, h_.head_dim, nan.data());
          store_row(act_over(v), row, h_.head_dim, nan.data());
        }
      }
    }
  }
  Heads h_;
  Format format_;
  int32_t max_pages_ = 0;
  int64_t rows_ = 0, width_ = 0;
  std::vector<int32_t> table_;
};

// The setup in GPU memory.
struct StepOnGpu {
  explicit StepOnGpu(const Step& setup)
      : host(setup),
        k(setup.k.tensor),
        v(setup.v.tensor),
        qkv(setup.qkv),
        cos_sin(setup.cos_sin),
        pos(setup.pos),
        slot(setup.slot),
        table(setup.table()) {}

  KvView view() const { return host.view(k.act(), v.act(), table.as<int32_t>()); }
  AttentionArgs args(const OnGpu& out, FormatId format = FormatId::kF32) const {
    return host.args(qkv.as<float>(), pos.as<int32_t>(), slot.as<int32_t>(), view(), out.as(),
                     format);
  }
  RopeAppendArgs rope_args() const {
    return host.rope_args(qkv.as<float>(), cos_sin.as<float>(), pos.as<int32_t>(),
                          slot.as<int32_t>(), view());
  }
  OnGpu output() const {
    return OnGpu(std::vector<float>(host.qkv.size(), kPoison));  // more than enough
  }

  const Step& host;
  TensorOnGpu k, v;
  OnGpu qkv, cos_sin, pos, slot, table;
};

std::vector<int32_t> ones_each(size_t count) {
  std::vector<int32_t> slots(count);
  for (size_t i = 0; i < count; ++i) slots[i] = static_cast<int32_t>(i);
  return slots;
}

// Outputs are averages of numbers of size 1. In f32 they are as exact as the cpu's. Tensor cores
// take q and the weights as pairs of 16-bit numbers: bf16 pairs lose 2^-17 of each product of a
// score, whose sum of `head_dim` products, scaled, has size 1.
//
// Prompts have q and the weights rounded to bf16: scores of size 1 are off by less than 2^-8,
// weights by as much again.
constexpr double kPromptTolerance = 3 * 0x1p-8;
double tolerance(const char* cache, int32_t head_dim) {
  const bool mma = head_dim == 64 || head_dim == 128;
  return mma && std::string(cache) != "f32" ? 4 * 0x1p-17 : 4e-6;
}

void expect_near(const std::vector<float>& got, const std::vector<float>& want, double allowed) {
  for (size_t i = 0; i < want.size(); ++i) {
    ASSERT_NEAR(got[i], want[i], allowed) << "number " << i;
  }
}

constexpr const char* kTuned[] = {"f32", "bf16", "f16", "int8", "fp8", "int4", "int4-sym"};
constexpr const char* kOthers[] = {"int8-g32", "mxfp8", "mxfp4", "fp4", "int3", "ternary5-row"};
const std::vector<int32_t> kShort = {0, 1, 15, 16, 62, 63, 64, 127, 128, 254, 255, 256};
constexpr Heads kHeads[] = {{8, 2, 128},    {4, 4, 64},       {16, 2, 128},   {8, 1, 64},
                            {6, 2, 128},    {12, 1, 128, 16}, {4, 2, 80},     {6, 2, 18},
                            {10, 2, 36, 5}, {2, 1, 256},      {3, 3, 128, 8}, {16, 1, 72}};

std::string text(const Heads& h, const char* cache) {
  return fmt::format("{} heads, {} kv heads of {}, page {}, {}", h.heads, h.kv_heads, h.head_dim,
                     h.page_tokens, cache);
}

class CudaAttention : public GpuTest {
 protected:
  void expect_reference(const Heads& h, const char* cache, const std::vector<int32_t>& pos,
                        const std::vector<int32_t>& slot) {
    expect_reference(h, cache, pos, slot, 0, tolerance(cache, h.head_dim));
  }
  void expect_reference(const Heads& h, const char* cache, const std::vector<int32_t>& pos,
                        const std::vector<int32_t>& slot, int32_t sequences, double allowed) {
    SCOPED_TRACE(text(h, cache));
    Step setup(h, cache, pos, slot);
    const StepOnGpu gpu(setup);
    const OnGpu out = gpu.output();
    AttentionArgs args = gpu.args(out);
    args.sequences = sequences;
    cuda::attention(args, nullptr);
    LB_CUDA(cudaDeviceSynchronize());
    expect_near(out.read<float>(), setup.reference(false), allowed);
  }
};

TEST_F(CudaAttention, MatchesForEveryShapeAndNeverLooksAhead) {
  for (const Heads& h : kHeads) {
    for (const char* cache : kTuned) expect_reference(h, cache, kShort, ones_each(kShort.size()));
  }
}

TEST_F(CudaAttention, MatchesForCachesOfOtherFormats) {
  for (const char* cache : kOthers) {
    expect_reference({8, 2, 128}, cache, kShort, ones_each(kShort.size()));
    expect_reference({4, 2, 36}, cache, kShort, ones_each(kShort.size()));
  }
}

TEST_F(CudaAttention, MatchesForLongContexts) {
  const std::vector<int32_t> pos = {999, 4096, 2047, 2048};
  for (const char* cache : kTuned) expect_reference({8, 2, 128}, cache, pos, ones_each(4));
  expect_reference({4, 1, 64}, "bf16", pos, ones_each(4));
  expect_reference({40, 40, 64}, "int8", {1000, 300}, ones_each(2));
}

TEST_F(CudaAttention, MatchesForManyTokensOfASequence) {
  std::vector<int32_t> pos, slot;
  for (int32_t t = 0; t < 150; ++t) {
    pos.push_back(t < 20 ? 5 + t : 40 + t);
    slot.push_back(t < 20 ? 1 : 0);
  }
  for (const char* cache : {"f32", "bf16", "int4", "mxfp8"}) {
    expect_reference({8, 2, 128}, cache, pos, slot);
    expect_reference({4, 2, 80}, cache, pos, slot);
  }
}

// Blocks of tokens that begin in the middle of a sequence, hold two of them, or are not full; a
// sequence that goes on from an earlier step.
TEST_F(CudaAttention, MatchesForPromptsOfSeveralSequences) {
  std::vector<int32_t> pos, slot;
  for (const auto& [sequence, first, count] :
       {std::array{0, 0, 150}, {2, 200, 77}, {1, 0, 1}, {3, 63, 66}}) {
    for (int32_t t = 0; t < count; ++t) {
      pos.push_back(first + t);
      slot.push_back(sequence);
    }
  }
  for (const Heads& h :
       {Heads{8, 2, 128}, {4, 4, 64}, {12, 2, 64}, {3, 3, 128, 128}, {14, 2, 64}}) {
    expect_reference(h, "bf16", pos, slot, 4, kPromptTolerance);
  }
  for (const char* cache : {"int8", "fp8", "int4", "int4-sym", "int8-g32", "mxfp8", "mxfp4"}) {
    expect_reference({8, 2, 128}, cache, pos, slot, 4, 2 * kPromptTolerance);
    expect_reference({4, 4, 64}, cache, pos, slot, 4, 2 * kPromptTolerance);
  }
  // Nothing a prompt may not see is looked at: what lies past its end is NaN.
  expect_reference({8, 2, 128}, "bf16", std::vector(pos.begin(), pos.begin() + 50),
                   std::vector(50, 0), 1, kPromptTolerance);
}

TEST_F(CudaAttention, APromptsBitsDoNotDependOnWhatStandsBesideIt) {
  std::vector<int32_t> pos, slot;
  for (int32_t t = 0; t < 200; ++t) {
    pos.push_back(t < 90 ? t : t - 90);
    slot.push_back(t < 90 ? 0 : 1);
  }
  const Heads h = {8, 2, 128};
  Step setup(h, "bf16", pos, slot);
  const StepOnGpu gpu(setup);
  const OnGpu both = gpu.output(), second = gpu.output();
  AttentionArgs args = gpu.args(both);
  args.sequences = 2;
  cuda::attention(args, nullptr);
  args.out.data = second.as();
  args.sequences = 1;
  args.tokens_count = 110;
  args.qkv += int64_t{90} * (h.heads + 2 * h.kv_heads) * h.head_dim;
  args.pos += 90;
  args.slot += 90;
  cuda::attention(args, nullptr);
  LB_CUDA(cudaDeviceSynchronize());
  const std::vector<float> all = both.read<float>(), alone = second.read<float>();
  const size_t row = static_cast<size_t>(h.heads) * static_cast<size_t>(h.head_dim);
  EXPECT_TRUE(std::equal(alone.begin(), alone.begin() + static_cast<ptrdiff_t>(110 * row),
                         all.begin() + static_cast<ptrdiff_t>(90 * row)));
}

TEST_F(CudaAttention, WritesTheFormatThatWasAskedFor) {
  Step setup({8, 2, 128}, "bf16", kShort, ones_each(kShort.size()));
  const StepOnGpu gpu(setup);
  const std::vector<float> want = setup.reference(false);
  for (const FormatId format : {FormatId::kF16, FormatId::kBF16}) {
    const OnGpu out = gpu.output();
    cuda::attention(gpu.args(out, format), nullptr);
    LB_CUDA(cudaDeviceSynchronize());
    const auto raw = out.read<uint16_t>();
    std::vector<float> got(want.size());
    decode_plain(format, raw.data(), static_cast<int64_t>(got.size()), got.data());
    expect_near(got, want, format == FormatId::kF16 ? 0x1p-9 : 0x1p-7);
  }
}

TEST_F(CudaAttention, BitsDependNeitherOnTheBatchNorOnTheRun) {
  const std::vector<int32_t> pos = {4096, 100, 2500, 999, 255, 3000, 64, 1};
  for (const char* cache : {"f32", "bf16", "int4"}) {
    SCOPED_TRACE(cache);
    const Heads h = {8, 2, 128};
    Step setup(h, cache, pos, ones_each(pos.size()));
    const StepOnGpu gpu(setup);
    std::vector<std::byte> first;
    for (int round = 0; round < 3; ++round) {
      const OnGpu out = gpu.output();
      cuda::attention(gpu.args(out), nullptr);
      LB_CUDA(cudaDeviceSynchronize());
      if (round == 0) first = out.read();
      EXPECT_TRUE(out.read() == first);
    }
    const OnGpu out = gpu.output();
    const int64_t width = int64_t{h.heads + 2 * h.kv_heads} * h.head_dim, row = 8 * 128;
    for (int32_t t = 0; t < setup.tokens(); ++t) {
      AttentionArgs one = gpu.args(out);
      one.tokens_count = 1;
      one.qkv += t * width;
      one.pos += t;
      one.slot += t;
      one.out.data = static_cast<float*>(one.out.data) + t * row;
      cuda::attention(one, nullptr);
    }
    LB_CUDA(cudaDeviceSynchronize());
    EXPECT_TRUE(out.read() == first);
  }
}

TEST_F(CudaAttention, WithRopeIsRopeAppendThenAttention) {
  std::vector<int32_t> pos = kShort;
  pos.push_back(2048);
  const std::vector<int32_t> slot = ones_each(pos.size());
  for (const Heads& h : kHeads) {
    for (const char* cache : {"f32", "bf16", "f16", "int8", "fp8", "int4", "mxfp4"}) {
      SCOPED_TRACE(text(h, cache));
      Step setup(h, cache, pos, slot);
      const StepOnGpu fused(setup), two(setup);
      const OnGpu fused_out = fused.output(), two_out = two.output();
      cuda::rope_attention(fused.rope_args(), fused.args(fused_out), nullptr);
      cuda::rope_append(two.rope_args(), nullptr);
      cuda::attention(two.args(two_out), nullptr);
      LB_CUDA(cudaDeviceSynchronize());
      EXPECT_EQ(fused_out.read(), two_out.read());
      EXPECT_EQ(fused.k.differs(setup.k.tensor) == "", false) << "nothing was appended";
      const std::vector<float> want = setup.reference(true);
      EXPECT_EQ(fused.k.differs(setup.k.tensor), "");
      EXPECT_EQ(fused.v.differs(setup.v.tensor), "");
      expect_near(fused_out.read<float>(), want, 8 * tolerance(cache, h.head_dim));
    }
  }
}

TEST_F(CudaAttention, OfOneTokenOverAShortContextIsRopeAppendThenAttention) {
  for (const Heads& h : {Heads{8, 2, 128},
                         {4, 4, 64},
                         {4, 1, 64},
                         {6, 3, 64},
                         {6, 2, 64, 32},
                         {6, 2, 128, 16},
                         {32, 8, 128},
                         {40, 40, 128},
                         {3, 3, 128, 128}}) {
    SCOPED_TRACE(text(h, "bf16"));
    for (const int32_t pos : {0,   1,   7,   8,   15,  16,  62,  63,  64,   127,
                              205, 255, 256, 257, 270, 511, 767, 768, 1000, 1023}) {
      SCOPED_TRACE(pos);
      Step setup(h, "bf16", {pos, 5}, {1, 0});
      const StepOnGpu gpu(setup);
      const OnGpu out = gpu.output();
      AttentionArgs args = gpu.args(out);
      args.tokens_count = 1;
      args.longest = kShortContext;
      ASSERT_TRUE(cuda::attend_token(gpu.rope_args(), args, nullptr));
      RopeAppendArgs other = gpu.rope_args();  // the reference appends for both tokens
      other.tokens_count = 1;
      other.qkv += int64_t{h.heads + 2 * h.kv_heads} * h.head_dim;
      other.cos_sin += h.head_dim;
      ++other.pos, ++other.slot;
      cuda::rope_append(other, nullptr);
      LB_CUDA(cudaDeviceSynchronize());
      std::vector<float> want = setup.reference(true);
      want.resize(static_cast<size_t>(h.heads * h.head_dim));
      EXPECT_EQ(gpu.k.differs(setup.k.tensor), "");
      EXPECT_EQ(gpu.v.differs(setup.v.tensor), "");
      expect_near(out.read<float>(), want, 8 * tolerance("bf16", h.head_dim));
    }
  }
}

TEST_F(CudaAttention, OfOneTokenLeavesWhatItCannotDoToOthers) {
  const auto takes = [](const Heads& h, const char* cache, int32_t longest, FormatId out_format) {
    Step setup(h, cache, {40}, {0});
    const StepOnGpu gpu(setup);
    const OnGpu out = gpu.output();
    AttentionArgs args = gpu.args(out, out_format);
    args.longest = longest;
    const bool took = cuda::attend_token(gpu.rope_args(), args, nullptr);
    LB_CUDA(cudaDeviceSynchronize());
    return took;
  };
  constexpr int32_t kLongest = kShortContext;
  EXPECT_TRUE(takes({8, 2, 128}, "bf16", kLongest, FormatId::kF32));
  EXPECT_FALSE(takes({8, 2, 128}, "bf16", 0, FormatId::kF32));
  EXPECT_FALSE(takes({8, 2, 128}, "bf16", kLongest + 1, FormatId::kF32));
  EXPECT_FALSE(takes({8, 2, 128}, "f16", kLongest, FormatId::kF32));
  EXPECT_FALSE(takes({8, 2, 128}, "int8", kLongest, FormatId::kF32));
  EXPECT_FALSE(takes({8, 2, 128}, "bf16", kLongest, FormatId::kBF16));
  EXPECT_FALSE(takes({8, 1, 128}, "bf16", kLongest, FormatId::kF32));
  EXPECT_FALSE(takes({8, 2, 80}, "bf16", kLongest, FormatId::kF32));
  EXPECT_FALSE(takes({8, 2, 128, 8}, "bf16", kLongest, FormatId::kF32));
}

TEST_F(CudaAttention, NotANumberStaysInItsSequence) {
  for (const char* cache : kTuned) {
    SCOPED_TRACE(cache);
    Step setup({8, 2, 128}, cache, {70, 70, 70}, {0, 1, 2});
    const std::vector<float> nan(128, kPoison);
    const KvView kv = setup.view(act_over(setup.k), act_over(setup.v), setup.table().data());
    store_row(kv.k, kv_row(kv, 0, 3, 1, 2), 128, nan.data());
    store_row(kv.v, kv_row(kv, 2, 65, 0, 2), 128, nan.data());
    const StepOnGpu gpu(setup);
    const OnGpu out = gpu.output();
    cuda::attention(gpu.args(out), nullptr);
    LB_CUDA(cudaDeviceSynchronize());
    const std::vector<float> got = out.read<float>();
    for (int32_t i = 0; i < 3 * 1024; ++i) {
      const int32_t token = i / 1024, kv_head = i / 512 % 2;
      const bool lost = (token == 0 && kv_head == 1) || (token == 2 && kv_head == 0);
      ASSERT_EQ(std::isnan(got[static_cast<size_t>(i)]), lost) << "number " << i;
    }
  }
}

TEST_F(CudaAttention, CanBeCapturedAtItsFirstUse) {
  Step setup({8, 2, 128}, "bf16", {300}, {0});
  const StepOnGpu gpu(setup);
  const OnGpu out = gpu.output();
  cudaStream_t stream = nullptr;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  LB_CUDA(cudaStreamCreate(&stream));
  LB_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  cuda::attention(gpu.args(out), stream);
  cuda::attention(gpu.args(out), stream);
  LB_CUDA(cudaStreamEndCapture(stream, &graph));
  LB_CUDA(cudaGraphInstantiate(&exec, graph, 0));
  for (int i = 0; i < 2; ++i) LB_CUDA(cudaGraphLaunch(exec, stream));
  LB_CUDA(cudaStreamSynchronize(stream));
  expect_near(out.read<float>(), setup.reference(false), tolerance("bf16", 128));
  LB_CUDA(cudaGraphExecDestroy(exec));
  LB_CUDA(cudaGraphDestroy(graph));
  LB_CUDA(cudaStreamDestroy(stream));
}

}  // namespace
}  // namespace lowbit
