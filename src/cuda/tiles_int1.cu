// One bit, and one of three.
#include "cuda/tiles_launch.cuh"
#include "cuda/tiles_rows.h"

namespace lowbit::cuda {

void linear_sign(const LinearArgs& args, Stream stream) { launch_integers<Sign>(args, stream); }
void linear_int1(const LinearArgs& args, Stream stream) { launch_integers<Int1>(args, stream); }
void linear_ternary(const LinearArgs& args, Stream stream) {
  launch_integers<Ternary>(args, stream);
}

}  // namespace lowbit::cuda
