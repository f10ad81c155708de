// cuda.attention.decode of caches in int4 in blocks of 64: attention_decode.cuh.
#include "cuda/attention_decode.cuh"

namespace lowbit::cuda {

bool launch_decode_int4(const DecodeArgs& args, dim3 grid, cudaStream_t stream) {
  return launch_if_taken<Int4Cache>(args, grid, stream);
}

}  // namespace lowbit::cuda
