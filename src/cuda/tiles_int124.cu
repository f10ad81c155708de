// Integers whose codes lie in pairs: 1, 2 and 4 bits.
#include "cuda/tiles_launch.cuh"
#include "cuda/tiles_rows.h"

namespace lowbit::cuda {

void linear_sign(const LinearArgs& args, Stream stream) { launch_tiles<Sign>(args, stream); }
void linear_int1(const LinearArgs& args, Stream stream) { launch_tiles<Int1>(args, stream); }
void linear_int2(const LinearArgs& args, Stream stream) { launch_tiles<Int2>(args, stream); }
void linear_ternary(const LinearArgs& args, Stream stream) { launch_tiles<Ternary>(args, stream); }
void linear_int4(const LinearArgs& args, Stream stream) { launch_tiles<Int4>(args, stream); }

}  // namespace lowbit::cuda
