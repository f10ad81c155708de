// Reads and multiply-adds alone, the roofs of everything else.
#include <cuda_runtime.h>

#include "cuda/ceiling.h"
#include "cuda/check.h"
#include "cuda/limits.h"
#include "cuda/ptx.cuh"

namespace lowbit::cuda {
namespace {

// ---- reading ------------------------------------------------------------------------------------

// Past the first-level cache, and again although it was read before.
__device__ __forceinline__ uint4 load(const uint4* from) {
  uint4 x;
  asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
               : "l"(from));
  return x;
}

__global__ void __launch_bounds__(512)
    read_kernel(const uint4* __restrict__ data, size_t count, int32_t repeats, uint4* never) {
  constexpr int kAtOnce = 8;
  uint4 sum = {};
  const auto add = [&](const uint4& x) { sum.x ^= x.x, sum.y ^= x.y, sum.z ^= x.z, sum.w ^= x.w; };
  const size_t step = size_t{gridDim.x} * blockDim.x;
  for (int32_t r = 0; r < repeats; ++r) {
    size_t i = size_t{blockIdx.x} * blockDim.x + threadIdx.x;
    for (; i + (kAtOnce - 1) * step < count; i += kAtOnce * step) {
      uint4 x[kAtOnce];
#pragma unroll
      for (int j = 0; j < kAtOnce; ++j) x[j] = load(data + i + j * step);
#pragma unroll
      for (int j = 0; j < kAtOnce; ++j) add(x[j]);
    }
    for (; i < count; i += step) add(load(data + i));
  }
  if ((sum.x ^ sum.y ^ sum.z ^ sum.w) == 0x12345678u && never) *never = sum;
}

constexpr uint32_t kPiece = 16384;
constexpr uint32_t kPieces = 12;  // of the ring

__global__ void __launch_bounds__(32)
    ring_kernel(const char* __restrict__ data, size_t bytes, int32_t repeats) {
#if LB_BULK_COPIES
  extern __shared__ __align__(128) char ring[];
  __shared__ uint64_t full[kPieces];
  if (threadIdx.x != 0) return;
  for (uint32_t s = 0; s < kPieces; ++s) barrier_init(shared_address(full + s), 1);
  fence_barrier_init();
  const auto all = static_cast<uint32_t>((bytes + kPiece - 1) / kPiece);
  const uint32_t own = all > blockIdx.x ? (all - blockIdx.x + gridDim.x - 1) / gridDim.x : 0;
  const uint32_t total = own * static_cast<uint32_t>(repeats);
  uint32_t next = 0, at = 0;  // the next piece's place in the ring, and which of `own` it is
  const auto start = [&] {
    const size_t offset = (blockIdx.x + size_t{at} * gridDim.x) * kPiece;
    const auto size = static_cast<uint32_t>(min(size_t{kPiece}, bytes - offset));
    const uint32_t barrier = shared_address(full + next);
    barrier_expect(barrier, size);
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
            "r"(shared_address(ring + next * kPiece)),
        "l"(data + offset), "r"(size), "r"(barrier)
        : "memory");
    next = next + 1 == kPieces ? 0 : next + 1;
    at = at + 1 == own ? 0 : at + 1;
  };
  for (uint32_t i = 0; i < min(total, kPieces); ++i) start();
  uint32_t slot = 0, parity = 0;
  for (uint32_t i = 0; i < total; ++i) {
    barrier_wait(shared_address(full + slot), parity);
    if (i + kPieces < total) start();
    if (++slot == kPieces) slot = 0, parity ^= 1;
  }
#endif
}

// ---- multiplying --------------------------------------------------------------------------------

struct BF16 {
  using Sum = float;
  static constexpr int kSm = 80, kK = 16;
  static __device__ void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    mma_bf16(d, a, b0, b1);
  }
};

struct Int8 {
  using Sum = int32_t;
  static constexpr int kSm = 80, kK = 32;
  static __device__ void mma(int32_t (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    mma_bytes<false>(d, a, b0, b1);
  }
};

struct Float8 {
  using Sum = float;
  static constexpr int kSm = 89, kK = 32;
  static __device__ void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ >= 890
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
  }
};

constexpr int kThreads = 256, kBlocks = 2;  // of a block; for each multiprocessor
constexpr int kChains = 8, kUnrolled = 4;   // sums of a warp that do not wait for each other

template <class Kind>
__global__ void __launch_bounds__(kThreads) mma_kernel(int32_t rounds, typename Kind::Sum* never) {
  typename Kind::Sum d[kChains][4] = {};
  const uint32_t bits = 0x3c3c3c3cu + threadIdx.x % 4;  // small numbers in every format
  const uint32_t a[4] = {bits, bits + 1, bits + 2, bits + 3};
  for (int32_t r = 0; r < rounds; ++r) {
#pragma unroll
    for (int i = 0; i < kChains * kUnrolled; ++i) Kind::mma(d[i % kChains], a, bits, bits + 1);
  }
  typename Kind::Sum sum = 0;
#pragma unroll
  for (int i = 0; i < kChains; ++i) sum += d[i][0] + d[i][1] + d[i][2] + d[i][3];
  if (never) *never = sum;
}

template <class Kind>
double burst(int32_t rounds, Stream stream) {
  if (!has_code(reinterpret_cast<const void*>(mma_kernel<Kind>), Kind::kSm)) return 0;
  const int blocks = kBlocks * sm_count();
  mma_kernel<Kind><<<blocks, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(rounds, nullptr);
  LB_CUDA(cudaGetLastError());
  return 2.0 * 16 * 8 * Kind::kK * kChains * kUnrolled * rounds * blocks * (kThreads / 32);
}

}  // namespace

bool has_code(const void* kernel, int sm) {
  cudaFuncAttributes attributes;
  if (cudaFuncGetAttributes(&attributes, kernel) != cudaSuccess) {
    cudaGetLastError();  // no code for this device is an answer; what else it is comes again
    return false;
  }
  return attributes.binaryVersion >= sm;
}

bool plain_read(const void* data, size_t bytes, int32_t repeats, Stream stream) {
  read_kernel<<<sm_count() * 2, 512, 0, static_cast<cudaStream_t>(stream)>>>(
      static_cast<const uint4*>(data), bytes / 16, repeats, nullptr);
  LB_CUDA(cudaGetLastError());
  return true;
}

bool ring_read(const void* data, size_t bytes, int32_t repeats, Stream stream) {
  if (!has_code(reinterpret_cast<const void*>(ring_kernel), 90)) return false;
  constexpr int kShared = kPiece * kPieces;
  LB_CUDA(cudaFuncSetAttribute(ring_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kShared));
  ring_kernel<<<sm_count(), 32, kShared, static_cast<cudaStream_t>(stream)>>>(
      static_cast<const char*>(data), bytes, repeats);
  LB_CUDA(cudaGetLastError());
  return true;
}

double burst_bf16(int32_t rounds, Stream stream) { return burst<BF16>(rounds, stream); }
double burst_int8(int32_t rounds, Stream stream) { return burst<Int8>(rounds, stream); }
double burst_float8(int32_t rounds, Stream stream) { return burst<Float8>(rounds, stream); }

}  // namespace lowbit::cuda
