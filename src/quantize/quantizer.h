// Quantizers choose codes; they know formats and nothing else. Every quantizer writes the same
// canonical planes.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/qtensor.h"

namespace lowbit {

struct RowOptions;  // formats/encode.h

// What calibration saw of the inputs x [rows, k] of one matrix.
struct InputStats {
  int64_t rows = 0;                     // tokens
  std::vector<float> mean_square = {};  // [k] mean of x^2
  std::vector<float> mean_abs = {};     // [k] mean of |x|
  std::vector<float> hessian = {};      // [k, k] mean of x^T x, row-major; empty unless collected
};

struct QuantizeContext {
  std::string tensor;                  // for messages
  const InputStats* inputs = nullptr;  // of this tensor; null without calibration
  int32_t iterations = 0;              // of a quantizer that takes steps; 0: its own number
};

// What a quantizer cannot do without.
enum class Needs : uint8_t { kNothing, kInputStats, kHessian };

// Where the statistics of a model's inputs come from, by the name of the tensor that reads them.
class InputStatsSource {
 public:
  virtual ~InputStatsSource() = default;
  // Null if calibration never saw it. Valid until the next call: a source may keep only what fits.
  virtual const InputStats* find(const std::string& tensor) = 0;
};

struct Quantizer {
  std::string_view name;
  std::string_view summary;
  Needs needs;
  // `source` [n, k] in any format, decoded to f32 row by row. Error naming the tensor if a value is
  // not finite, if the quantizer does not do this format, or if `inputs` lack what it needs.
  QTensor (*run)(const QTensor& source, const Format& target, const QuantizeContext& context);
  // "" or why it does not make this format. Null: it makes every one.
  std::string (*refuses)(const Format& target) = nullptr;
};

// Round to nearest: scale and zero by the format's rule in f32, stored as the format says, codes
// nearest to the value on the grid of the stored scale and zero. f32, f16 and bf16 just convert.
QTensor quantize_rtn(const QTensor& source, const Format& target, const QuantizeContext& context);

// Scales (and zeros) of least squared error on the stored grid, searched around the format's rule;
// with `importance` an error at column k counts inputs->mean_square[k] times. Never worse than
// round to nearest by that measure, block by block.
QTensor quantize_mse(const QTensor& source, const Format& target, const QuantizeContext& context);
QTensor quantize_importance(const QTensor& source, const Format& target,
                            const QuantizeContext& context);

// Half-quadratic quantization (Badri and Shaji 2023, https://mobiusml.github.io/hqq_blog): moves
// the zero of each block, which the format must have, towards the least l_p norm of the error,
// p = 0.7; the scale stays the rule's. The zero of least mean |error| on the stored grid is kept.
QTensor quantize_hqq(const QTensor& source, const Format& target, const QuantizeContext& context);

// What release 0.2.8.post1 of the hqq package makes of it in f32: see hqq_release.cc.
QTensor quantize_hqq_release(const QTensor& source, const Format& target,
                             const QuantizeContext& context);

// GPTQ (Frantar et al. 2023, arXiv:2210.17323): columns in order, each one's error made good in
// those that follow, as the inputs' second moments have it (the fewer tokens they come from, the
// less; gptq.cc). Grids by the format's rule, when
// their block is reached; `search`: of least squared error, as quantize_importance has them;
// `order`: all grids first, then columns by falling mean square.
QTensor quantize_gptq(const QTensor& source, const Format& target, const QuantizeContext& context);
QTensor quantize_gptq_search(const QTensor& source, const Format& target,
                             const QuantizeContext& context);
QTensor quantize_gptq_order(const QTensor& source, const Format& target,
                            const QuantizeContext& context);

// AutoRound by Linear (autoround.cc): rounding and clipping learned in `iterations` steps, never
// worse than round to nearest by the error of the outputs.
inline constexpr int32_t kAutoroundIterations = 200;
QTensor quantize_autoround(const QTensor& source, const Format& target,
                           const QuantizeContext& context);

// What other tools make of it, bit by bit, arithmetic type included: see their files. Error for a
// format that the tool does not have.
QTensor quantize_torchao_0_9_0(const QTensor& source, const Format& target,
                               const QuantizeContext& context);
QTensor quantize_torchao_0_18_0(const QTensor& source, const Format& target,
                                const QuantizeContext& context);
QTensor quantize_gemlite_0_5_1(const QTensor& source, const Format& target,
                               const QuantizeContext& context);
QTensor quantize_gguf_0_19_0(const QTensor& source, const Format& target,
                             const QuantizeContext& context);

// Whether numbers are ternary already: all 0 or +-m, with one m for the tensor (*scale, which may
// be null, is then m; 0 if all are 0) or one for each row.
bool is_ternary(const QTensor& source, float* scale);
bool is_ternary_by_row(const QTensor& source);

// For quantizers: what to do with a target without scales, or which `source` has already.
inline bool just_converts(const QTensor& source, const Format& target) {
  return source.format == target || !target.quantized();
}
// For quantizers that treat every block alone: encode_rows over all rows, split over threads.
QTensor quantize_blocks(const QTensor& source, const Format& target, const std::string& tensor,
                        const RowOptions& options);
// For quantizers: every row of a format of ScaleRule::kLevels; of Outer::kTable, the numbers and
// the codes by k-means (codebook.cc).
QTensor quantize_codebook(const QTensor& source, const Format& target, const std::string& tensor);
QTensor quantize_levels(const QTensor& source, const Format& target, const std::string& tensor);
// For quantizers: whether all of them are numbers.
bool all_finite(std::span<const float> values);
// For quantizers: how much the second moments of these inputs count off the diagonal.
float trust_in(const InputStats& inputs, int64_t k);
// For quantizers: max |w| of the finite numbers; the others are for whoever reads their row.
float largest_magnitude(const QTensor& source);
// For quantizers: Error unless the context has what `quantizer` needs for rows of k numbers.
const InputStats& need_inputs(const QuantizeContext& context, std::string_view quantizer,
                              Needs needs, int64_t k);
// For quantizers: Error if `target` cannot hold a matrix [n, k].
void check_takes(const Format& target, int64_t n, int64_t k, const std::string& tensor);
// The Error for a row that holds a NaN, an infinity or a weight beyond the scales of the format.
[[noreturn]] void fail_not_finite(const std::string& tensor, int64_t row, const Format& target);
// For quantizers: `run(first, rows)` for every tile of rows, on all threads; it returns the first
// row that fail_not_finite() is for, or -1. The first of all tiles; -1 if there is none.
int64_t run_tiles(int64_t rows, int64_t tile_rows,
                  const std::function<int64_t(int64_t, int64_t)>& run);

// The refusals of those that do not make every format; `run` throws the same.
std::string levels_refuse(const Format& target);  // of those that choose scales block by block
std::string hqq_refuses(const Format& target);
std::string autoround_refuses(const Format& target);
std::string hqq_release_refuses(const Format& target);
std::string torchao_0_9_0_refuses(const Format& target);
std::string torchao_0_18_0_refuses(const Format& target);
std::string gemlite_0_5_1_refuses(const Format& target);
std::string gguf_0_19_0_refuses(const Format& target);
// For quantizers: Error where there is a reason.
void check_does(const std::string& tensor, const std::string& refusal);

// Without a number being read: Error if `run` would refuse this format, or would miss what it needs
// to know of inputs.
void check_quantizer(const Quantizer& quantizer, const Format& target, const std::string& tensor,
                     bool has_inputs);

// Every quantizer, rtn first.
std::span<const Quantizer> quantizers();

// Error with suggestions for an unknown name.
const Quantizer& find_quantizer(std::string_view name);

}  // namespace lowbit
