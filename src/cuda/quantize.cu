// cuda.quantize: activations to codes and scales. One block of threads per row; where one scale
// serves all rows (block_n = 0), its range is found first.
#include "cuda/check.h"
#include "cuda/encode.cuh"
#include "cuda/ops.h"

namespace lowbit::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kGridThreads = 1024;
constexpr int kParts = 512;  // of a range

__global__ void __launch_bounds__(kThreads) quantize_rows_kernel(QuantizeArgs a) {
  const int64_t row = blockIdx.x;
  encode_row(view_of(a.out), row, a.x + row * a.k);
}

__device__ Range range_of(const float* x, int64_t count, int64_t part, int64_t parts) {
  Range range;
  for (int64_t i = part * blockDim.x + threadIdx.x; i < count; i += parts * blockDim.x) {
    range.add(x[i]);
  }
  return block_range(range);
}

// Where the parts of a range wait for the last kernel: in the plane of codes, which are not there
// yet. An infinite end says that a number is not finite.
__global__ void __launch_bounds__(kThreads) range_kernel(QuantizeArgs a) {
  const Range range = range_of(a.x, int64_t{a.rows} * a.k, blockIdx.x, gridDim.x);
  if (threadIdx.x == 0) {
    static_cast<float2*>(a.out.data)[blockIdx.x] =
        make_float2(range.lo, range.finite ? range.hi : INFINITY);
  }
}

// The scale of all rows; `parts` is 0 where the numbers are so few that one block reads them.
__global__ void __launch_bounds__(kGridThreads) shared_scale_kernel(QuantizeArgs a, int parts) {
  const PlanesView to = view_of(a.out);
  Range range;
  if (parts == 0) {
    range = range_of(a.x, int64_t{a.rows} * a.k, 0, 1);
  } else {
    for (int i = static_cast<int>(threadIdx.x); i < parts; i += kGridThreads) {
      const float2 part = static_cast<const float2*>(a.out.data)[i];
      range.lo = fminf(range.lo, part.x);
      range.hi = fmaxf(range.hi, part.y);
      range.finite = range.finite && part.y < INFINITY;
    }
    range = block_range(range);
  }
  bool good = range.finite;
  if (threadIdx.x == 0 && good) good = store_block(to, 0, 0, range, a.x, 0);
  if (!__syncthreads_and(good)) store_nan(to, 0);
}

__global__ void __launch_bounds__(kThreads) shared_codes_kernel(QuantizeArgs a) {
  const PlanesView to = view_of(a.out);
  const int64_t row = blockIdx.x;
  store_codes(to, row, a.x + row * a.k, !isnan(load_block(to, 0, 0).scale));
}

}  // namespace

void quantize(const QuantizeArgs& a, Stream stream) {
  if (a.rows == 0) return;
  const auto s = static_cast<cudaStream_t>(stream);
  const auto rows = static_cast<unsigned>(a.rows);
  if (a.out.block_n != 0) {
    quantize_rows_kernel<<<rows, kThreads, 0, s>>>(a);
  } else {
    constexpr int64_t kFew = 1 << 15;
    static_assert(kFew * 4 / 8 >=
                  kParts * static_cast<int64_t>(sizeof(float2)));  // codes of 4 bits
    const int parts = int64_t{a.rows} * a.k < kFew ? 0 : kParts;
    if (parts > 0) range_kernel<<<parts, kThreads, 0, s>>>(a);
    shared_scale_kernel<<<1, kGridThreads, 0, s>>>(a, parts);
    shared_codes_kernel<<<rows, kThreads, 0, s>>>(a);
  }
  LB_CUDA(cudaGetLastError());
}

}  // namespace lowbit::cuda
