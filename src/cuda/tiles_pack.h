// Between canonical planes and layout kTiles, both in device memory; on the default stream.
#pragma once

#include <stddef.h>

#include "cuda/tiles.h"

namespace lowbit::cuda {

size_t tiles_bytes(const TileShape& shape);

// `canonical`: planes in device memory. `tiles`: tiles_bytes() zeroed bytes. `row_scales`: one f32
// for each row of every tile, or null where scales_of_rows() is false. With `paired`, rows 16 i +
// 0..7 of the tiles are rows 8 i + 0..7 of the upper half of the matrix, the next eight of the
// lower half; n is a multiple of 16.
void pack_tiles(const WeightView& canonical, int64_t n, int64_t k, bool paired, uint8_t* tiles,
                float* row_scales);
bool scales_of_rows(const WeightView& canonical);

// The codes back in canonical order (five trits of a byte: one code in a byte each).
void unpack_tiles(const WeightView& packed, int64_t n, int64_t k, uint8_t* codes);

}  // namespace lowbit::cuda
