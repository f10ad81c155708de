// Integers of seven and eight bits; x in fixed point.
#include "cuda/tiles_launch.cuh"
#include "cuda/tiles_rows.h"

namespace lowbit::cuda {

void fixed_int7(const LinearArgs& args, Stream stream) {
  launch_integers<FixedInt<7>>(args, stream);
}
void fixed_int8(const LinearArgs& args, Stream stream) {
  launch_integers<FixedInt<8>>(args, stream);
}

}  // namespace lowbit::cuda
