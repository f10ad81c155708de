// Quantizers choose codes; they know formats and nothing else. Every quantizer writes the same
// canonical planes.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/qtensor.h"

namespace lowbit {

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
};

// What a quantizer cannot do without.
enum class Needs : uint8_t { kNothing, kInputStats, kHessian };

struct Quantizer {
  std::string_view name;
  std::string_view summary;
  Needs needs;
  // `source` [n, k] in any format, decoded to f32 row by row. Error naming the tensor if a value is
  // not finite, if the quantizer does not do this format, or if `inputs` lack what it needs.
  QTensor (*run)(const QTensor& source, const Format& target, const QuantizeContext& context);
};

// Round to nearest: scale and zero by the format's rule in f32, stored as the format says, codes
// nearest to the value on the grid of the stored scale and zero. f32, f16 and bf16 just convert.
QTensor quantize_rtn(const QTensor& source, const Format& target, const QuantizeContext& context);

// For quantizers: Error if `target` cannot hold a matrix [n, k], or is only read from files.
void check_takes(const Format& target, int64_t n, int64_t k, const std::string& tensor);
// The Error for a row that holds a NaN, an infinity or a weight beyond the scales of the format.
[[noreturn]] void fail_not_finite(const std::string& tensor, int64_t row, const Format& target);

// Every quantizer, rtn first.
std::span<const Quantizer> quantizers();

// Error with suggestions for an unknown name.
const Quantizer& find_quantizer(std::string_view name);

}  // namespace lowbit
