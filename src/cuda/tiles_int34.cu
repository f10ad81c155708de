// Integers of three and four bits; x in fixed point.
#include "cuda/tiles_launch.cuh"
#include "cuda/tiles_rows.h"

namespace lowbit::cuda {

void fixed_int3(const LinearArgs& args, Stream stream) {
  launch_integers<FixedInt<3>>(args, stream);
}
void fixed_int4(const LinearArgs& args, Stream stream) {
  launch_integers<FixedInt<4>>(args, stream);
}

}  // namespace lowbit::cuda
