// Which partition of the work, and of a CTA's shared memory, a launch over layout kTiles gets.
#pragma once

#include "cuda/tiles_args.h"

namespace lowbit::cuda {

// All but the ring. `rows` and `pitch`: of the x that is staged (StagedX).
TileArgs plan_tiles(const LinearArgs& l, const TileShape& shape, int sums_per_unit, int rows,
                    int pitch);
// Of one token, of which each warp stages the columns that it multiplies.
TileArgs plan_token(const LinearArgs& l, const TileShape& shape, int sums_per_unit, XTerms x);
// Whether a token is so narrow that its columns leave the rings of warps room for a block.
bool token_fits(const LinearArgs& l, const TileShape& shape, XTerms x);

// Gives all Linears of a chain rings alike, and each pieces of whole products of so many units or
// a single one; returned: bytes of dynamic shared memory. `own`: they are of plan_token().
int share_memory(ChainArgs& chain, bool own, int units_at_once);

// Whether x is f32 of which a CTA can have all columns, whole units, under way at once.
bool is_plain_x(const LinearArgs& l, int columns);

// The most that a CTA may ask for.
int dynamic_shared_bytes();

}  // namespace lowbit::cuda
