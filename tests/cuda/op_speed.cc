// Prints how long the GPU's elementwise ops take at the sizes of Llama-3.1-8B; not a test. A graph
// of many launches, so that the time is the GPU's.
#include <fmt/core.h>

#include <cmath>

#include "cuda/graph_time.h"
#include "cuda/on_gpu.h"
#include "cuda/ops.h"
#include "kernels/linear_setup.h"

namespace lowbit {
namespace {

using test::gaussian;

template <class Body>
void report(const std::string& what, const Body& body) {
  constexpr int kLaunches = 50;
  const double us =
      test::graph_microseconds(kLaunches, [&](int, cudaStream_t stream) { body(stream); });
  fmt::print("{:<40} {:8.2f} us\n", what, us);
}

void measure_rows(int32_t rows) {
  constexpr int32_t kD = 4096, kWide = 14336;
  const OnGpu x(gaussian(int64_t{rows} * 2 * kWide, 1, 1)), weight(gaussian(kD, 1, 2));
  const OnGpu out(std::vector<float>(static_cast<size_t>(rows) * kWide));
  const auto label = [&](const std::string& op) { return op + ", rows " + std::to_string(rows); };
  const Act plain = {out.as(), nullptr, kD, FormatId::kBF16};
  report(label("rmsnorm 4096"), [&](Stream s) {
    cuda::rmsnorm({rows, kD, x.as<float>(), weight.as<float>(), 1e-5f, plain}, s);
  });
  const Act wide = {out.as(), nullptr, kWide, FormatId::kBF16};
  report(label("silu_mul 14336"), [&](Stream s) {
    cuda::silu_mul({rows, kWide, x.as<float>(), wide}, s);
  });
  for (const char* text : {"int8", "int8-tensor", "fp8", "mxfp8", "mxfp4", "nvfp4", "int4"}) {
    for (const int32_t k : {kD, kWide}) {
      const Format format = activation_format(parse_format(text));
      const TensorOnGpu codes(build_qtensor(format, rows, k).tensor);
      report(label("quantize " + std::string(text) + " " + std::to_string(k)), [&](Stream s) {
        cuda::quantize({rows, k, x.as<float>(), codes.act()}, s);
      });
    }
  }
  const std::vector<int32_t> zeros(static_cast<size_t>(rows), 0);
  std::vector<int32_t> pos(zeros), pages(static_cast<size_t>(rows) / 64 + 1);
  for (int32_t t = 0; t < rows; ++t) pos[static_cast<size_t>(t)] = t;
  for (size_t p = 0; p < pages.size(); ++p) pages[p] = static_cast<int32_t>(p);
  const auto max_pages = static_cast<int32_t>(pages.size());
  const OnGpu slot(zeros), pos_gpu(pos), table(pages), cos_sin(gaussian(int64_t{rows} * 128, 1, 3));
  for (const char* text : {"bf16", "int8", "int4"}) {
    const QTensor cache = build_qtensor(parse_cache_format(text), max_pages * 8 * 64, 128).tensor;
    const TensorOnGpu k(cache), v(cache);
    report(label("rope_append " + std::string(text)), [&](Stream s) {
      cuda::rope_append({rows,
                         32,
                         8,
                         128,
                         x.as<float>(),
                         cos_sin.as<float>(),
                         pos_gpu.as<int32_t>(),
                         slot.as<int32_t>(),
                         {k.act(), v.act(), table.as<int32_t>(), max_pages, 64}},
                        s);
    });
  }
}

void measure_sample() {
  constexpr int32_t kVocab = 128256;
  std::vector<float> logits = gaussian(kVocab, 1, 1);
  for (float& logit : logits) logit *= 3;
  const OnGpu logits_gpu(logits), pos(std::vector<int32_t>{5}), out(std::vector<int32_t>{0});
  for (const SampleParams& p : {SampleParams{0, 0, 1, 1},
                                {1, 0, 1, 1},
                                {0.7f, 50, 1, 1},
                                {1, 0, 0.9f, 1},
                                {1, 50, 0.9f, 1}}) {
    const OnGpu params(std::vector<SampleParams>{p});
    report(fmt::format("sample temperature {} top_k {} top_p {}", p.temperature, p.top_k, p.top_p),
           [&](Stream s) {
             cuda::sample({1, kVocab, logits_gpu.as<float>(), nullptr, params.as<SampleParams>(),
                           pos.as<int32_t>(), out.as<int32_t>()},
                          s);
           });
  }
}

}  // namespace
}  // namespace lowbit

int main() {
  if (lowbit::cuda_devices().empty()) return 0;
  lowbit::measure_sample();
  lowbit::measure_rows(1);
  lowbit::measure_rows(2048);
}
