#include "quantize/quantizer.h"

#include <vector>

#include "base/check.h"
#include "base/text.h"

namespace lowbit {

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
