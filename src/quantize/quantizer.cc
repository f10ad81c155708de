#include "quantize/quantizer.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <vector>

#include "base/check.h"
#include "base/text.h"
#include "base/thread_pool.h"

namespace lowbit {
namespace {

constexpr Quantizer kQuantizers[] = {
    {"rtn", "round to nearest, scale by the format's own rule", Needs::kNothing, quantize_rtn},
    {"mse", "scales and zeros of least squared error", Needs::kNothing, quantize_mse,
     levels_refuse},
    {"importance", "the same, errors weighted by the mean square of each input", Needs::kInputStats,
     quantize_importance, levels_refuse},
    {"hqq", "half-quadratic search for the zero", Needs::kNothing, quantize_hqq, hqq_refuses},
    {"hqq-0.2.8", "as hqq 0.2.8.post1 computes it in f32", Needs::kNothing, quantize_hqq_release,
     hqq_release_refuses},
    {"gptq", "later columns make good the errors of earlier ones", Needs::kHessian, quantize_gptq,
     levels_refuse},
    {"gptq-mse", "gptq on grids of least weighted squared error", Needs::kHessian,
     quantize_gptq_search, levels_refuse},
    {"gptq-order", "gptq-mse, grids first, then columns by falling mean square", Needs::kHessian,
     quantize_gptq_order, levels_refuse},
    {"autoround", "rounding and clipping learned from the error of the outputs", Needs::kHessian,
     quantize_autoround, autoround_refuses},
    {"torchao-0.9.0", "as torchao 0.9.0, in the type that scales are stored in", Needs::kNothing,
     quantize_torchao_0_9_0, torchao_0_9_0_refuses},
    {"torchao-0.18.0", "as torchao 0.18.0 does on bf16 weights", Needs::kNothing,
     quantize_torchao_0_18_0, torchao_0_18_0_refuses},
    {"gemlite-0.5.1", "as gemlite 0.5.1", Needs::kNothing, quantize_gemlite_0_5_1,
     gemlite_0_5_1_refuses},
    {"gguf-0.19.0", "as the gguf package 0.19.0", Needs::kNothing, quantize_gguf_0_19_0,
     gguf_0_19_0_refuses},
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

void check_does(const std::string& tensor, const std::string& refusal) {
  if (!refusal.empty()) throw_error("tensor {}: {}", tensor, refusal);
}

void check_quantizer(const Quantizer& quantizer, const Format& target, const std::string& tensor,
                     bool has_inputs) {
  if (!target.quantized()) return;  // just converts
  if (quantizer.refuses) check_does(tensor, quantizer.refuses(target));
  if (quantizer.needs == Needs::kNothing || has_inputs) return;
  throw_error(
      "tensor {}: {} has to know what layers read on a text; `lowbit quantize --quantizer {} "
      "--calibration TEXT --out DIR` looks at one and makes a folder that loads as it is",
      tensor, quantizer.name, quantizer.name);
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

bool all_finite(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

// A few tokens tell little about which columns move together. Without this, int3 weights that GPTQ
// made on 500 tokens come out worse than by round to nearest; on thousands it makes no difference.
float trust_in(const InputStats& inputs, int64_t k) {
  return static_cast<float>(static_cast<double>(inputs.rows) /
                            static_cast<double>(inputs.rows + k));
}

int64_t run_tiles(int64_t rows, int64_t tile_rows,
                  const std::function<int64_t(int64_t, int64_t)>& run) {
  std::atomic<int64_t> bad_row{rows};
  thread_pool().for_ranges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; n += tile_rows) {
      const int64_t bad = run(n, std::min(tile_rows, end - n));
      for (int64_t seen = bad_row; bad >= 0 && bad < seen;) {
        if (bad_row.compare_exchange_weak(seen, bad)) break;
      }
    }
  });
  return bad_row < rows ? bad_row.load() : -1;
}

}  // namespace lowbit
