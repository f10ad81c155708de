// Floats of 5 to 8 bits.
#include "cuda/tiles_launch.cuh"
#include "cuda/tiles_rows.h"

namespace lowbit::cuda {

void linear_e4m3(const LinearArgs& args, Stream stream) { launch_tiles<E4M3>(args, stream); }
void linear_e5m2(const LinearArgs& args, Stream stream) { launch_tiles<E5M2>(args, stream); }
void linear_e3m2(const LinearArgs& args, Stream stream) { launch_tiles<E3M2>(args, stream); }
void linear_e2m3(const LinearArgs& args, Stream stream) { launch_tiles<E2M3>(args, stream); }
void linear_e3m1(const LinearArgs& args, Stream stream) { launch_tiles<E3M1>(args, stream); }
void linear_e2m2(const LinearArgs& args, Stream stream) { launch_tiles<E2M2>(args, stream); }

}  // namespace lowbit::cuda
