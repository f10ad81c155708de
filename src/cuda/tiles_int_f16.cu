// Integers times activations that are no whole numbers: of small floats, or in blocks.
#include "cuda/tiles_launch.cuh"
#include "cuda/tiles_rows.h"

namespace lowbit::cuda {

void linear_int1(const LinearArgs& args, Stream stream) { launch_rare<ByteInt<1>>(args, stream); }
void linear_int2(const LinearArgs& args, Stream stream) { launch_rare<ByteInt<2>>(args, stream); }
void linear_int3(const LinearArgs& args, Stream stream) { launch_rare<ByteInt<3>>(args, stream); }
void linear_int4(const LinearArgs& args, Stream stream) { launch_rare<ByteInt<4>>(args, stream); }
void linear_int5(const LinearArgs& args, Stream stream) { launch_rare<ByteInt<5>>(args, stream); }
void linear_int6(const LinearArgs& args, Stream stream) { launch_rare<ByteInt<6>>(args, stream); }
void linear_int7(const LinearArgs& args, Stream stream) { launch_rare<ByteInt<7>>(args, stream); }
void linear_int8(const LinearArgs& args, Stream stream) { launch_rare<ByteInt<8>>(args, stream); }
void linear_sign(const LinearArgs& args, Stream stream) {
  launch_rare<ByteInt<1, true>>(args, stream);
}

}  // namespace lowbit::cuda
