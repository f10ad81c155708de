// Floats of 8 bits.
#include "cuda/tiles_launch.cuh"
#include "cuda/tiles_rows.h"

namespace lowbit::cuda {

void linear_e4m3(const LinearArgs& args, Stream stream) { launch_floats<E4M3>(args, stream); }
void linear_e5m2(const LinearArgs& args, Stream stream) { launch_floats<E5M2>(args, stream); }

}  // namespace lowbit::cuda
