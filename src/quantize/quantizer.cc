#include "quantize/quantizer.h"

#include <vector>

#include "base/check.h"
#include "base/text.h"

namespace lowbit {
namespace {

constexpr Quantizer kQuantizers[] = {
    {"rtn", "round to nearest, scale by the format's own rule", Needs::kNothing, quantize_rtn},
    {"mse", "scales and zeros of least squared error", Needs::kNothing, quantize_mse},
    {"importance", "the same, errors weighted by the mean square of each input", Needs::kInputStats,
     quantize_importance},
    {"hqq", "half-quadratic search for the zero", Needs::kNothing, quantize_hqq},
    {"hqq-0.2.8", "as hqq 0.2.8.post1 computes it in f32", Needs::kNothing, quantize_hqq_release},
    {"gptq", "later columns make good the errors of earlier ones", Needs::kHessian, quantize_gptq},
    {"gptq-mse", "gptq on grids of least weighted squared error", Needs::kHessian,
     quantize_gptq_search},
    {"gptq-order", "gptq-mse, grids first, then columns by falling mean square", Needs::kHessian,
     quantize_gptq_order},
    {"torchao-0.9.0", "as torchao 0.9.0, in the type that scales are stored in", Needs::kNothing,
     quantize_torchao_0_9_0},
    {"torchao-0.18.0", "as torchao 0.18.0 does on bf16 weights", Needs::kNothing,
     quantize_torchao_0_18_0},
    {"gemlite-0.5.1", "as gemlite 0.5.1", Needs::kNothing, quantize_gemlite_0_5_1},
    {"gguf-0.19.0", "as the gguf package 0.19.0", Needs::kNothing, quantize_gguf_0_19_0},
};

}  // namespace

std::span<const Quantizer> quantizers() { return kQuantizers; }

const Quantizer& find_quantizer(std::string_view name) {
  std::vector<std::string> names;
  for (const Quantizer& quantizer : kQuantizers) {
    if (quantizer.name == name) return quantizer;
    names.emplace_back(quantizer.name);
  }
  throw_error("unknown quantizer `{}`{}; known: {}", printable(name), suggestion(name, names),
              join(names, ", "));
}

const InputStats& need_inputs(const QuantizeContext& context, std::string_view quantizer,
                              Needs needs, int64_t k) {
  const InputStats* inputs = context.inputs;
  if (!inputs || inputs->rows == 0) {
    throw_error("tensor {}: {} needs to know the inputs of this tensor; calibrate on a text",
                context.tensor, quantizer);
  }
  const auto size = static_cast<size_t>(k);
  if (needs == Needs::kHessian && inputs->hessian.size() != size * size) {
    throw_error("tensor {}: {} needs second moments [{}, {}] of its inputs; calibration has {}",
                context.tensor, quantizer, k, k, inputs->hessian.size());
  }
  if (inputs->mean_square.size() != size) {
    throw_error("tensor {}: calibration saw inputs of {} numbers, the tensor reads {}",
                context.tensor, inputs->mean_square.size(), k);
  }
  return *inputs;
}

}  // namespace lowbit
