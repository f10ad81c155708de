// Integers whose codes lie in bytes: 8 bits, and planes of 7.
#include "cuda/tiles_launch.cuh"
#include "cuda/tiles_rows.h"

namespace lowbit::cuda {

void linear_int7(const LinearArgs& args, Stream stream) {
  launch_integers<ByteInt<7>>(args, stream);
}
void linear_int8(const LinearArgs& args, Stream stream) {
  launch_integers<ByteInt<8>>(args, stream);
}

}  // namespace lowbit::cuda
