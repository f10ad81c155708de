// cuda.embed: out[t, :] = table[tokens[t], :] for a table of any format.
// One block of threads for 256 numbers of a token; the table's row is read once.
#include "cuda/codes.cuh"
#include "cuda/ops.h"
#include "cuda/pdl.cuh"

namespace lowbit::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) embed_kernel(EmbedArgs a) {
  pdl_wait();
  const int i = static_cast<int>(blockIdx.y * kThreads + threadIdx.x);
  if (i >= a.d) return;
  const int64_t t = blockIdx.x;
  a.out[t * a.d + i] = load_f32(view_of(a.table, a.d), a.tokens[t], i);
}

}  // namespace

void embed(const EmbedArgs& a, Stream stream) {
  if (a.tokens_count == 0) return;
  const dim3 grid(static_cast<unsigned>(a.tokens_count),
                  static_cast<unsigned>((a.d + kThreads - 1) / kThreads));
  launch_pdl(embed_kernel, grid, kThreads, 0, static_cast<cudaStream_t>(stream), a);
}

}  // namespace lowbit::cuda
