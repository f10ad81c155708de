// Integers with scales of groups.
#include "cuda/matmul_launch.cuh"

namespace lowbit::cuda {

template <class W>
void launch(const LinearArgs& args, Stream stream) {
  launch_scaled_matmul<W, GroupScales<In::k16, 1>, GroupScales<In::k16, 1, With::kFloatZeros>,
                       AnyScales>(args, stream);
}

void scaled_matmul_sign(const LinearArgs& args, Stream stream) {
  launch<ByteInt<1, true>>(args, stream);
}
void scaled_matmul_int1(const LinearArgs& args, Stream stream) { launch<ByteInt<1>>(args, stream); }
void scaled_matmul_int2(const LinearArgs& args, Stream stream) { launch<ByteInt<2>>(args, stream); }
void scaled_matmul_int3(const LinearArgs& args, Stream stream) { launch<ByteInt<3>>(args, stream); }
void scaled_matmul_int4(const LinearArgs& args, Stream stream) { launch<ByteInt<4>>(args, stream); }
void scaled_matmul_int5(const LinearArgs& args, Stream stream) { launch<ByteInt<5>>(args, stream); }
void scaled_matmul_int6(const LinearArgs& args, Stream stream) { launch<ByteInt<6>>(args, stream); }
void scaled_matmul_int7(const LinearArgs& args, Stream stream) { launch<ByteInt<7>>(args, stream); }
void scaled_matmul_int8(const LinearArgs& args, Stream stream) { launch<ByteInt<8>>(args, stream); }

}  // namespace lowbit::cuda
