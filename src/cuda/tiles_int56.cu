// Integers of five and six bits; x in fixed point.
#include "cuda/tiles_launch.cuh"
#include "cuda/tiles_rows.h"

namespace lowbit::cuda {

void fixed_int5(const LinearArgs& args, Stream stream) {
  launch_integers<FixedInt<5>>(args, stream);
}
void fixed_int6(const LinearArgs& args, Stream stream) {
  launch_integers<FixedInt<6>>(args, stream);
}

}  // namespace lowbit::cuda
