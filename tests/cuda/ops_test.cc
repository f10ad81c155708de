// The elementwise ops on the GPU against the reference backend.
#include "cuda/ops.h"

#include <cmath>
#include <limits>

#include "bench/linear_cases.h"
#include "bench/op_cases.h"
#include "cuda/on_gpu.h"
#include "kernels/linear_setup.h"
#include "ref/backend.h"

namespace lowbit {
namespace {

using test::gaussian;
using test::kPoison;

constexpr FormatId kPlain[] = {FormatId::kF32, FormatId::kBF16, FormatId::kF16};

void finish() { LB_CUDA(cudaDeviceSynchronize()); }

// An activation [rows, d] with rows further apart than they are long, of NaN to begin with.
class Out {
 public:
  Out(FormatId format, int32_t rows, int32_t d, int32_t gap)
      : rows_(rows), d_(d), ld_(d + gap), format_(format) {
    const std::vector<float> poison(static_cast<size_t>(rows * ld_), kPoison);
    host_.resize(poison.size() * format_of(format).bits / 8);
    encode_plain(format, poison.data(), static_cast<int64_t>(poison.size()), host_.data());
    device_ = OnGpu(host_);
  }
  Act on_host() { return {host_.data(), nullptr, ld_, format_}; }
  Act on_gpu() const { return {device_.as(), nullptr, ld_, format_}; }

  // Both wrote the same within `relative` and a rounding to the format.
  void expect_near(double relative) const {
    const std::vector<float> got = values(device_.read()), want = values(host_);
    const double unit = format_ == FormatId::kBF16  ? 0x1p-7
                        : format_ == FormatId::kF16 ? 0x1p-10
                                                    : 0;
    const double smallest = format_ == FormatId::kF16 ? 0x1p-24 : 0x1p-126;
    for (int32_t r = 0; r < rows_; ++r) {
      for (int64_t i = 0; i < ld_; ++i) {
        const auto at = static_cast<size_t>(r * ld_ + i);
        if (i >= d_) {
          ASSERT_TRUE(std::isnan(got[at])) << "written after row " << r;
          continue;
        }
        if (std::isnan(want[at]) || std::isinf(want[at])) {
          ASSERT_EQ(std::isnan(got[at]), std::isnan(want[at])) << r << ", " << i;
          continue;
        }
        const double allowed = (unit + relative) * std::abs(double{want[at]}) + smallest;
        ASSERT_NEAR(got[at], want[at], allowed) << r << ", " << i;
      }
    }
  }

 private:
  std::vector<float> values(const std::vector<std::byte>& bytes) const {
    std::vector<float> all(bytes.size() * 8 / format_of(format_).bits);
    decode_plain(format_, bytes.data(), static_cast<int64_t>(all.size()), all.data());
    return all;
  }
  int32_t rows_, d_;
  int64_t ld_;
  FormatId format_;
  std::vector<std::byte> host_;
  OnGpu device_;
};

class CudaOps : public GpuTest {
 protected:
  const OpTable ref = ref_backend().op;
};

TEST_F(CudaOps, EmbedReadsTheReferenceNumbersOfEveryFormat) {
  const std::vector<int32_t> tokens = {4, 0, 4, 2};
  const OnGpu tokens_gpu(tokens);
  const auto compare = [&](const Format& format, int32_t d) {
    SCOPED_TRACE(testing::Message() << name(format) << ", d " << d);
    const QTensor table = test::random_weights(format, 5, d, 9);
    const TensorOnGpu table_gpu(table);
    std::vector<float> want(tokens.size() * static_cast<size_t>(d), kPoison);
    const OnGpu out(want);
    ref.embed({4, d, tokens.data(), view(table), want.data()}, nullptr);
    cuda::embed({4, d, tokens_gpu.as<int32_t>(), table_gpu.weights(view(table)), out.as<float>()},
                nullptr);
    const std::vector<float> got = out.read<float>();
    EXPECT_EQ(std::memcmp(got.data(), want.data(), want.size() * sizeof(float)), 0);
  };
  for (const Format& format : every_weight_format()) compare(format, 512);
  for (const char* text : {"f32", "bf16", "int8", "int4", "int4-g8-asym", "int3-g32", "ternary5"}) {
    for (const int32_t d : {1, 33, 80, 8192}) compare(parse_format(text), d);
  }
}

TEST_F(CudaOps, GatherRowsCopies) {
  const std::vector<int32_t> rows = {4, 1, 1};
  const OnGpu rows_gpu(rows);
  for (const int32_t d : {1, 33, 128, 4096}) {
    const std::vector<float> x = gaussian(5 * d, 1, 4);
    std::vector<float> want(static_cast<size_t>(3 * d));
    const OnGpu x_gpu(x), out(want);
    ref.gather_rows({3, d, x.data(), rows.data(), want.data()}, nullptr);
    cuda::gather_rows({3, d, x_gpu.as<float>(), rows_gpu.as<int32_t>(), out.as<float>()}, nullptr);
    EXPECT_EQ(out.read<float>(), want) << "d " << d;
  }
}

TEST_F(CudaOps, RmsNormMatches) {
  for (const FormatId format : kPlain) {
    for (const int32_t d : kOpWidths) {
      for (const int32_t gap : {0, 3}) {
        SCOPED_TRACE(testing::Message() << name(format_of(format)) << ", d " << d);
        const int32_t rows = 16;
        const std::vector<float> x = gaussian(int64_t{rows} * d, 1, 1), weight = gaussian(d, 1, 2);
        const OnGpu x_gpu(x), weight_gpu(weight);
        Out out(format, rows, d, gap);
        ref.rmsnorm({rows, d, x.data(), weight.data(), 1e-5f, out.on_host()}, nullptr);
        cuda::rmsnorm({rows, d, x_gpu.as<float>(), weight_gpu.as<float>(), 1e-5f, out.on_gpu()},
                      nullptr);
        out.expect_near(1e-6);
      }
    }
  }
}

TEST_F(CudaOps, ARowOfRmsNormDoesNotDependOnTheOthers) {
  for (const int32_t d : {257, 4096}) {
    constexpr int32_t kRows = 300;
    const std::vector<float> x = gaussian(int64_t{kRows} * d, 4, 1), weight = gaussian(d, 1, 2);
    const OnGpu x_gpu(x), weight_gpu(weight), all(x),
        one(std::vector<float>(x.begin(), x.begin() + d));
    const auto norm = [&](int32_t first, int32_t rows, const OnGpu& out) {
      const Act act = {out.as(), nullptr, d, FormatId::kF32};
      cuda::rmsnorm(
          {rows, d, x_gpu.as<float>() + int64_t{first} * d, weight_gpu.as<float>(), 1e-5f, act},
          nullptr);
      return out.read<float>();
    };
    const std::vector<float> together = norm(0, kRows, all);
    for (const int32_t row : {0, 131, 299}) {
      const std::vector<float> alone = norm(row, 1, one);
      EXPECT_TRUE(std::equal(alone.begin(), alone.end(), together.begin() + int64_t{row} * d));
    }
  }
}

TEST_F(CudaOps, SiluMulMatches) {
  for (const FormatId format : kPlain) {
    for (const int32_t d : kOpWidths) {
      SCOPED_TRACE(testing::Message() << name(format_of(format)) << ", d " << d);
      const int32_t rows = 3;
      std::vector<float> x = gaussian(int64_t{rows} * 2 * d, 1, 3);
      const OnGpu x_gpu(x);
      Out out(format, rows, d, d % 2 == 0 ? 0 : 3);
      ref.silu_mul({rows, d, x.data(), out.on_host()}, nullptr);
      cuda::silu_mul({rows, d, x_gpu.as<float>(), out.on_gpu()}, nullptr);
      out.expect_near(4e-7);
    }
  }
}

TEST_F(CudaOps, SiluIsAccurateForEverySizeOfGate) {
  constexpr int32_t kCount = 20003;
  std::vector<float> x(2 * kCount, 1.0f);
  for (int32_t i = 0; i < kCount; ++i) {
    x[static_cast<size_t>(i)] = -86.0f + 0.0087f * static_cast<float>(i);
  }
  const float far[] = {-1000.0f, -90.0f, 1000.0f, -0.0f, kPoison, INFINITY};
  std::copy(std::begin(far), std::end(far), x.begin());
  const OnGpu x_gpu(x);
  Out out(FormatId::kF32, 1, kCount, 0);
  ref.silu_mul({1, kCount, x.data(), out.on_host()}, nullptr);
  cuda::silu_mul({1, kCount, x_gpu.as<float>(), out.on_gpu()}, nullptr);
  out.expect_near(4 * 0x1p-23);
}

std::vector<float> frequencies(int32_t half) {
  std::vector<float> inv_freq(static_cast<size_t>(half));
  for (int32_t i = 0; i < half; ++i) {
    inv_freq[static_cast<size_t>(i)] =
        std::pow(500000.0f, -static_cast<float>(i) / static_cast<float>(half));
  }
  return inv_freq;
}

TEST_F(CudaOps, RotaryTableMatches) {
  const std::vector<int32_t> pos = {0, 1, 17, 131071, 5};
  const OnGpu pos_gpu(pos);
  for (const int32_t half : {1, 40, 64}) {
    const std::vector<float> inv_freq = frequencies(half);
    std::vector<float> want(pos.size() * 2 * static_cast<size_t>(half));
    const OnGpu freq_gpu(inv_freq), out(want);
    ref.rotary_table({5, half, pos.data(), inv_freq.data(), want.data()}, nullptr);
    cuda::rotary_table({5, half, pos_gpu.as<int32_t>(), freq_gpu.as<float>(), out.as<float>()},
                       nullptr);
    const std::vector<float> got = out.read<float>();
    for (size_t i = 0; i < want.size(); ++i)
      ASSERT_NEAR(got[i], want[i], 1.2e-7) << half << " " << i;
  }
}

// ---- the key/value cache ------------------------------------------------------------------------

constexpr const char* kCaches[] = {
    "f32",           "bf16",         "f16",         "int8",      "int8-g32",       "fp8",
    "mxfp8",         "mxfp6-e3m2",   "int4",        "mxfp4",     "int4-sym",       "fp4",
    "int4-g16-sf16", "int8-g8",      "int3",        "int2-asym", "int4-g32-rzero", "int1",
    "ternary-row",   "ternary5-row", "ternary5-g8", "q4_0",      "q4_1",           "q8_0"};

// Keys and values of two sequences whose pages are not in order; one head of numbers that no
// scale holds, one of zeros.
TEST_F(CudaOps, RopeAppendWritesTheReferenceCodes) {
  struct Heads {
    int32_t heads, kv_heads, head_dim, page_tokens;
  };
  const std::vector<int32_t> slot = {0, 0, 1, 1, 1}, pos = {6, 7, 0, 1, 15};
  const auto tokens = static_cast<int32_t>(slot.size());
  for (const Heads h : {Heads{1, 1, 2, 1}, {4, 2, 80, 4}, {6, 2, 18, 8}, {32, 8, 128, 16}}) {
    const int32_t max_pages = 16 / h.page_tokens + 1;
    std::vector<int32_t> pages(static_cast<size_t>(2 * max_pages));
    for (size_t i = 0; i < pages.size(); ++i) {
      pages[i] = static_cast<int32_t>(pages.size() - 1 - i);
    }
    const int64_t width = int64_t{h.heads + 2 * h.kv_heads} * h.head_dim;
    std::vector<float> qkv = gaussian(tokens * width, 5, 1);
    float* key = qkv.data() + int64_t{h.heads} * h.head_dim;
    std::fill_n(key, h.head_dim, 0.0f);
    key[width] = INFINITY;
    key[2 * width + h.head_dim - 1] = kPoison;
    const std::vector<float> inv_freq = frequencies(h.head_dim / 2);
    std::vector<float> cos_sin(static_cast<size_t>(tokens * h.head_dim));
    ref.rotary_table({tokens, h.head_dim / 2, pos.data(), inv_freq.data(), cos_sin.data()},
                     nullptr);
    const OnGpu slot_gpu(slot), pos_gpu(pos), pages_gpu(pages), cos_sin_gpu(cos_sin);
    for (const char* text : kCaches) {
      SCOPED_TRACE(testing::Message() << text << ", head size " << h.head_dim);
      const int64_t rows = static_cast<int64_t>(pages.size()) * h.kv_heads * h.page_tokens;
      const QTensorBuilder k = build_qtensor(parse_cache_format(text), rows, h.head_dim);
      const QTensorBuilder v = build_qtensor(parse_cache_format(text), rows, h.head_dim);
      const TensorOnGpu k_gpu(k.tensor), v_gpu(v.tensor);
      std::vector<float> turned = qkv;
      const OnGpu qkv_gpu(qkv);
      const auto args = [&](float* x, const float* table, const int32_t* p, const int32_t* s,
                            const KvView& kv) {
        return RopeAppendArgs{tokens, h.heads, h.kv_heads, h.head_dim, x, table, p, s, kv};
      };
      ref.rope_append(
          args(turned.data(), cos_sin.data(), pos.data(), slot.data(),
               {test::act_over(k), test::act_over(v), pages.data(), max_pages, h.page_tokens}),
          nullptr);
      cuda::rope_append(
          args(qkv_gpu.as<float>(), cos_sin_gpu.as<float>(), pos_gpu.as<int32_t>(),
               slot_gpu.as<int32_t>(),
               {k_gpu.act(), v_gpu.act(), pages_gpu.as<int32_t>(), max_pages, h.page_tokens}),
          nullptr);
      finish();
      const std::vector<float> got = qkv_gpu.read<float>();
      for (size_t i = 0; i < got.size(); ++i) {
        ASSERT_TRUE(got[i] == turned[i] || (std::isnan(got[i]) && std::isnan(turned[i]))) << i;
      }
      if (k.tensor.format.quantized()) {  // a NaN has many bits in formats without scales
        EXPECT_EQ(k_gpu.differs(k.tensor), "");
      }
      EXPECT_EQ(v_gpu.differs(v.tensor), "");
    }
  }
}

TEST_F(CudaOps, NothingToDoIsNothing) {
  cuda::embed({}, nullptr);
  cuda::quantize({}, nullptr);
  cuda::rotary_table({}, nullptr);
  cuda::rope_append({}, nullptr);
  cuda::silu_mul({}, nullptr);
  cuda::gather_rows({}, nullptr);
  cuda::sample({}, nullptr);
  finish();
}

}  // namespace
}  // namespace lowbit
