// Floats that no hardware knows.
#include "cuda/tiles_launch.cuh"
#include "cuda/tiles_rows.h"

namespace lowbit::cuda {

void linear_e3m1(const LinearArgs& args, Stream stream) { launch_rare<E3M1>(args, stream); }
void linear_e2m2(const LinearArgs& args, Stream stream) { launch_rare<E2M2>(args, stream); }
void linear_e3m0(const LinearArgs& args, Stream stream) { launch_rare<E3M0>(args, stream); }
void linear_e2m0(const LinearArgs& args, Stream stream) { launch_rare<E2M0>(args, stream); }

}  // namespace lowbit::cuda
