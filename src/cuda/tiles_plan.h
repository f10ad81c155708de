// Which partition of the work, and of a CTA's shared memory, a launch over layout kTiles gets.
#pragma once

#include "cuda/tiles_args.h"

namespace lowbit::cuda {

struct TileLaunch {
  TileArgs args;
  int grid, shared_bytes;
};

// `rows` and `pitch`: of the x that is staged (StagedX).
TileLaunch plan_tiles(const LinearArgs& l, const TileShape& shape, int sums_per_unit, int rows,
                      int pitch);

// Gives all Linears of a chain rings alike; returned: bytes of dynamic shared memory.
int share_memory(ChainArgs& chain);

// The most that a CTA may ask for.
int dynamic_shared_bytes();

}  // namespace lowbit::cuda
