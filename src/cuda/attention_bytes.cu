// cuda.attention.decode of caches in int8 and fp8, a scale for each row: attention_decode.cuh.
#include "cuda/attention_decode.cuh"

namespace lowbit::cuda {

bool launch_decode_bytes(const DecodeArgs& args, dim3 grid, cudaStream_t stream) {
  return launch_if_taken<ByteCache<Int8Byte>>(args, grid, stream) ||
         launch_if_taken<ByteCache<E4M3Byte>>(args, grid, stream);
}

}  // namespace lowbit::cuda
