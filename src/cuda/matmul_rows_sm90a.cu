// Weights without scales, or with one for every row.
#include "cuda/matmul_launch.cuh"

namespace lowbit::cuda {

void matmul_f16(const LinearArgs& args, Stream stream) { launch_matmul<Half16>(args, stream); }
void matmul_bf16(const LinearArgs& args, Stream stream) { launch_matmul<Bf16>(args, stream); }
void matmul_sign(const LinearArgs& args, Stream stream) {
  launch_matmul<ByteInt<1, true>>(args, stream);
}
void matmul_int1(const LinearArgs& args, Stream stream) { launch_matmul<ByteInt<1>>(args, stream); }
void matmul_int2(const LinearArgs& args, Stream stream) { launch_matmul<ByteInt<2>>(args, stream); }
void matmul_int3(const LinearArgs& args, Stream stream) { launch_matmul<ByteInt<3>>(args, stream); }
void matmul_int4(const LinearArgs& args, Stream stream) { launch_matmul<ByteInt<4>>(args, stream); }
void matmul_int5(const LinearArgs& args, Stream stream) { launch_matmul<ByteInt<5>>(args, stream); }
void matmul_int6(const LinearArgs& args, Stream stream) { launch_matmul<ByteInt<6>>(args, stream); }
void matmul_int7(const LinearArgs& args, Stream stream) { launch_matmul<ByteInt<7>>(args, stream); }
void matmul_int8(const LinearArgs& args, Stream stream) { launch_matmul<ByteInt<8>>(args, stream); }
void matmul_e4m3(const LinearArgs& args, Stream stream) { launch_matmul<E4M3>(args, stream); }
void matmul_e5m2(const LinearArgs& args, Stream stream) { launch_matmul<E5M2>(args, stream); }
void matmul_e3m2(const LinearArgs& args, Stream stream) { launch_matmul<E3M2>(args, stream); }
void matmul_e2m3(const LinearArgs& args, Stream stream) { launch_matmul<E2M3>(args, stream); }
void matmul_e2m1(const LinearArgs& args, Stream stream) { launch_matmul<E2M1>(args, stream); }
void matmul_e3m1(const LinearArgs& args, Stream stream) { launch_matmul<E3M1>(args, stream); }
void matmul_e2m2(const LinearArgs& args, Stream stream) { launch_matmul<E2M2>(args, stream); }
void matmul_e3m0(const LinearArgs& args, Stream stream) { launch_matmul<E3M0>(args, stream); }
void matmul_e2m0(const LinearArgs& args, Stream stream) { launch_matmul<E2M0>(args, stream); }

}  // namespace lowbit::cuda
