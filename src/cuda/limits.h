// What launches ask of the current device, asked once.
#pragma once

#include "ops/args.h"

namespace lowbit::cuda {

// What splits and slices are meant to fill, an H200's: not asked for, since results must not depend
// on which multiprocessors a GPU has.
inline constexpr int kMultiprocessors = 132;

int sm_count();
// That a CTA may have, static and dynamic.
int shared_memory_bytes();
// Whether CTAs can form clusters (sm_90).
bool has_clusters();
// An error where a warp's ring in it has no slot.
void check_ring(int slots, int slot_bytes);

// Tokens [first, first + count) of a Linear.
LinearArgs rows_of(const LinearArgs& args, int32_t first, int32_t count);

}  // namespace lowbit::cuda
