// 2:4 sparse integers.
#include "cuda/decode_sparse.cuh"
#include "cuda/matmul_launch.cuh"

namespace lowbit::cuda {

void matmul_int4_24(const LinearArgs& args, Stream stream) {
  launch_matmul<SparseInt<4>>(args, stream);
}
void matmul_int8_24(const LinearArgs& args, Stream stream) {
  launch_matmul<SparseInt<8>>(args, stream);
}
void scaled_matmul_int4_24(const LinearArgs& args, Stream stream) {
  launch_scaled_matmul<SparseInt<4>, GroupScales<In::k16, 1>, AnyScales>(args, stream);
}
void scaled_matmul_int8_24(const LinearArgs& args, Stream stream) {
  launch_scaled_matmul<SparseInt<8>, GroupScales<In::k16, 1>, AnyScales>(args, stream);
}

}  // namespace lowbit::cuda
