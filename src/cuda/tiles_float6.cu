// Floats of 6 bits.
#include "cuda/tiles_launch.cuh"
#include "cuda/tiles_rows.h"

namespace lowbit::cuda {

void linear_e3m2(const LinearArgs& args, Stream stream) { launch_floats<E3M2>(args, stream); }
void linear_e2m3(const LinearArgs& args, Stream stream) { launch_floats<E2M3>(args, stream); }

}  // namespace lowbit::cuda
