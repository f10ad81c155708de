// Integers of five to eight bits with scales of groups.
#include "cuda/matmul_launch.cuh"

namespace lowbit::cuda {

void scaled_matmul_int5(const LinearArgs& args, Stream stream) {
  launch_scaled_integers<5>(args, stream);
}
void scaled_matmul_int6(const LinearArgs& args, Stream stream) {
  launch_scaled_integers<6>(args, stream);
}
void scaled_matmul_int7(const LinearArgs& args, Stream stream) {
  launch_scaled_integers<7>(args, stream);
}
void scaled_matmul_int8(const LinearArgs& args, Stream stream) {
  launch_scaled_matmul<ByteInt<8>, GroupScales<In::k16, 1>, AnyScales>(args, stream);
}

}  // namespace lowbit::cuda
