// Floats of 3 and 4 bits.
#include "cuda/tiles_launch.cuh"
#include "cuda/tiles_rows.h"

namespace lowbit::cuda {

void linear_e3m0(const LinearArgs& args, Stream stream) { launch_tiles<E3M0>(args, stream); }
void linear_e2m1(const LinearArgs& args, Stream stream) { launch_tiles<E2M1>(args, stream); }
void linear_e2m0(const LinearArgs& args, Stream stream) { launch_tiles<E2M0>(args, stream); }

}  // namespace lowbit::cuda
