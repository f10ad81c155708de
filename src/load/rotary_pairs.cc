#include "load/rotary_pairs.h"

#include <utility>
#include <vector>

#include "base/check.h"
#include "base/text.h"

namespace lowbit {

// Row 2i + j of a head goes back to row j * head_dim / 2 + i. A bias [1, n] is treated as n rows.
QTensor split_rotary_pairs(const std::string& file, const std::string& name, QTensor stored,
                           int64_t heads) {
  const bool bias = name.ends_with(".bias");
  if (bias) std::swap(stored.n, stored.k);
  if (bias && stored.format.quantized()) {
    throw_error("{}: {}: a quantized bias is not supported", file, printable(name, 200));
  }
  const int64_t half = stored.n / heads / 2;
  if (half * 2 * heads != stored.n) {
    throw_error("{}: {}: {} rows cannot be split into {} heads of rotary pairs", file,
                printable(name, 200), stored.n, heads);
  }
  std::vector<int64_t> order;
  order.reserve(static_cast<size_t>(stored.n));
  for (int64_t head = 0; head < heads; ++head) {
    for (int64_t j = 0; j < 2; ++j) {
      for (int64_t i = 0; i < half; ++i) order.push_back((head * half + i) * 2 + j);
    }
  }
  QTensor permuted = permute_rows(stored, order);
  release_pages(stored);
  if (bias) std::swap(permuted.n, permuted.k);
  return permuted;
}

}  // namespace lowbit
