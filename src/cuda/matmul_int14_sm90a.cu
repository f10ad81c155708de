// Integers of one to four bits with scales of groups.
#include "cuda/matmul_launch.cuh"

namespace lowbit::cuda {

void scaled_matmul_sign(const LinearArgs& args, Stream stream) {
  launch_scaled_integers<1, true>(args, stream);
}
void scaled_matmul_int1(const LinearArgs& args, Stream stream) {
  launch_scaled_integers<1>(args, stream);
}
void scaled_matmul_int2(const LinearArgs& args, Stream stream) {
  launch_scaled_integers<2>(args, stream);
}
void scaled_matmul_int3(const LinearArgs& args, Stream stream) {
  launch_scaled_integers<3>(args, stream);
}
void scaled_matmul_int4(const LinearArgs& args, Stream stream) {
  launch_scaled_integers<4>(args, stream);
}

}  // namespace lowbit::cuda
