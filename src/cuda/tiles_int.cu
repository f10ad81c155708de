// Integers whose codes lie in bytes or planes of a byte.
#include "cuda/tiles_launch.cuh"
#include "cuda/tiles_rows.h"

namespace lowbit::cuda {

void linear_int3(const LinearArgs& args, Stream stream) { launch_tiles<ByteInt<3>>(args, stream); }
void linear_int5(const LinearArgs& args, Stream stream) { launch_tiles<ByteInt<5>>(args, stream); }
void linear_int6(const LinearArgs& args, Stream stream) { launch_tiles<ByteInt<6>>(args, stream); }
void linear_int7(const LinearArgs& args, Stream stream) { launch_tiles<ByteInt<7>>(args, stream); }
void linear_int8(const LinearArgs& args, Stream stream) { launch_tiles<ByteInt<8>>(args, stream); }

}  // namespace lowbit::cuda
