// The four-bit float of mxfp4 and nvfp4.
#include "cuda/tiles_launch.cuh"
#include "cuda/tiles_rows.h"

namespace lowbit::cuda {

using Kinds = Among<RowScales, GroupScales<In::kE8M0, 2>, GroupScales<In::kE4M3, 4>, AnyScales>;

void linear_e2m1(const LinearArgs& args, Stream stream) { launch_tiles<E2M1, Kinds>(args, stream); }
void fixed_e2m1(const LinearArgs& args, Stream stream) {
  launch_tiles<FixedE2M1, Kinds>(args, stream);
}

}  // namespace lowbit::cuda
