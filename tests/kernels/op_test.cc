// Every op of the cpu backend, in each instruction set the machine has, against the reference on
// the same inputs. Buffers have NaN around what an op may write.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/thread_pool.h"
#include "bench/op_cases.h"
#include "cpu/isa.h"
#include "cpu/ops.h"
#include "kernels/linear_setup.h"
#include "ops/view.h"
#include "ref/backend.h"

namespace lowbit {
namespace {

using namespace test;

// Caches: formats without scales; the fast codes of every width and zero; some that go through the
// codec.
constexpr const char* kCaches[] = {
    "f32",  "bf16",  "f16",      "int8", "int8-g32",      "fp8",     "mxfp8", "mxfp6-e3m2",
    "int4", "mxfp4", "int4-sym", "fp4",  "int4-g16-sf16", "int8-g8", "int3",  "ternary5-row"};
constexpr FormatId kPlain[] = {FormatId::kF32, FormatId::kBF16, FormatId::kF16};

// Largest relative error of one rounding to a format, and its smallest step.
double unit(FormatId format) {
  return format == FormatId::kBF16 ? 0x1p-8 : format == FormatId::kF16 ? 0x1p-11 : 0x1p-24;
}
double smallest(FormatId format) { return format == FormatId::kF16 ? 0x1p-24 : 0x1p-126; }

// An activation matrix [rows, d] inside a larger one of NaN.
class OutAct {
 public:
  OutAct(FormatId format, int32_t rows, int32_t d)
      : rows_(rows), d_(d), ld_(d + 3), format_(format), bytes_(format_of(format).bits / 8u) {
    const std::vector<float> poison(static_cast<size_t>((rows + 2) * ld_), kPoison);
    data_.resize(poison.size() * bytes_);
    encode_plain(format, poison.data(), static_cast<int64_t>(poison.size()), data_.data());
  }
  Act act() {
    return {data_.data() + static_cast<size_t>(ld_ + 1) * bytes_, nullptr, ld_, format_};
  }
  float at(int32_t r, int32_t i) const {
    return values()[static_cast<size_t>((r + 1) * ld_ + 1 + i)];
  }
  bool padding_untouched() const {
    const std::vector<float> all = values();
    const auto numbers = std::ranges::count_if(all, [](float v) { return !std::isnan(v); });
    return numbers == int64_t{rows_} * d_;
  }
  bool operator==(const OutAct& other) const { return data_ == other.data_; }

  // "" or the first number that is further from `want` than one more rounding to the format plus
  // `relative` of it plus `absolute`.
  std::string differs(const OutAct& want, double relative, double absolute) const {
    const std::vector<float> a = values(), b = want.values();
    for (int32_t r = 0; r < rows_; ++r) {
      for (int32_t i = 0; i < d_; ++i) {
        const auto at = static_cast<size_t>((r + 1) * ld_ + 1 + i);
        const double size = std::abs(double{b[at]});
        const double step = format_ == FormatId::kF32 ? 0 : 2 * unit(format_) * size;
        const double allowed = step + smallest(format_) + relative * size + absolute;
        if (std::abs(double{a[at]} - b[at]) <= allowed) continue;
        return fmt::format("[{}, {}] is {:.9g}, reference {:.9g}, allowed error {:.3g}", r, i,
                           a[at], b[at], allowed);
      }
    }
    return "";
  }

 private:
  std::vector<float> values() const {
    std::vector<float> all(data_.size() / bytes_);
    decode_plain(format_, data_.data(), static_cast<int64_t>(all.size()), all.data());
    return all;
  }
  int32_t rows_, d_;
  int64_t ld_;
  FormatId format_;
  size_t bytes_;
  std::vector<std::byte> data_;
};

struct IsaLevel {
  const char* name;
  uint32_t isa;
};

std::vector<IsaLevel> levels() {
  std::vector<IsaLevel> levels = {{"baseline", 0}};
  const uint32_t machine = cpu::machine_isa();
  if (machine & cpu::kIsaAvx2) levels.push_back({"avx2", cpu::kIsaAvx2});
  if (machine & cpu::kIsaAvx512) levels.push_back({"avx512", cpu::kIsaAvx2 | cpu::kIsaAvx512});
  return levels;
}

class Op : public testing::TestWithParam<IsaLevel> {
 protected:
  const OpTable cpu = cpu::op_table(GetParam().isa);
  const OpTable ref = ref_backend().op;
};

INSTANTIATE_TEST_SUITE_P(Isa, Op, testing::ValuesIn(levels()),
                         [](const auto& p) { return std::string(p.param.name); });

TEST_P(Op, RmsNormMatches) {
  for (const FormatId format : kPlain) {
    for (const int32_t d : kOpWidths) {
      for (const int32_t rows : kOpRows) {
        const std::vector<float> x = gaussian(int64_t{rows} * d, 1, 1), weight = gaussian(d, 1, 2);
        OutAct got(format, rows, d), want(format, rows, d);
        cpu.rmsnorm({rows, d, x.data(), weight.data(), 1e-5f, got.act()}, nullptr);
        ref.rmsnorm({rows, d, x.data(), weight.data(), 1e-5f, want.act()}, nullptr);
        EXPECT_EQ(got.differs(want, 1e-6, 0), "") << "rows " << rows << " d " << d;
        EXPECT_TRUE(got.padding_untouched()) << "rows " << rows << " d " << d;
      }
    }
  }
}

TEST_P(Op, SiluMulMatches) {
  for (const FormatId format : kPlain) {
    for (const int32_t d : kOpWidths) {
      for (const int32_t rows : kOpRows) {
        std::vector<float> x = gaussian(int64_t{rows} * 2 * d, 1, 3);
        OutAct got(format, rows, d), want(format, rows, d);
        cpu.silu_mul({rows, d, x.data(), got.act()}, nullptr);
        ref.silu_mul({rows, d, x.data(), want.act()}, nullptr);
        EXPECT_EQ(got.differs(want, 4e-7, 0), "") << "rows " << rows << " d " << d;
        EXPECT_TRUE(got.padding_untouched()) << "rows " << rows << " d " << d;
      }
    }
  }
}

// Four units in the last place over the whole range of exp, and sane values beyond it.
TEST_P(Op, SiluIsAccurateForEverySizeOfGate) {
  constexpr int32_t kCount = 20001;
  std::vector<float> x(2 * kCount, 1.0f);
  for (int32_t i = 0; i < kCount; ++i)
    x[static_cast<size_t>(i)] = -86.0f + 0.0087f * static_cast<float>(i);
  OutAct got(FormatId::kF32, 1, kCount), want(FormatId::kF32, 1, kCount);
  cpu.silu_mul({1, kCount, x.data(), got.act()}, nullptr);
  ref.silu_mul({1, kCount, x.data(), want.act()}, nullptr);
  EXPECT_EQ(got.differs(want, 4 * 0x1p-23, 0), "");

  const float far[] = {-1000.0f, -89.0f, 89.0f, 1000.0f, -0.0f, kPoison, 1, 1, 1, 1, 1, 1};
  OutAct out(FormatId::kF32, 1, 6);
  cpu.silu_mul({1, 6, far, out.act()}, nullptr);
  EXPECT_NEAR(out.at(0, 0), 0, 1e-30);
  EXPECT_NEAR(out.at(0, 1), 0, 1e-30);
  EXPECT_EQ(out.at(0, 2), 89.0f);
  EXPECT_EQ(out.at(0, 3), 1000.0f);
  EXPECT_EQ(out.at(0, 4), 0.0f);
  EXPECT_TRUE(std::isnan(out.at(0, 5)));
}

TEST_P(Op, EmbedMatchesForEveryKindOfTable) {
  const std::vector<int32_t> tokens = {4, 0, 4, 2};
  for (const char* text : {"f32", "f16", "bf16", "int8", "int4", "int4-g8-asym", "q4_0"}) {
    for (const int32_t d : {1, 33, 80, 8192}) {
      const QTensor table = random_weights(parse_format(text), 5, d, 9);
      const auto count = static_cast<int32_t>(tokens.size());
      Output got(1, count * d), want(1, count * d);
      cpu.embed({count, d, tokens.data(), view(table), got.data()}, nullptr);
      ref.embed({count, d, tokens.data(), view(table), want.data()}, nullptr);
      EXPECT_TRUE(got.same_bits(want)) << text << " d " << d;
    }
  }
}

TEST_P(Op, GatherRowsMatches) {
  const std::vector<float> x = gaussian(5 * 33, 1, 4);
  const std::vector<int32_t> rows = {4, 1, 1};
  Output got(1, 3 * 33), want(1, 3 * 33);
  cpu.gather_rows({3, 33, x.data(), rows.data(), got.data()}, nullptr);
  ref.gather_rows({3, 33, x.data(), rows.data(), want.data()}, nullptr);
  EXPECT_TRUE(got.same_bits(want));
}

// ---- the key/value cache ------------------------------------------------------------------------

// Three sequences with interleaved, unordered pages and the tokens of one step.
class KvSetup {
 public:
  KvSetup(const AttentionCase& c, const Format& kv_format, uint64_t seed)
      : c_(c), format_(kv_format) {
    int32_t longest = 0, pages = 0;
    for (int s = 0; s < 3; ++s) {
      const int32_t length = c.past[s] + c.fresh[s];
      longest = std::max(longest, length);
      pages += (length + c.page_tokens - 1) / c.page_tokens;
      for (int32_t i = 0; i < c.fresh[s]; ++i) {
        slot.push_back(s);
        pos.push_back(c.past[s] + i);
      }
    }
    max_pages_ = (longest + c.page_tokens - 1) / c.page_tokens + 1;
    table_.assign(static_cast<size_t>(3 * max_pages_), -1);
    int32_t next = pages;  // page 0 belongs to nobody; the others are dealt out from the end
    for (int32_t page = 0; page < max_pages_; ++page) {
      for (int s = 0; s < 3; ++s) {
        if (page * c.page_tokens < c.past[s] + c.fresh[s]) table_[s * max_pages_ + page] = next--;
      }
    }
    rows_ = int64_t{pages + 1} * c.kv_heads * c.page_tokens;
    k = pool(seed, 21);
    v = pool(seed, 22);
    const int64_t width = int64_t{c.heads + 2 * c.kv_heads} * c.head_dim;
    qkv = gaussian(static_cast<int64_t>(pos.size()) * width, seed, 23);
  }

  KvView view() { return {act_over(k), act_over(v), table_.data(), max_pages_, c_.page_tokens}; }
  int32_t tokens() const { return static_cast<int32_t>(pos.size()); }
  RopeAppendArgs rope(const std::vector<float>& cos_sin) {
    return {tokens(),       c_.heads,   c_.kv_heads, c_.head_dim, qkv.data(),
            cos_sin.data(), pos.data(), slot.data(), view()};
  }
  AttentionArgs attention(const Act& out) {
    return {tokens(),    c_.heads,   c_.kv_heads,
            c_.head_dim, qkv.data(), pos.data(),
            slot.data(), view(),     1 / std::sqrt(static_cast<float>(c_.head_dim)),
            out};
  }
  // Makes every position that no token of the step may see NaN.
  void poison_future() {
    std::vector<bool> seen(static_cast<size_t>(rows_));
    for (size_t t = 0; t < pos.size(); ++t) {
      for (int32_t p = 0; p <= pos[t]; ++p) {
        for (int32_t h = 0; h < c_.kv_heads; ++h) {
          seen[static_cast<size_t>(kv_row(view(), slot[t], p, h, c_.kv_heads))] = true;
        }
      }
    }
    const std::vector<float> poison(static_cast<size_t>(c_.head_dim), kPoison);
    for (int64_t row = 0; row < rows_; ++row) {
      if (seen[static_cast<size_t>(row)]) continue;
      store_row(act_over(k), row, c_.head_dim, poison.data());
      store_row(act_over(v), row, c_.head_dim, poison.data());
    }
  }

  std::vector<int32_t> pos, slot;
  QTensorBuilder k, v;
  std::vector<float> qkv;

 private:
  QTensorBuilder pool(uint64_t seed, uint64_t stream) const {
    const std::vector<float> values = gaussian(rows_ * c_.head_dim, seed, stream);
    const QTensorBuilder rows = build_qtensor(format_, rows_, c_.head_dim);
    store_rows(act_over(rows), 0, rows_, c_.head_dim, values.data());
    return rows;
  }
  const AttentionCase& c_;
  Format format_;
  int32_t max_pages_ = 0;
  int64_t rows_ = 0;
  std::vector<int32_t> table_;
};

std::string text(const AttentionCase& c) {
  return fmt::format("heads {} kv_heads {} head_dim {} page {}", c.heads, c.kv_heads, c.head_dim,
                     c.page_tokens);
}

std::vector<float> rotary(const OpTable& ops, const std::vector<int32_t>& pos, int32_t half) {
  std::vector<float> inv_freq(static_cast<size_t>(half));
  for (int32_t i = 0; i < half; ++i) {
    inv_freq[static_cast<size_t>(i)] =
        std::pow(10000.0f, -static_cast<float>(i) / static_cast<float>(half));
  }
  std::vector<float> table(pos.size() * 2 * static_cast<size_t>(half), kPoison);
  ops.rotary_table(
      {static_cast<int32_t>(pos.size()), half, pos.data(), inv_freq.data(), table.data()}, nullptr);
  return table;
}

TEST_P(Op, RotaryTableMatches) {
  for (const int32_t half : {1, 40, 64}) {
    const std::vector<int32_t> pos = {0, 1, 17, 131071, 5};
    const std::vector<float> got = rotary(cpu, pos, half), want = rotary(ref, pos, half);
    for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-7) << "half " << half;
  }
}

// The same bits: what differs by one rounding would be another code.
TEST_P(Op, RopeAppendEqualsTheReferenceAndWritesNothingElse) {
  for (const AttentionCase& c : kAttentionCases) {
    for (const char* format : kCaches) {
      KvSetup got(c, parse_cache_format(format), 5), want(c, parse_cache_format(format), 5);
      const std::vector<float> cos_sin = rotary(ref, got.pos, c.head_dim / 2);
      cpu.rope_append(got.rope(cos_sin), nullptr);
      ref.rope_append(want.rope(cos_sin), nullptr);
      EXPECT_EQ(got.qkv, want.qkv) << text(c);
      EXPECT_TRUE(same_planes(got.k, want.k)) << text(c) << " " << format;
      EXPECT_TRUE(same_planes(got.v, want.v)) << text(c) << " " << format;
    }
  }
}

TEST_P(Op, AttentionMatchesAndNeverLooksAhead) {
  for (const AttentionCase& c : kAttentionCases) {
    for (const char* kv_format : kCaches) {
      for (const FormatId out_format : kPlain) {
        KvSetup setup(c, parse_cache_format(kv_format), 6);
        setup.poison_future();
        OutAct got(out_format, setup.tokens(), c.heads * c.head_dim);
        OutAct want(out_format, setup.tokens(), c.heads * c.head_dim);
        cpu.attention(setup.attention(got.act()), nullptr);
        ref.attention(setup.attention(want.act()), nullptr);
        // Averages of numbers of size 1 with weights that sum to 1.
        EXPECT_EQ(got.differs(want, 0, 4e-6), "") << text(c) << " " << kv_format;
        EXPECT_TRUE(got.padding_untouched()) << text(c);
      }
    }
  }
}

TEST_P(Op, BitsDoNotDependOnTheThreadCount) {
  const int before = thread_pool().workers();
  const AttentionCase& c = kAttentionCases[4];
  const int32_t rows = 16, d = 4096;
  const std::vector<float> x = gaussian(int64_t{rows} * 2 * d, 1, 3), weight = gaussian(d, 1, 2);
  std::vector<OutAct> outputs[4];
  for (const int threads : {1, 2, 3}) {
    set_threads(threads);
    KvSetup setup(c, format_of(FormatId::kBF16), 6);
    cpu.rope_append(setup.rope(rotary(cpu, setup.pos, c.head_dim / 2)), nullptr);
    OutAct attention(FormatId::kF32, setup.tokens(), c.heads * c.head_dim);
    cpu.attention(setup.attention(attention.act()), nullptr);
    OutAct silu(FormatId::kF32, rows, d), one(FormatId::kF32, 1, d * rows),
        norm(FormatId::kF32, rows, d);
    cpu.silu_mul({rows, d, x.data(), silu.act()}, nullptr);
    cpu.silu_mul({1, d * rows, x.data(), one.act()}, nullptr);
    cpu.rmsnorm({rows, d, x.data(), weight.data(), 1e-5f, norm.act()}, nullptr);
    outputs[threads] = {attention, silu, one, norm};
  }
  set_threads(before);
  EXPECT_TRUE(outputs[1] == outputs[2]);
  EXPECT_TRUE(outputs[1] == outputs[3]);
}

}  // namespace
}  // namespace lowbit
