// Are the numbers ternary already?
#include <algorithm>
#include <cmath>
#include <vector>

#include "base/thread_pool.h"
#include "formats/codec.h"
#include "quantize/quantizer.h"

namespace lowbit {
namespace {

constexpr float kSeveral = -1;

// The one magnitude of the numbers, 0 if all are 0, kSeveral for anything else.
float join(float a, float b) {
  if (a == 0 || a == b) return b;
  return b == 0 ? a : kSeveral;
}

std::vector<float> magnitudes(const QTensor& source) {
  std::vector<float> of(static_cast<size_t>(source.n));
  thread_pool().for_ranges(source.n, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> row(static_cast<size_t>(source.k));
    for (int64_t n = begin; n < end; ++n) {
      decode_row(source, n, row.data());
      float m = 0;
      for (const float w : row) {
        if (m != kSeveral) m = std::isfinite(w) ? join(m, std::abs(w)) : kSeveral;
      }
      of[static_cast<size_t>(n)] = m;
    }
  });
  return of;
}

}  // namespace

bool is_ternary(const QTensor& source, float* scale) {
  float m = 0;
  for (const float row : magnitudes(source)) m = m == kSeveral ? m : join(m, row);
  if (m == kSeveral) return false;
  if (scale) *scale = m;
  return true;
}

bool is_ternary_by_row(const QTensor& source) {
  const std::vector<float> of = magnitudes(source);
  return std::find(of.begin(), of.end(), kSeveral) == of.end();
}

}  // namespace lowbit
