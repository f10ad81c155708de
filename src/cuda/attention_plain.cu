// cuda.attention.decode of caches in bf16 and f16: attention_decode.cuh.
#include "cuda/attention_decode.cuh"

namespace lowbit::cuda {

bool launch_decode_plain(const DecodeArgs& args, dim3 grid, cudaStream_t stream) {
  return launch_if_taken<PlainCache<false>>(args, grid, stream) ||
         launch_if_taken<PlainCache<true>>(args, grid, stream);
}

}  // namespace lowbit::cuda
