// Integers whose codes lie in planes of a byte.
#include "cuda/tiles_launch.cuh"
#include "cuda/tiles_rows.h"

namespace lowbit::cuda {

void linear_int3(const LinearArgs& args, Stream stream) {
  launch_integers<ByteInt<3>>(args, stream);
}
void linear_int5(const LinearArgs& args, Stream stream) {
  launch_integers<ByteInt<5>>(args, stream);
}
void linear_int6(const LinearArgs& args, Stream stream) {
  launch_integers<ByteInt<6>>(args, stream);
}

}  // namespace lowbit::cuda
