// Integers whose codes lie in pairs: 2 and 4 bits.
#include "cuda/tiles_launch.cuh"
#include "cuda/tiles_rows.h"

namespace lowbit::cuda {

void linear_int2(const LinearArgs& args, Stream stream) { launch_integers<Int2>(args, stream); }
void linear_int4(const LinearArgs& args, Stream stream) { launch_integers<Int4>(args, stream); }

}  // namespace lowbit::cuda
