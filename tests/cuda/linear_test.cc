// Every registry row of the cuda backend against the reference, on the same codes and activations.
#include <gtest/gtest.h>

#include <algorithm>

#include "cuda/backend.h"
#include "cuda/gpu.h"
#include "kernels/linear_problem.h"

namespace lowbit {
namespace {

using namespace test;

// Planes of a tensor in device memory.
class OnDevice {
 public:
  explicit OnDevice(const QTensor& tensor) : view_(view(tensor)) {
    for (size_t i = 0; i < kPlanes.size(); ++i) {
      planes_[i] = cuda_backend().upload(tensor.plane(kPlanes[i]));
    }
    view_.codes = data(Plane::kCodes);
    view_.scales = data(Plane::kScales);
    view_.zeros = data(Plane::kZeros);
    view_.meta = data(Plane::kMeta);
    view_.outer = data(Plane::kOuter);
  }
  void* data(Plane plane) const { return planes_[static_cast<size_t>(plane)].data; }
  const WeightView& weights() const { return view_; }

 private:
  WeightView view_;
  std::array<DeviceBytes, kPlanes.size()> planes_;
};

// The activations of a problem, as many bytes as they have.
class ActOnDevice {
 public:
  explicit ActOnDevice(Activations& x) : act_(x.act()) {
    for (auto& [plane, bytes] : x.planes()) {
      memory_.push_back(cuda_backend().allocate(bytes.size()));
      LB_CUDA(cudaMemcpy(memory_.back().data, bytes.data(), bytes.size(), cudaMemcpyHostToDevice));
      void* data = memory_.back().data;
      (plane == Plane::kCodes    ? act_.data
       : plane == Plane::kScales ? act_.scales
       : plane == Plane::kZeros  ? act_.zeros
                                 : act_.outer) = data;
    }
  }
  const Act& act() const { return act_; }

 private:
  Act act_;
  std::vector<DeviceBytes> memory_;
};

class LinearOnGpu : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (!IsSkipped()) device_ = cuda_backend().info();
  }

  static const Packer* packer_of(const LinearKernel& kernel, const Format& format) {
    for (const Packer& packer : cuda_backend().packers) {
      if (packer.layout == kernel.layout && packer.accepts(format)) return &packer;
    }
    return nullptr;
  }

  bool takes(const LinearKernel& kernel, const Problem& p) const {
    const LinearSpec spec{p.format, p.act_format, p.n, p.k, true, p.m_max};
    return kernel.weights(p.format) && kernel.activations(p.act_format) &&
           (!kernel.reject || kernel.reject(spec, device_).empty());
  }

  // What every run of a problem reads, in device memory, and room for what kernels ask for.
  struct OnGpuProblem {
    OnGpuProblem(const LinearKernel& kernel, Problem& p)
        : x(p.x), bias(p.bias), workspace(p.workspace_bytes(kernel, p.m_max) / sizeof(float) + 1) {}
    ActOnDevice x;
    Guarded bias, workspace;
  };

  struct Call {
    int32_t m;
    bool with_bias = false;
    Epilogue epilogue = Epilogue::kStore;
  };

  // y of the first m tokens, what lies around it included.
  Output run(const LinearKernel& kernel, Problem& p, const OnGpuProblem& gpu,
             const WeightView& weights, const Call& call) {
    const auto [m, with_bias, epilogue] = call;
    Output y(m, p.n);
    if (epilogue == Epilogue::kAdd) y.fill(p.before);
    const std::span<float> all = y.memory();
    const Guarded y_gpu(std::vector<float>(all.begin(), all.end()));
    LinearArgs args = p.args(weights, m, with_bias, epilogue, y, gpu.workspace.data());
    args.x = gpu.x.act();
    args.y = y_gpu.data() + (y.data() - all.data());
    if (with_bias) args.bias = gpu.bias.data();
    kernel.launch(args, nullptr);
    LB_CUDA(cudaDeviceSynchronize());
    const std::vector<float> result = y_gpu.read();
    std::copy(result.begin(), result.end(), all.begin());
    EXPECT_TRUE(y_gpu.guard_intact() && gpu.workspace.guard_intact()) << repro(kernel, p, m);
    return y;
  }

  void check(const LinearKernel& kernel, Problem& p, std::span<const int32_t> tokens) {
    const Packer* packer = packer_of(kernel, p.format);
    ASSERT_TRUE(packer || kernel.layout == LayoutId::kCanonical) << kernel.name;
    const OnDevice canonical(p.w);
    const DeviceTensor packed = packer ? packer->pack(p.w, false) : DeviceTensor{};
    const OnGpuProblem gpu(kernel, p);
    for (size_t i = 0; i < tokens.size(); ++i) {
      const Call call = {tokens[i], i % 2 == 0, i / 2 % 2 == 0 ? Epilogue::kAdd : Epilogue::kStore};
      Output y = run(kernel, p, gpu, packer ? packed.view : canonical.weights(), call);
      const std::string error = p.check(kernel, call.m, call.with_bias, call.epilogue, y);
      ASSERT_EQ(error, "") << repro(kernel, p, call.m) << " bias " << call.with_bias << " epilogue "
                           << (call.epilogue == Epilogue::kAdd ? "add" : "store");
      ASSERT_TRUE(y.padding_untouched()) << repro(kernel, p, call.m);
    }
  }

  static constexpr int32_t kMostTokens = 33;
  DeviceInfo device_;
};

// One format each, so that shards of the test run side by side.
class EveryRowOnGpu : public LinearOnGpu, public testing::WithParamInterface<Format> {};

TEST_P(EveryRowOnGpu, AgreesWithTheReferenceOnRaggedShapes) {
  constexpr int32_t kTokens[] = {1, 2, 8, 9, 33};
  for (const LinearShape& shape : kRaggedLinearShapes) {
    if (!cannot_take(GetParam(), shape.n, shape.k).empty()) continue;
    Problem p(GetParam(), format_of(FormatId::kF32), kMostTokens, shape);
    for (const LinearKernel& kernel : cuda_backend().linear_kernels) {
      if (takes(kernel, p)) check(kernel, p, kTokens);
      if (HasFatalFailure()) return;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, EveryRowOnGpu, testing::ValuesIn(every_weight_format()),
                         [](const auto& test) {
                           std::string text = name(test.param);
                           for (char& c : text) {
                             if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
                           }
                           return std::to_string(test.index) + "_" + text;
                         });

TEST_F(LinearOnGpu, EveryActivationFormatAgreesWithTheReference) {
  constexpr int32_t kTokens[] = {1, 9};
  for (const char* act : {"bf16", "f16", "int8", "int8-tensor", "int8-g32", "int8-asym", "fp8",
                          "fp8-e5m2", "fp8-tensor", "fp8-sf16", "mxfp8", "mxfp6", "mxfp6-e3m2",
                          "mxfp4", "nvfp4", "int4", "int4-row-sym"}) {
    for (const char* weights : {"bf16", "int8", "int4", "mxfp4", "ternary", "fp8", "nvfp4"}) {
      for (const LinearShape& shape : {kRaggedLinearShapes[5], kRaggedLinearShapes[9]}) {
        Problem p(parse_format(weights), activation_format(parse_format(act)), 9, shape);
        for (const LinearKernel& kernel : cuda_backend().linear_kernels) {
          if (takes(kernel, p)) check(kernel, p, kTokens);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

// Formats whose codes mean what their tensor's table says.
TEST_F(LinearOnGpu, LearnedNumbersAreLookedUp) {
  constexpr int32_t kTokens = 5;
  for (const LinearShape& shape : {LinearShape{9, 200, "a short block"}, {70, 2112, "two runs"}}) {
    const QTensorBuilder source = build_qtensor(format_of(FormatId::kF32), shape.n, shape.k);
    const std::vector<float> values = gaussian(shape.n * shape.k, 5, 1),
                             x = gaussian(kTokens * shape.k, 6, 1);
    encode_plain(FormatId::kF32, values.data(), shape.n * shape.k, source.codes);
    const QTensor w = quantize_rtn(source.tensor, parse_format("codebook-g32"), {"w"});
    const std::vector<float> decoded = decode_rows(w);
    const OnDevice weights(w);
    const LinearSpec spec{w.format, format_of(FormatId::kF32), shape.n, shape.k, false, kTokens};
    const LinearPlan plan = plan_linear(spec, cuda_backend().linear_kernels, device_);
    ASSERT_FALSE(plan.buckets.empty());
    for (const int32_t m : {1, kTokens}) {
      const Guarded in(x), out(size_t(m) * shape.n);
      LinearArgs args{};
      args.m = m;
      args.n = shape.n;
      args.k = shape.k;
      args.x = act_of(format_of(FormatId::kF32), shape.k);
      args.x.data = in.data();
      args.w = weights.weights();
      args.y = out.data();
      args.ldy = shape.n;
      plan.pick(m).launch(args, nullptr);
      LB_CUDA(cudaDeviceSynchronize());
      const std::vector<float> y = out.read();
      for (int32_t i = 0; i < m * shape.n; ++i) {
        const float *row = &x[i / shape.n * shape.k], *column = &decoded[i % shape.n * shape.k];
        double sum = 0;
        for (int32_t j = 0; j < shape.k; ++j) sum += double{row[j]} * column[j];
        EXPECT_NEAR(y[i], sum, 1e-4) << plan.pick(m).name << " number " << i;
      }
    }
  }
}

// Shapes at which every warp has several tiles, or several parts of x at a time.
TEST_F(LinearOnGpu, LargeShapesAgreeWithTheReference) {
  constexpr int32_t kTokens[] = {1, 8, 32};
  for (const char* name : {"bf16", "int8", "int4", "int2", "int1", "ternary", "fp6", "mxfp4",
                           "nvfp4", "int4-g16-asym", "int3", "int4-g64-sym-24", "int8-24"}) {
    for (const LinearShape& shape :
         {LinearShape{3000, 512, "many tiles"}, LinearShape{48, 14336, "x in chunks"}}) {
      Problem p(parse_format(name), format_of(FormatId::kF32), kMostTokens, shape);
      for (const LinearKernel& kernel : cuda_backend().linear_kernels) {
        if (kernel.layout != LayoutId::kCanonical && takes(kernel, p)) check(kernel, p, kTokens);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Shapes at which a CTA sums parts of tiles several times, and at which a warp's columns are more
// than are under way at once, or more than there is memory for.
TEST_F(LinearOnGpu, OneTokenAgreesWithTheReferenceAtExtremeShapes) {
  constexpr int32_t kTokens[] = {1};
  for (const char* name : {"bf16", "f16", "int8", "int4", "int4-sym", "int2", "ternary", "mxfp4",
                           "nvfp4", "fp8", "fp6", "mxfp8", "fp8-g128"}) {
    for (const LinearShape& shape :
         {LinearShape{40000, 512, "many rounds"}, LinearShape{96, 20480, "wide parts"},
          LinearShape{48, 32768, "x too wide"}}) {
      Problem p(parse_format(name), format_of(FormatId::kF32), 1, shape);
      for (const LinearKernel& kernel : cuda_backend().linear_kernels) {
        if (kernel.layout != LayoutId::kCanonical && takes(kernel, p)) check(kernel, p, kTokens);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// More tokens than one panel holds, and fewer, k being an odd number of units for a CTA or an even
// one; rows that leave a cluster's second CTA none.
TEST_F(LinearOnGpu, ManyTokensAgreeWithTheReference) {
  constexpr int32_t kTokens[] = {17, 40, 64, 100, 256, 300, 513};
  const auto check_pair = [&](const char* weights, const char* act, const LinearShape& shape) {
    const Format a = std::string_view(act) == "f32" ? format_of(FormatId::kF32)
                                                    : activation_format(parse_format(act));
    Problem p(parse_format(weights), a, kTokens[6], shape);
    for (const LinearKernel& kernel : cuda_backend().linear_kernels) {
      if (kernel.m.lo > 1 && takes(kernel, p)) check(kernel, p, kTokens);
      if (HasFatalFailure()) return;
    }
  };
  for (const LinearShape& shape :
       {LinearShape{260, 1024, "three blocks of rows"}, LinearShape{40, 320, "one"},
        LinearShape{24, 1600, "slices of odd and even length"}}) {
    for (const char* weights : {"bf16",
                                "f16",
                                "int8",
                                "int8-g32",
                                "int4",
                                "int4-row-sym",
                                "int4-g16-asym",
                                "int3",
                                "int2",
                                "int1",
                                "ternary",
                                "fp8",
                                "fp6",
                                "mxfp8",
                                "mxfp6",
                                "mxfp4",
                                "nvfp4",
                                "int5-g32",
                                "int4-g64-sym-24",
                                "int4-row-sym-24",
                                "int8-24"}) {
      check_pair(weights, "f32", shape);
      if (HasFatalFailure()) return;
    }
    for (const auto& [weights, act] : {std::pair{"int8-row-sym", "int8"},
                                       {"ternary", "int8"},
                                       {"fp8", "fp8"},
                                       {"mxfp8", "mxfp8"},
                                       {"mxfp4", "mxfp4"},
                                       {"nvfp4", "nvfp4"}}) {
      check_pair(weights, act, shape);
      if (HasFatalFailure()) return;
    }
  }
}

// A CTA makes several blocks of rows and tokens one after the other, or none.
TEST_F(LinearOnGpu, BatchesAgreeWithTheReferenceWhereCtasTakeTurns) {
  constexpr int32_t kTokens[] = {9, 17, 100, 200};
  for (const char* name : {"bf16", "int8", "int4", "mxfp4"}) {
    Problem p(parse_format(name), format_of(FormatId::kF32), 200, {34100, 192, "many blocks"});
    for (const LinearKernel& kernel : cuda_backend().linear_kernels) {
      if (kernel.m.lo > 1 && takes(kernel, p)) check(kernel, p, kTokens);
      if (HasFatalFailure()) return;
    }
  }
}

// Normalising x and multiplying gate with up inside the kernel gives the bits that ops of their own
// give; where sums are normalised instead of numbers (one token, and batches in bf16), nearly.
TEST_F(LinearOnGpu, FusedOpsGiveTheBitsOfSeparateOnes) {
  const Backend& gpu = cuda_backend();
  for (const char* name : {"bf16", "int4", "int8", "mxfp4", "fp8", "fp6"}) {
    for (const int32_t m : {1, 3, 9, 32, 100, 300}) {
      constexpr int32_t kN = 96, kK = 14336;
      const Format f32 = format_of(FormatId::kF32);
      Problem p(parse_format(name), f32, m, {kN, kK, "fused"});
      const LinearPlan plan =
          plan_linear({p.format, f32, kN, kK, false, m}, gpu.linear_kernels, device_);
      const LinearKernel* kernel = &plan.pick(m);
      ASSERT_TRUE(kernel->fused_silu) << kernel->name;
      const DeviceTensor packed = packer_of(*kernel, p.format)->pack(p.w, true);
      const std::vector<float> dense = gaussian(int64_t{m} * kK, kSeed, 21);
      const Guarded x(dense), norm(gaussian(kK, kSeed, 22)), normed(dense.size());
      const size_t count = static_cast<size_t>(m) * kN;
      const Guarded both(count), separate(count / 2), fused(count / 2);
      const Guarded workspace(p.workspace_bytes(*kernel, m) / sizeof(float) + 1);
      Act act = act_of(format_of(FormatId::kF32), kK);
      act.data = normed.data();
      gpu.op.rmsnorm({m, kK, x.data(), norm.data(), 1e-5f, act}, nullptr);
      LinearArgs args{m,
                      kN,
                      kK,
                      act,
                      packed.view,
                      nullptr,
                      both.data(),
                      kN,
                      Epilogue::kStore,
                      workspace.data()};
      kernel->launch(args, nullptr);
      Act out = act_of(format_of(FormatId::kF32), kN / 2);
      out.data = separate.data();
      gpu.op.silu_mul({m, kN / 2, both.data(), out}, nullptr);

      args.x.data = x.data();
      args.norm_weight = norm.data();
      args.norm_eps = 1e-5f;
      args.y = fused.data();
      args.ldy = kN / 2;
      args.epilogue = Epilogue::kSiluMul;
      kernel->launch(args, nullptr);
      LB_CUDA(cudaDeviceSynchronize());
      const std::vector<float> got = fused.read(), wanted = separate.read();
      const bool batch_in_bf16 = kernel->u_x == 0x1p-8 && m <= 256;
      if (m > 1 && !batch_in_bf16) {
        EXPECT_EQ(got, wanted) << name << " m " << m;
        continue;
      }
      double apart = 0, all = 0;
      for (size_t i = 0; i < got.size(); ++i) {
        apart += std::pow(double{got[i]} - wanted[i], 2), all += std::pow(double{wanted[i]}, 2);
      }
      EXPECT_LT(std::sqrt(apart / all), m == 1 ? 1e-3 : 0x1p-8) << name << " m " << m;
    }
  }
}

TEST_F(LinearOnGpu, BitsRepeat) {
  Problem p(parse_format("int4"), format_of(FormatId::kF32), 32, {1040, 4096, "repeat"});
  for (const LinearKernel& kernel : cuda_backend().linear_kernels) {
    if (!takes(kernel, p) || kernel.layout == LayoutId::kCanonical) continue;
    const DeviceTensor packed = packer_of(kernel, p.format)->pack(p.w, false);
    const OnGpuProblem inputs(kernel, p);
    for (const int32_t m : {1, 8, 32}) {
      const Output first = run(kernel, p, inputs, packed.view, {m});
      for (int round = 0; round < 3; ++round) {
        EXPECT_TRUE(run(kernel, p, inputs, packed.view, {m}).same_bits(first));
      }
    }
  }
}

TEST_F(LinearOnGpu, EveryLayoutUnpacksToTheCanonicalCodes) {
  for (const Packer& packer : cuda_backend().packers) {
    for (const Format& format : every_weight_format()) {
      if (!packer.accepts(format)) continue;
      for (const LinearShape& shape : kRaggedLinearShapes) {
        if (!cannot_take(format, shape.n, shape.k).empty()) continue;
        const QTensor w = random_weights(format, shape.n, shape.k, 3);
        const Bytes back = packer.unpack(packer.pack(w, false), format, shape.n, shape.k);
        EXPECT_TRUE(std::ranges::equal(back.data, w.codes.data))
            << lowbit::name(packer.layout) << " " << name(format) << " " << shape.what;
      }
    }
  }
}

TEST(CudaRows, EveryLayoutThatARowNamesHasAPackerForItsFormats) {
  for (const LinearKernel& kernel : cuda_backend().linear_kernels) {
    for (const Format& format : every_weight_format()) {
      if (!kernel.weights(format) || kernel.layout == LayoutId::kCanonical) continue;
      EXPECT_TRUE(std::ranges::any_of(cuda_backend().packers,
                                      [&](const Packer& packer) {
                                        return packer.layout == kernel.layout &&
                                               packer.accepts(format);
                                      }))
          << kernel.name << " " << name(format);
    }
  }
}

}  // namespace
}  // namespace lowbit
