// 2:4 sparse integers; x in fixed point.
#include "cuda/decode_sparse.cuh"
#include "cuda/tiles_launch.cuh"
#include "cuda/tiles_rows.h"

namespace lowbit::cuda {

using Kinds = Among<RowScales, Symmetric, AnyScales>;

void fixed_int4_24(const LinearArgs& args, Stream stream) {
  launch_tiles<FixedSparse<4>, Kinds>(args, stream);
}
void fixed_int8_24(const LinearArgs& args, Stream stream) {
  launch_tiles<FixedSparse<8>, Kinds>(args, stream);
}

}  // namespace lowbit::cuda
