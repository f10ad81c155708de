// Linears that are held back in a capture and launched together: how they wait for each other, and
// that they give the bits of launches of their own.
#include "cuda/chain.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "cuda/backend.h"
#include "cuda/batch_plan.h"
#include "cuda/gpu.h"
#include "cuda/on_gpu.h"
#include "cuda/tiles_plan.h"
#include "kernels/linear_problem.h"

namespace lowbit {
namespace {

using namespace test;
using cuda::ChainedOp;
using cuda::kTileRows;
using cuda::kUnit;
using cuda::Wait;

// ---- how they wait ------------------------------------------------------------------------------

constexpr int kCtas = 132;

// y[m, n] from x[m, k], both f32 and in the same memory, by their first elements.
struct Step {
  int32_t n, k;
  int64_t y, x;
  Epilogue epilogue = Epilogue::kStore;
};

std::vector<Wait> waits_of(std::initializer_list<Step> steps, int32_t m = 1,
                           bool prepared = false) {
  static std::vector<float> memory(1 << 20);
  std::vector<ChainedOp> ops;
  for (const Step& step : steps) {
    ChainedOp op{};
    LinearArgs& l = op.tile.linear;
    l.m = m, l.n = step.n, l.k = step.k, l.epilogue = step.epilogue;
    l.x = act_of(format_of(FormatId::kF32), step.k);
    l.x.data = memory.data() + step.x;
    l.y = memory.data() + step.y;
    l.ldy = step.epilogue == Epilogue::kSiluMul ? step.n / 2 : step.n;
    l.w.paired = step.epilogue == Epilogue::kSiluMul;
    op.tile.shape.tiles = (step.n + kTileRows - 1) / kTileRows;
    op.tile.shape.units = 1;
    op.tile.shape.blocks = (step.k + kUnit - 1) / kUnit;
    op.tile.plain_x = cuda::is_plain_x(l, op.tile.shape.blocks * op.tile.shape.units * kUnit);
    if (prepared) op.tile.prepared.x = reinterpret_cast<uint16_t*>(memory.data());
    ops.push_back(op);
  }
  cuda::plan_waits(ops, {}, kCtas);
  std::vector<Wait> waits;
  for (const ChainedOp& op : ops) waits.push_back(op.wait);
  return waits;
}

constexpr auto kNo = Wait::kNothing;
constexpr auto kMail = Wait::kMail;
constexpr auto kAll = Wait::kAll;
using Waits = std::vector<Wait>;

constexpr int64_t kHidden = 0, kWide = 100000, kQkv = 300000, kHeads = 400000;
constexpr Step kO = {4096, 4096, kHidden, kHeads, Epilogue::kAdd};
constexpr Step kGateUp = {28672, 4096, kWide, kHidden, Epilogue::kSiluMul};
constexpr Step kDown = {4096, 14336, kHidden, kWide, Epilogue::kAdd};
constexpr Step kQkvStep = {6144, 4096, kQkv, kHidden};

TEST(ChainWaits, ALayerNeedsNoBarrier) {
  EXPECT_EQ(waits_of({kO, kGateUp, kDown, kQkvStep}), (Waits{kNo, kMail, kMail, kMail}));
  EXPECT_EQ(waits_of({kO, kGateUp, kDown, kQkvStep}, 8, true), (Waits{kNo, kMail, kMail, kMail}));
}

TEST(ChainWaits, AttentionReceivesAndPosts) {
  static std::vector<float> memory(1 << 16);
  const auto linear = [&](int32_t n, int32_t k, int64_t y, int64_t x) {
    ChainedOp op{};
    LinearArgs& l = op.tile.linear;
    l.m = 1, l.n = n, l.k = k, l.ldy = n;
    l.x = act_of(format_of(FormatId::kF32), k);
    l.x.data = memory.data() + x;
    l.y = memory.data() + y;
    op.tile.shape.tiles = n / kTileRows;
    op.tile.plain_x = true;
    return op;
  };
  constexpr int64_t kStream = 0, kMade = 10000, kAttended = 20000;
  cuda::TokenAttention attention{};
  attention.qkv = memory.data() + kMade;
  attention.out = memory.data() + kAttended;
  attention.heads = 8, attention.kv_heads = 2, attention.head_dim = 128;
  ChainedOp attends{};
  attends.attention = 0;
  std::vector<ChainedOp> ops = {linear(1536, 4096, kMade, kStream), attends,
                                linear(4096, 1024, kStream, kAttended),
                                linear(1536, 4096, kMade, kStream), attends};
  cuda::plan_waits(ops, {&attention, 1}, kCtas);
  for (const size_t i : {1, 2, 3, 4}) EXPECT_EQ(ops[i].wait, kMail) << i;
  EXPECT_EQ(ops[1].x_place, ops[0].y_place);
  EXPECT_EQ(ops[2].x_place, ops[1].y_place);
  EXPECT_EQ(ops[4].x_place, ops[3].y_place);
  // What it does not read from its beginning.
  attention.qkv = memory.data() + kMade + 4;
  cuda::plan_waits(ops, {&attention, 1}, kCtas);
  EXPECT_EQ(ops[1].wait, kAll);
}

std::vector<std::vector<size_t>> launched;  // the variants' indices, launch by launch

TEST(Chains, AttentionFollowsTheLinearsThatCanMakeIt) {
  const auto launch = [](std::span<const cuda::HeldOp> ops, Stream) {
    launched.emplace_back();
    for (const cuda::HeldOp& op : ops) launched.back().push_back(op.index());
  };
  const cuda::ChainKind attends = {launch, true}, does_not = {launch, false};
  const LinearArgs linear{};
  cuda::TokenAttention attention{}, elsewhere{};
  elsewhere.max_pages = 1;
  launched.clear();
  EXPECT_FALSE(cuda::add_to_chain(attention));  // nothing is held back
  cuda::begin_chains();
  EXPECT_FALSE(cuda::add_to_chain(attention));  // no Linear before it
  EXPECT_TRUE(cuda::add_to_chain(attends, linear, nullptr));
  EXPECT_TRUE(cuda::add_to_chain(attention));
  EXPECT_FALSE(cuda::add_to_chain(elsewhere));  // other pages
  EXPECT_TRUE(cuda::add_to_chain(attends, linear, nullptr));
  EXPECT_TRUE(cuda::add_to_chain(does_not, linear, nullptr));  // another kernel
  EXPECT_FALSE(cuda::add_to_chain(attention));
  cuda::end_chains(nullptr);
  EXPECT_EQ(launched, (std::vector<std::vector<size_t>>{{0, 1, 0}, {0}}));
}

TEST(ChainWaits, LinearsThatShareXDoNotWait) {
  EXPECT_EQ(waits_of({{4096, 512, 10000, 0}, {1024, 512, 20000, 0}}), (Waits{kNo, kNo}));
  EXPECT_EQ(waits_of({{512, 512, 10000, 0}, {64, 512, 20000, 10000}, {64, 512, 30000, 10000}}),
            (Waits{kNo, kMail, kMail}));
}

TEST(ChainWaits, PreparedTokensAreNotOverwrittenWhileTheyAreRead) {
  EXPECT_EQ(waits_of({{4096, 512, 10000, 0}, {1024, 512, 20000, 0}}, 2, true), (Waits{kNo, kAll}));
}

TEST(ChainWaits, NobodyOverwritesWhatOthersStillRead) {
  const Step reads = {4096, 512, 10000, 0}, overwrites = {512, 4096, 0, 10000};
  EXPECT_EQ(waits_of({reads, overwrites}), (Waits{kNo, kMail}));  // after y of all who read
  const Step unrelated = {512, 4096, 0, 50000};
  EXPECT_EQ(waits_of({reads, unrelated}), (Waits{kNo, kAll}));
  // Not every CTA has a part of the small one, so that its end says nothing of the first.
  const Step small = {16, 4096, 30000, 10000}, after_small = {512, 16, 0, 30000};
  EXPECT_EQ(waits_of({reads, small, after_small}), (Waits{kNo, kMail, kAll}));
}

TEST(ChainWaits, TwoWritersOfARowAreTheSameCta) {
  const Step first = {4096, 512, 10000, 0}, shifted = {4096, 512, 10016, 0};
  EXPECT_EQ(waits_of({first, shifted}), (Waits{kNo, kAll}));
  EXPECT_EQ(waits_of({first, {4096, 512, 10000, 0, Epilogue::kAdd}}), (Waits{kNo, kNo}));
}

TEST(ChainWaits, WhatCannotBePostedWaitsForAll) {
  const Step wide = {16384, 512, 10000, 0};
  EXPECT_EQ(waits_of({wide, {64, 16384, 50000, 10000}}), (Waits{kNo, kAll}));  // a wider x
  EXPECT_EQ(waits_of({wide, {64, 512, 50000, 10002}}), (Waits{kNo, kAll}));    // part of a row
  EXPECT_EQ(waits_of({wide, {64, 510, 50000, 10000}}), (Waits{kNo, kAll}));    // not in fours
}

// ---- batches ------------------------------------------------------------------------------------

cuda::TileShape shape_of(int32_t n, int32_t k) {
  cuda::TileShape s{};
  s.units = 1, s.tiles = n / kTileRows, s.blocks = k / kUnit;
  return s;
}

TEST(BatchPlan, SlicesGiveEveryCtaAPart) {
  EXPECT_EQ(cuda::slices_of(shape_of(4096, 4096), 16), 8);
  EXPECT_EQ(cuda::slices_of(shape_of(6144, 4096), 24), 5);
  EXPECT_EQ(cuda::slices_of(shape_of(28672, 4096), 112), 1);
  EXPECT_EQ(cuda::slices_of(shape_of(128256, 4096), 501), 1);
  EXPECT_EQ(cuda::slices_of(shape_of(256, 512), 1), 2);    // four units each, at least
  EXPECT_EQ(cuda::slices_of(shape_of(256, 14336), 1), 8);  // what is added up at once
}

TEST(BatchPlan, ATokenIsSharedByAsManyCtasAsThereAre) {
  EXPECT_EQ(cuda::token_ctas_of(9), 8);
  EXPECT_EQ(cuda::token_ctas_of(16), 8);
  EXPECT_EQ(cuda::token_ctas_of(17), 4);
  EXPECT_EQ(cuda::token_ctas_of(33), 4);
  EXPECT_EQ(cuda::token_ctas_of(66), 2);
  EXPECT_EQ(cuda::token_ctas_of(67), 1);
  EXPECT_EQ(cuda::token_ctas_of(256), 1);
}

// Of tokens a CTA reads and writes rows of its own alone.
TEST(BatchPlan, LinearsFollowWhereNoTokenReadsAnother) {
  static std::vector<float> memory(1 << 16);
  const auto linear = [&](int64_t y, int64_t x, int32_t m = 16) {
    cuda::TileArgs a{};
    a.shape = shape_of(256, 256);
    LinearArgs& l = a.linear;
    l.m = m, l.n = l.k = 256;
    l.x = act_of(format_of(FormatId::kF32), 256);
    l.x.data = memory.data() + x;
    l.y = memory.data() + y;
    l.ldy = 256;
    l.w.code = Code::kInt;
    return a;
  };
  constexpr int64_t kA = 0, kB = 10000, kC = 20000;
  cuda::ChainArgs chain{};
  chain.ops[chain.count++].tile = linear(kB, kA);
  EXPECT_TRUE(cuda::follows(chain, linear(kC, kB)));
  EXPECT_TRUE(cuda::follows(chain, linear(kC, kA)));
  EXPECT_TRUE(cuda::follows(chain, linear(kB, kB)));
  EXPECT_FALSE(cuda::follows(chain, linear(kC, kB + 256)));  // the next token's
  EXPECT_FALSE(cuda::follows(chain, linear(kC, kB, 17)));
  cuda::TileArgs other = linear(kC, kB);
  other.shape.block_bytes = 1;
  EXPECT_FALSE(cuda::follows(chain, other));
  chain.ops[chain.count++].tile = linear(kC, kB);
  EXPECT_TRUE(cuda::follows(chain, linear(kA, kC)));
  EXPECT_TRUE(cuda::follows(chain, linear(kA, kB)));
}

// ---- the bits they give -------------------------------------------------------------------------

// Linears on buffers of `widths` numbers a token.
struct Link {
  int x, y;
  int32_t n;  // rows of the weights; columns: all of x
  Epilogue epilogue = Epilogue::kStore;
  bool norm = false;
  bool attends = false;  // x is qkv and y what is attended, of ChainCase's heads
};
struct ChainCase {
  const char* name;
  std::vector<int32_t> widths;
  std::vector<Link> links;
  int32_t heads = 0, kv_heads = 0, head_dim = 0, pos = 0;
};

const std::vector<ChainCase>& chain_cases() {
  static const std::vector<ChainCase> cases = [] {
    std::vector<ChainCase> all;
    ChainCase line{"line", {512, 96, 4096, 320, 2048, 32, 1056, 256, 512, 128, 512}, {}};
    for (int i = 0; i + 1 < static_cast<int>(line.widths.size()); ++i) {
      line.links.push_back({i, i + 1, line.widths[static_cast<size_t>(i) + 1],
                            i % 2 == 0 ? Epilogue::kStore : Epilogue::kAdd, i % 3 == 0});
    }
    all.push_back(line);
    // Heads, the stream, the wide, q, k and v: two layers, without their attention.
    ChainCase layers{"layers", {2048, 2112, 2560, 3072}, {}};
    for (int layer = 0; layer < 2; ++layer) {
      layers.links.push_back({0, 1, 2112, Epilogue::kAdd});
      layers.links.push_back({1, 2, 5120, Epilogue::kSiluMul, true});
      layers.links.push_back({2, 1, 2112, Epilogue::kAdd});
      layers.links.push_back({1, 3, 3072, Epilogue::kStore, true});
    }
    all.push_back(layers);
    // More items of attention than there are multiprocessors; more ops than a launch makes.
    struct Layers {
      int32_t heads, kv_heads, head_dim, pos, stream, wide, count;
    };
    for (const Layers& l :
         {Layers{12, 4, 64, 300, 2112, 2560, 2}, Layers{8, 4, 128, 77, 2112, 2560, 2},
          Layers{20, 20, 128, 150, 2112, 2560, 2}, Layers{4, 2, 64, 33, 256, 320, 8}}) {
      const int32_t made = (l.heads + 2 * l.kv_heads) * l.head_dim;
      ChainCase whole{"layers with their attention",
                      {l.heads * l.head_dim, l.stream, l.wide, made},
                      {{1, 3, made, Epilogue::kStore, true}}};
      whole.heads = l.heads, whole.kv_heads = l.kv_heads, whole.head_dim = l.head_dim;
      whole.pos = l.pos;
      for (int layer = 0; layer < l.count; ++layer) {
        whole.links.push_back({3, 0, 0, Epilogue::kStore, false, true});
        whole.links.push_back({0, 1, l.stream, Epilogue::kAdd});
        whole.links.push_back({1, 2, 2 * l.wide, Epilogue::kSiluMul, true});
        whole.links.push_back({2, 1, l.stream, Epilogue::kAdd});
        whole.links.push_back({1, 3, made, Epilogue::kStore, true});
      }
      all.push_back(whole);
    }
    all.push_back({"fan",
                   {4096, 1024, 512, 512},
                   {{0, 1, 1024},
                    {1, 2, 512, Epilogue::kStore, true},
                    {1, 3, 512, Epilogue::kStore, true},
                    {2, 0, 4096, Epilogue::kAdd},
                    {0, 1, 1024, Epilogue::kAdd}}});
    return all;
  }();
  return cases;
}

// The cache of a chain's attentions, and where their token is.
struct ChainCache {
  explicit ChainCache(const ChainCase& c)
      : chain(c),
        k(std::vector<uint16_t>(gaussian_bf16(c, 70))),
        v(std::vector<uint16_t>(gaussian_bf16(c, 71))),
        pos(std::vector<int32_t>{c.pos}),
        slot(std::vector<int32_t>{0}),
        table(std::vector<int32_t>(kPages)),
        cos_sin(gaussian(std::max(c.head_dim, 1), kSeed, 72)) {
    std::vector<int32_t> pages(kPages);
    for (int32_t i = 0; i < kPages; ++i) pages[static_cast<size_t>(i)] = kPages - 1 - i;
    table = OnGpu(pages);
  }
  bool attend(float* qkv, float* out, Stream stream) const {
    const ChainCase& c = chain;
    Act keys = act_of(format_of(FormatId::kBF16), c.head_dim), values = keys;
    keys.data = k.as(), values.data = v.as();
    const KvView kv = {keys, values, table.as<int32_t>(), kPages, kPage};
    Act to = act_of(format_of(FormatId::kF32), c.heads * c.head_dim);
    to.data = out;
    const RopeAppendArgs rope = {1,
                                 c.heads,
                                 c.kv_heads,
                                 c.head_dim,
                                 qkv,
                                 cos_sin.as<float>(),
                                 pos.as<int32_t>(),
                                 slot.as<int32_t>(),
                                 kv};
    AttentionArgs args = {1,        c.heads,   c.kv_heads, c.head_dim, qkv,
                          rope.pos, rope.slot, kv,         0.1f,       to};
    args.longest = kShortContext;
    return cuda::attend_token(rope, args, stream);
  }

  const ChainCase& chain;
  OnGpu k, v, pos, slot, table, cos_sin;

 private:
  static constexpr int32_t kPages = 8, kPage = 64;
  static std::vector<uint16_t> gaussian_bf16(const ChainCase& c, int stream) {
    const int64_t count = int64_t{kPages} * c.kv_heads * kPage * c.head_dim;
    std::vector<uint16_t> bits;
    for (const float x : gaussian(std::max<int64_t>(count, 1), kSeed, stream)) {
      bits.push_back(f32_to_bf16(x));
    }
    return bits;
  }
};

class ChainsOnGpu : public GpuTest, public testing::WithParamInterface<int32_t> {
 protected:
  // The best kernel of a format that normalises x and multiplies gate with up itself.
  static const LinearKernel* kernel_of(const Format& format, int32_t m) {
    const LinearKernel* best = nullptr;
    for (const LinearKernel& k : cuda_backend().linear_kernels) {
      const LinearSpec spec{format, format_of(FormatId::kF32), 512, 512, false, m};
      const bool takes = k.fused_norm && k.fused_silu && k.weights(format) &&
                         k.activations(spec.a) &&
                         (!k.reject || k.reject(spec, cuda_backend().info()).empty());
      if (takes && (!best || k.rank > best->rank)) best = &k;
    }
    return best;
  }

  static const Packer& packer_of(const LinearKernel& kernel, const Format& format) {
    const std::span<const Packer> packers = cuda_backend().packers;
    return *std::find_if(packers.begin(), packers.end(), [&](const Packer& p) {
      return p.layout == kernel.layout && p.accepts(format);
    });
  }

  void check(const char* format_name, const ChainCase& c, int32_t m) {
    const Backend& gpu = cuda_backend();
    const Format format = parse_format(format_name);
    const LinearKernel* kernel = kernel_of(format, m);
    ASSERT_TRUE(kernel) << format_name;
    if (c.heads > 0 && m > 1) return;  // attention follows Linears of one token
    const Packer& packer = packer_of(*kernel, format);
    std::vector<Guarded> buffers, norms;
    for (size_t i = 0; i < c.widths.size(); ++i) {
      buffers.emplace_back(gaussian(int64_t{m} * c.widths[i], kSeed, 40 + static_cast<int>(i)));
      norms.emplace_back(gaussian(c.widths[i], kSeed, 60 + static_cast<int>(i)));
    }
    const auto width = [&](int buffer) { return c.widths[static_cast<size_t>(buffer)]; };
    std::vector<DeviceTensor> weights;
    size_t workspace_bytes = 0;
    for (const Link& link : c.links) {
      if (link.attends) continue;
      const QTensor w = random_weights(format, link.n, width(link.x), 50 + weights.size());
      weights.push_back(packer.pack(w, link.epilogue == Epilogue::kSiluMul));
      const LinearSpec spec{format, format_of(FormatId::kF32), link.n, width(link.x), false, m};
      if (kernel->workspace) workspace_bytes = std::max(workspace_bytes, kernel->workspace(spec));
    }
    const Guarded workspace(workspace_bytes / sizeof(float) + 1);
    const ChainCache cache(c);
    const auto enqueue = [&](Stream stream) {
      size_t linears = 0;
      for (const Link& link : c.links) {
        const auto from = static_cast<size_t>(link.x), to = static_cast<size_t>(link.y);
        if (link.attends) {
          ASSERT_TRUE(cache.attend(buffers[from].data(), buffers[to].data(), stream));
          continue;
        }
        Act x = act_of(format_of(FormatId::kF32), width(link.x));
        x.data = buffers[from].data();
        LinearArgs args{m,
                        link.n,
                        width(link.x),
                        x,
                        weights[linears++].view,
                        nullptr,
                        buffers[to].data(),
                        width(link.y),
                        link.epilogue,
                        workspace.data()};
        if (link.norm) args.norm_weight = norms[from].data(), args.norm_eps = 1e-5f;
        kernel->launch(args, stream);
      }
    };
    const auto results = [&] {
      std::vector<std::vector<float>> all;
      for (const Guarded& buffer : buffers) {
        EXPECT_TRUE(buffer.guard_intact()) << format_name << " " << c.name;
        all.push_back(buffer.read());
      }
      return all;
    };
    const Stream stream = gpu.stream();
    const auto before = results();
    const auto old_keys = cache.k.read(), old_values = cache.v.read();
    enqueue(stream);
    gpu.synchronize(stream);
    const auto separate = results();
    const auto keys = cache.k.read(), values = cache.v.read();
    EXPECT_EQ(keys == old_keys, c.heads == 0) << "nothing was appended";
    const auto restore = [&] {
      for (size_t i = 0; i < buffers.size(); ++i) buffers[i].write(before[i]);
      cache.k.write(old_keys), cache.v.write(old_values);
    };
    gpu.graph->begin_capture(stream);
    enqueue(stream);
    void* graph = gpu.graph->end_capture(stream);
    for (int round = 0; round < 5; ++round) {
      restore();
      gpu.graph->launch(graph, stream);
      gpu.synchronize(stream);
      EXPECT_EQ(results(), separate) << format_name << " " << c.name << " round " << round;
      EXPECT_TRUE(cache.k.read() == keys && cache.v.read() == values) << format_name;
    }
    gpu.graph->destroy(graph);
  }
};

TEST_P(ChainsOnGpu, GiveTheBitsOfSeparateLaunches) {
  for (const char* format : {"bf16", "int8", "int4", "int4-sym", "int2", "ternary", "mxfp4",
                             "nvfp4", "fp8", "fp6", "int4-g128-asym"}) {
    for (const ChainCase& c : chain_cases()) check(format, c, GetParam());
  }
}

INSTANTIATE_TEST_SUITE_P(Tokens, ChainsOnGpu, testing::Values(1, 2, 8, 19, 48, 130));

}  // namespace
}  // namespace lowbit
