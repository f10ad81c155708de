// Weights of 16 bits.
#include "cuda/tiles_launch.cuh"
#include "cuda/tiles_rows.h"

namespace lowbit::cuda {

void linear_f16(const LinearArgs& args, Stream stream) {
  launch_tiles<Half16, Among<RowScales>>(args, stream);
}
void linear_bf16(const LinearArgs& args, Stream stream) {
  launch_tiles<Bf16, Among<RowScales>>(args, stream);
}

}  // namespace lowbit::cuda
