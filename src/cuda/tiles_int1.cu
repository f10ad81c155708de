// Integers of one bit and signs; x in fixed point.
#include "cuda/tiles_launch.cuh"
#include "cuda/tiles_rows.h"

namespace lowbit::cuda {

void fixed_int1(const LinearArgs& args, Stream stream) {
  launch_integers<FixedInt<1>>(args, stream);
}
void fixed_sign(const LinearArgs& args, Stream stream) { launch_integers<FixedSign>(args, stream); }

}  // namespace lowbit::cuda
