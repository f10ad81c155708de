// Quantizers choose codes; they know formats and nothing else. Every quantizer writes the same
// canonical planes.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "formats/qtensor.h"

namespace lowbit {

struct Quantizer {
  std::string_view name;
  std::string_view summary;
  // `source` [n, k] in any format, decoded to f32 row by row. Error naming `tensor` if a value is
  // not finite.
  QTensor (*run)(const QTensor& source, const Format& target, const std::string& tensor);
};

// Round to nearest: scale and zero by the format's rule in f32, stored as the format says, codes
// nearest to the value on the grid of the stored scale and zero. f32, f16 and bf16 just convert.
QTensor quantize_rtn(const QTensor& source, const Format& target, const std::string& tensor);

inline constexpr Quantizer kQuantizers[] = {
    {"rtn", "round to nearest, scale by the format's own rule", quantize_rtn},
};

// Error with suggestions for an unknown name.
const Quantizer& find_quantizer(std::string_view name);

}  // namespace lowbit
