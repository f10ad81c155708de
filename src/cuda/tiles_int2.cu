// Integers of two bits and ternary codes; x in fixed point.
#include "cuda/tiles_launch.cuh"
#include "cuda/tiles_rows.h"

namespace lowbit::cuda {

void fixed_int2(const LinearArgs& args, Stream stream) {
  launch_integers<FixedInt<2>>(args, stream);
}

}  // namespace lowbit::cuda
