// Grids of a block in one form whatever the format's zero: value = (q - shift) * scale.
#pragma once

#include <cmath>

#include "formats/encode.h"

namespace lowbit {

struct AffineGrid {
  double scale = 1, shift = 0;
};

// Exact up to the rounding of f32. `to_affine` needs a scale other than 0 where the format has a
// zero; `to_grid` rounds and clamps the shift of Zero::kInt to the codes.
AffineGrid to_affine(const Format& format, const Grid& grid);
Grid to_grid(const Format& format, const AffineGrid& affine);

inline bool finite(const BlockParams& p) {
  return std::isfinite(p.scale) && std::isfinite(p.shift) && std::isfinite(p.offset);
}

// Sum over a block of importance times the squared error of the nearest code. The first is exact;
// the second counts in f32, a few times faster than it is obvious, and is for comparing candidates.
double squared_error(const Format& format, const BlockNumbers& block, const BlockParams& stored);
double fast_squared_error(const Format& format, const BlockNumbers& block,
                          const BlockParams& stored);

// The stored grid of least squared error that a search around the format's rule finds.
Grid search_grid(const Format& format, const BlockNumbers& block);

}  // namespace lowbit
