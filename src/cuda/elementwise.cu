// cuda.silu_mul, cuda.gather_rows, cuda.rotary_table, cuda.advance: every number of the result from
// a few others.
#include "cuda/norm.cuh"
#include "cuda/ops.h"
#include "cuda/pdl.cuh"
#include "cuda/rows.cuh"

namespace lowbit::cuda {
namespace {

constexpr int kThreads = 256;

unsigned blocks_for(int64_t items) {
  return static_cast<unsigned>((items + kThreads - 1) / kThreads);
}

// Column, four to a thread, and row of this thread: x over columns, y over rows.
__device__ int first_column() { return static_cast<int>(blockIdx.x * kThreads + threadIdx.x) * 4; }
dim3 row_grid(int64_t rows, int d) {
  return {blocks_for((int64_t{d} + 3) / 4), static_cast<unsigned>(rows < 65535 ? rows : 65535)};
}

__global__ void __launch_bounds__(kThreads) silu_mul_kernel(SiluMulArgs a, bool whole) {
  pdl_wait();
  const int i = first_column();
  if (i >= a.d) return;
  for (int64_t r = blockIdx.y; r < a.rows; r += gridDim.y) {
    const float* gate = a.gate_up + r * 2 * a.d;
    Four four = load_four(gate, i, a.d, whole);
    const Four up = load_four(gate + a.d, i, a.d, whole);
    for (int j = 0; j < 4; ++j) four.v[j] = silu(four.v[j]) * up.v[j];
    store_four(a.out.format, row_of(a.out, r), i, a.d, whole, four);
  }
}

__global__ void __launch_bounds__(kThreads) gather_rows_kernel(GatherRowsArgs a, bool whole) {
  pdl_wait();
  const int i = first_column();
  if (i >= a.d) return;
  for (int64_t r = blockIdx.y; r < a.rows; r += gridDim.y) {
    const Four four = load_four(a.x + int64_t{a.row[r]} * a.d, i, a.d, whole);
    store_four(FormatId::kF32, a.out + r * a.d, i, a.d, whole, four);
  }
}

// The angle is f32, as in transformers; its cosine is rounded from double, which is nearly always
// what the host's library gives, so that keys round to the host's codes.
__global__ void __launch_bounds__(kThreads) rotary_table_kernel(RotaryTableArgs a) {
  pdl_wait();
  const int64_t at = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (at >= int64_t{a.tokens_count} * a.half) return;
  const int64_t t = at / a.half, i = at % a.half;
  const float angle = static_cast<float>(a.pos[t]) * a.inv_freq[i];
  double sine, cosine;
  sincos(static_cast<double>(angle), &sine, &cosine);
  float* row = a.cos_sin + t * 2 * a.half;
  row[i] = static_cast<float>(cosine);
  row[a.half + i] = static_cast<float>(sine);
}

__global__ void __launch_bounds__(kThreads) advance_kernel(AdvanceArgs a) {
  pdl_wait();
  const int i = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  if (i >= a.rows) return;
  const int32_t next = a.next[i];
  a.drawn[next % a.kept * a.rows + i] = a.tokens[i];
  a.pos[i] = next;
  a.next[i] = next + 1;
}

}  // namespace

void silu_mul(const SiluMulArgs& a, Stream stream) {
  if (a.rows == 0) return;
  const bool whole = rows_aligned(a.gate_up, a.d) && rows_aligned(a.out);
  launch_pdl(silu_mul_kernel, row_grid(a.rows, a.d), kThreads, 0, static_cast<cudaStream_t>(stream),
             a, whole);
}

void gather_rows(const GatherRowsArgs& a, Stream stream) {
  if (a.rows == 0) return;
  const bool whole = rows_aligned(a.x, a.d) && is_aligned16(a.out);
  launch_pdl(gather_rows_kernel, row_grid(a.rows, a.d), kThreads, 0,
             static_cast<cudaStream_t>(stream), a, whole);
}

void rotary_table(const RotaryTableArgs& a, Stream stream) {
  if (a.tokens_count == 0) return;
  launch_pdl(rotary_table_kernel, blocks_for(int64_t{a.tokens_count} * a.half), kThreads, 0,
             static_cast<cudaStream_t>(stream), a);
}

void advance(const AdvanceArgs& a, Stream stream) {
  if (a.rows == 0) return;
  launch_pdl(advance_kernel, blocks_for(a.rows), kThreads, 0, static_cast<cudaStream_t>(stream), a);
}

}  // namespace lowbit::cuda
