// The instructions of sm_90a that multiply out of shared memory, as fast as they go.
#include <cuda_runtime.h>

#include "cuda/ceiling.h"
#include "cuda/check.h"
#include "cuda/limits.h"
#include "cuda/ptx.cuh"

namespace lowbit::cuda {
namespace {

constexpr int kRows = 64, kColumns = 128;  // of one instruction; its K is 32 bytes
constexpr int kBytesK = 32;
constexpr int kGroups = 2, kBlocks = 2;  // groups of 128 threads in a block; blocks of an SM
constexpr int kUnrolled = 8;
constexpr int kSums = kRows * kColumns / 128;  // of a thread

// Of a matrix without swizzling: blocks of 8 rows by 16 bytes, 128 bytes from one to the next along
// K, and 256 along the rows.
__device__ __forceinline__ uint64_t descriptor(uint32_t address) {
  return uint64_t{(address & 0x3ffff) >> 4} | uint64_t{128 >> 4} << 16 | uint64_t{256 >> 4} << 32;
}

// 64 operands from the first on, and the numbers that stand for them.
#define LB_4(c, d, i) c(d[i]), c(d[i + 1]), c(d[i + 2]), c(d[i + 3])
#define LB_16(c, d, i) LB_4(c, d, i), LB_4(c, d, i + 4), LB_4(c, d, i + 8), LB_4(c, d, i + 12)
#define LB_64(c, d) LB_16(c, d, 0), LB_16(c, d, 16), LB_16(c, d, 32), LB_16(c, d, 48)
#define LB_NUMBERS                                                   \
  "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"          \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31," \
  "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47," \
  "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63}, "

struct BF16 {
  using Sum = float;
  static constexpr int kK = 16;
  static __device__ void mma(float (&d)[kSums], uint64_t a, uint64_t b) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 " LB_NUMBERS
                 "%64, %65, 1, 1, 1, 0, 0;"
                 : LB_64("+f", d)
                 : "l"(a), "l"(b));
  }
};

struct Int8 {
  using Sum = int32_t;
  static constexpr int kK = 32;
  static __device__ void mma(int32_t (&d)[kSums], uint64_t a, uint64_t b) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k32.s32.s8.s8 " LB_NUMBERS "%64, %65, 1;"
                 : LB_64("+r", d)
                 : "l"(a), "l"(b));
  }
};

struct Float8 {
  using Sum = float;
  static constexpr int kK = 32;
  static __device__ void mma(float (&d)[kSums], uint64_t a, uint64_t b) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 " LB_NUMBERS
                 "%64, %65, 1, 1, 1;"
                 : LB_64("+f", d)
                 : "l"(a), "l"(b));
  }
};

template <class Kind>
__global__ void __launch_bounds__(kGroups * 128)
    wgmma_kernel(int32_t rounds, typename Kind::Sum* never) {
  __shared__ __align__(128) uint32_t a[kGroups][kRows * kBytesK / 4];
  __shared__ __align__(128) uint32_t b[kColumns * kBytesK / 4];
  const uint32_t group = threadIdx.x / 128;
  for (uint32_t i = threadIdx.x % 128; i < kRows * kBytesK / 4; i += 128) a[group][i] = 0x3c3c3c3c;
  for (uint32_t i = threadIdx.x; i < kColumns * kBytesK / 4; i += blockDim.x) b[i] = 0x3c3c3c3c;
  asm volatile("fence.proxy.async;" ::: "memory");
  __syncthreads();
  const uint64_t da = descriptor(shared_address(a[group])), db = descriptor(shared_address(b));
  typename Kind::Sum d[kSums] = {};
  for (int32_t r = 0; r < rounds; ++r) {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
    for (int i = 0; i < kUnrolled; ++i) Kind::mma(d, da, db);
    asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;" ::: "memory");
  }
  typename Kind::Sum sum = 0;
#pragma unroll
  for (int i = 0; i < kSums; ++i) sum += d[i];
  if (never) *never = sum;
}

template <class Kind>
double burst(int32_t rounds, Stream stream) {
  if (!has_code(reinterpret_cast<const void*>(wgmma_kernel<Kind>), 90)) return 0;
  const int blocks = kBlocks * sm_count();
  wgmma_kernel<Kind>
      <<<blocks, kGroups * 128, 0, static_cast<cudaStream_t>(stream)>>>(rounds, nullptr);
  LB_CUDA(cudaGetLastError());
  return 2.0 * kRows * kColumns * Kind::kK * kUnrolled * rounds * blocks * kGroups;
}

}  // namespace

double burst_bf16_sm90a(int32_t rounds, Stream stream) { return burst<BF16>(rounds, stream); }
double burst_int8_sm90a(int32_t rounds, Stream stream) { return burst<Int8>(rounds, stream); }
double burst_float8_sm90a(int32_t rounds, Stream stream) { return burst<Float8>(rounds, stream); }

}  // namespace lowbit::cuda
