#include "quantize/quantizer.h"

#include <vector>

#include "base/check.h"
#include "base/text.h"

namespace lowbit {
namespace {

constexpr Quantizer kQuantizers[] = {
    {"rtn", "round to nearest, scale by the format's own rule", Needs::kNothing, quantize_rtn},
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

}  // namespace lowbit
