// Prints how long the Linears of a Llama-3.1-8B layer take in each format: each alone, then all
// four, each reading what the one before wrote, in launches of their own and as a chain; not a
// test. A graph of launches over layers of their own, so that no launch finds its weights in the
// L2; beside it a plain read of as many bytes.
//   cuda_linear_speed [-m TOKENS] FORMAT...
#include <fmt/core.h>

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "cuda/backend.h"
#include "cuda/ceiling.h"
#include "cuda/chain.h"
#include "cuda/graph_time.h"
#include "cuda/on_gpu.h"
#include "kernels/linear_setup.h"

namespace lowbit {
namespace {

constexpr int kLayers = 8;
constexpr int32_t kHidden = 4096, kWide = 14336;

struct Matrix {
  const char* name;
  int32_t n, k;
  Epilogue epilogue;
  bool norm;
};
constexpr Matrix kMatrices[] = {
    {"qkv", 6144, kHidden, Epilogue::kStore, true},
    {"o", kHidden, kHidden, Epilogue::kAdd, false},
    {"gate_up", 2 * kWide, kHidden, Epilogue::kSiluMul, true},
    {"down", kHidden, kWide, Epilogue::kAdd, false},
};

// Four rounds over the layers.
template <class Body>
double microseconds(const Body& body) {
  return test::graph_microseconds(4 * kLayers,
                                  [&](int i, cudaStream_t s) { body(i % kLayers, s); });
}

// Random codes under scales near 1: nothing is encoded on the host.
class Weights {
 public:
  Weights(const Format& format, const Packer& packer, const Matrix& m)
      : view_(view(QTensor{format, m.n, m.k})), bytes_(packer.bytes(format, m.n, m.k)) {
    size_t rows = size_t(m.n) * sizeof(float);
    stride_ = (bytes_ + 255) / 256 * 256;
    memory_ = Buffer(stride_ * kLayers);
    scales_ = Buffer(rows + 64);
    std::vector<uint32_t> random(1 << 22);
    uint32_t state = 12345;
    for (uint32_t& word : random) word = (state = state * 1664525u + 1013904223u) & 0x3fff3fffu;
    for (size_t at = 0; at < memory_.bytes(); at += random.size() * 4) {
      LB_CUDA(cudaMemcpy(memory_.as<char>() + at, random.data(),
                         std::min(random.size() * 4, memory_.bytes() - at),
                         cudaMemcpyHostToDevice));
    }
    LB_CUDA(cudaMemset(scales_.data(), 0x2c, scales_.bytes()));
    view_.paired = m.epilogue == Epilogue::kSiluMul;
  }
  WeightView layer(int i) const {
    WeightView v = view_;
    v.codes = memory_.as<char>() + stride_ * i;
    v.scales = scales_.data();
    return v;
  }
  size_t bytes() const { return bytes_; }

 private:
  WeightView view_;
  size_t bytes_, stride_ = 0;
  Buffer memory_, scales_;
};

void measure(const std::string& text, int32_t m, const Buffer& flat) {
  const Backend& gpu = cuda_backend();
  const Format format = parse_format(text), f32 = format_of(FormatId::kF32);
  const LinearSpec spec{format, f32, 2 * kWide, kWide, false, m};
  const LinearPlan plan = plan_linear(spec, gpu.linear_kernels, gpu.info());
  const LinearKernel& kernel = plan.pick(m);
  if (!kernel.fused_silu) {
    fmt::print("{:<16} {} is not a kernel of its own\n", text, kernel.name);
    return;
  }
  const Packer* packer = nullptr;
  for (const Packer& p : gpu.packers) {
    if (p.layout == kernel.layout && p.accepts(format)) packer = &p;
  }
  std::vector<Weights> weights;
  for (const Matrix& matrix : kMatrices) weights.emplace_back(format, *packer, matrix);
  const Buffer workspace(plan.workspace), norm(kWide * sizeof(float));
  LB_CUDA(cudaMemset(norm.data(), 0x3c, norm.bytes()));
  const auto buffer = [&](int32_t width) {
    Buffer b(static_cast<size_t>(m) * width * sizeof(float));
    LB_CUDA(cudaMemset(b.data(), 0x3c, b.bytes()));
    return b;
  };
  const Buffer h = buffer(kHidden), wide = buffer(kWide), qkv = buffer(6144);
  const auto run = [&](int i, int layer, cudaStream_t stream) {
    const Matrix& matrix = kMatrices[i];
    Act x = act_of(f32, matrix.k);
    x.data = i == 0 || i == 2 ? h.data() : i == 1 ? qkv.data() : wide.data();
    if (i == 1) x.ld = 6144;
    LinearArgs args{m,
                    matrix.n,
                    matrix.k,
                    x,
                    weights[i].layer(layer),
                    nullptr,
                    i == 0   ? qkv.as<float>()
                    : i == 2 ? wide.as<float>()
                             : h.as<float>(),
                    i == 2 ? kWide : matrix.n,
                    matrix.epilogue,
                    workspace.data()};
    if (matrix.norm) args.norm_weight = norm.as<float>(), args.norm_eps = 1e-5f;
    kernel.launch(args, stream);
  };
  fmt::print("{:<14} m {:2}", text, m);
  const bool many = m > 32;  // limited by the tensor cores
  double total = 0, total_flops = 0;
  for (int i = 0; i < 4; ++i) {
    const double us = microseconds([&](int layer, cudaStream_t s) { run(i, layer, s); });
    const auto bytes = static_cast<double>(weights[i].bytes());
    const double flops = 2.0 * m * kMatrices[i].n * kMatrices[i].k;
    total += bytes;
    total_flops += flops;
    fmt::print("  {:6.2f} us {:4.0f}", us, many ? flops / us * 1e-6 : bytes / us * 1e-3);
  }
  const auto all = [&](int layer, cudaStream_t s) {
    for (const int i : {1, 2, 3, 0}) run(i, layer, s);  // from attention to attention
  };
  const double separate = microseconds(all);
  if (many) {
    fmt::print("  {:6.1f} us, {:4.0f} TFLOP/s\n", separate, total_flops / separate * 1e-6);
    std::fflush(stdout);
    return;
  }
  const double chain = microseconds([&](int layer, cudaStream_t s) {
    cuda::begin_chains();
    all(layer, s);
    cuda::end_chains(s);
  });
  const double read = microseconds([&](int layer, cudaStream_t s) {
    const size_t size = static_cast<size_t>(total) / 4096 * 4096;
    cuda::plain_read(flat.as<char>() + size * layer, size, 1, s);
  });
  fmt::print(
      "  {:6.1f} us, chain {:6.1f} us {:4.0f} GB/s, read {:6.1f} us {:4.0f} GB/s, {:3.0f} %\n",
      separate, chain, total / chain * 1e-3, read, total / read * 1e-3, 100 * read / chain);
  std::fflush(stdout);
}

}  // namespace
}  // namespace lowbit

int main(int argc, char** argv) {
  using namespace lowbit;
  int32_t m = 1;
  std::vector<std::string> formats;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "-m") == 0 && i + 1 < argc) {
      m = std::atoi(argv[++i]);
    } else {
      formats.emplace_back(argv[i]);
    }
  }
  if (m < 1 || m > 4096 || formats.empty()) {
    fmt::print(stderr, "usage: cuda_linear_speed [-m 1..4096] FORMAT...\n");
    return 2;
  }
  fmt::print("{:<19} {:>16} {:>16} {:>16} {:>16}  ({})\n", "", "qkv", "o", "gate_up", "down",
             m > 32 ? "TFLOP/s" : "GB/s");
  const Buffer flat(size_t{kLayers} * 2 * 224 * 1000 * 1000);
  LB_CUDA(cudaMemset(flat.data(), 1, flat.bytes()));
  for (const std::string& format : formats) measure(format, m, flat);
  return 0;
}
