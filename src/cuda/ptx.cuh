// One instruction each.
#pragma once

#include <cuda.h>
#include <stdint.h>

namespace lowbit::cuda {

// ---- tensor cores -------------------------------------------------------------------------------

// d[16, 8] += a[16, 16] b[16, 8], f16 in, f32 out. Lane 4g + q: a = rows g, g + 8 of columns 2q,
// 2q + 1, then of columns 2q + 8, 2q + 9; b = those of column g; d = rows g, g + 8, columns 2q, 2q
// + 1.
__device__ __forceinline__ void mma_f16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                        uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ __forceinline__ void mma_bf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                         uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
      "{%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// d[16, 8] += a[16, 32] b[32, 8], bytes in, s32 out. Lane 4g + q: a = rows g, g + 8 of columns 4q
// .. 4q + 3, then of columns 4q + 16 ..; b = those of column g; d as above. kUnsigned: a is u8,
// else s8; b is s8.
template <bool kUnsigned>
__device__ __forceinline__ void mma_bytes(int32_t (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                          uint32_t b1) {
  if constexpr (kUnsigned) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}
// The same over 16 columns: a = columns 4q .. 4q + 3.
template <bool kUnsigned>
__device__ __forceinline__ void mma_bytes(int32_t (&d)[4], uint32_t a0, uint32_t a1, uint32_t b) {
  if constexpr (kUnsigned) {
    asm("mma.sync.aligned.m16n8k16.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
        "{%0,%1,%2,%3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a0), "r"(a1), "r"(b));
  } else {
    asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
        "{%0,%1,%2,%3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a0), "r"(a1), "r"(b));
  }
}
// 16 rows of 256 bits times 8 columns of as many: how many bits are set in both.
__device__ __forceinline__ void mma_bits(int32_t (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                         uint32_t b1) {
  asm("mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
      "{%8,%9}, {%0,%1,%2,%3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// ---- registers ----------------------------------------------------------------------------------

// A number that stays in a register: the compiler will not make it again where it is used.
template <class T>
__device__ __forceinline__ T held(T value) {
  asm volatile("" : "+r"(value));
  return value;
}

// ---- numbers ------------------------------------------------------------------------------------

// 1 / x to a unit in the last place, of powers of two exactly.
__device__ __forceinline__ float reciprocal(float x) {
  float out;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(x));
  return out;
}

// ---- bits ---------------------------------------------------------------------------------------

// (a & b) | c
__device__ __forceinline__ uint32_t and_or(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t out;
  asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(out) : "r"(a), "r"(b), "r"(c));
  return out;
}

// The four bytes of {low, high} that the nibbles of the low half of `codes` name; where a nibble's
// bit 3 is set, 0xff or 0x00: the sign of that byte.
__device__ __forceinline__ uint32_t select_bytes(uint32_t low, uint32_t high, uint32_t codes) {
  uint32_t out;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(out) : "r"(low), "r"(high), "r"(codes));
  return out;
}

// ---- bulk copies (sm_90) ------------------------------------------------------------------------

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900  // the host's compiler has to know the names
#define LB_BULK_COPIES 1
#else
#define LB_BULK_COPIES 0
#endif

__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

__device__ __forceinline__ void store_shared(uint32_t to, uint32_t word, bool store) {
  asm volatile(
      "{\n.reg .pred p;\n"
      "setp.ne.u32 p, %2, 0;\n"
      "@p st.shared.u32 [%0], %1;\n}" ::"r"(to),
      "r"(word), "r"(static_cast<uint32_t>(store))
      : "memory");
}
__device__ __forceinline__ void store_shared(uint32_t to, uint2 words, bool store) {
  asm volatile(
      "{\n.reg .pred p;\n"
      "setp.ne.u32 p, %3, 0;\n"
      "@p st.shared.v2.u32 [%0], {%1, %2};\n}" ::"r"(to),
      "r"(words.x), "r"(words.y), "r"(static_cast<uint32_t>(store))
      : "memory");
}

// Four matrices of 8 rows of 16 bytes: of matrix i lane 8 i + r says where row r is. Lane 4g + q
// gets word q of row g.
__device__ __forceinline__ void load_matrices(uint32_t (&out)[4], uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(row));
}
// Half words g of rows 2q and 2q + 1.
__device__ __forceinline__ void load_transposed(uint32_t (&out)[4], uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(row));
}

#if LB_BULK_COPIES
__device__ __forceinline__ void barrier_init(uint32_t barrier, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals));
}
// What was written to barriers and shared memory becomes visible to bulk copies.
__device__ __forceinline__ void fence_barrier_init() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ __forceinline__ void barrier_expect(uint32_t barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}
// What it tells is that shared memory may be written again.
__device__ __forceinline__ void barrier_arrive(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
__device__ __forceinline__ void barrier_wait(uint32_t barrier, uint32_t parity) {
  asm volatile(
      "{\n.reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;\n}" ::"r"(barrier),
      "r"(parity)
      : "memory");
}
// Global to shared memory, 16-byte aligned, a multiple of 16 bytes; read once, so evicted first.
__device__ __forceinline__ void bulk_copy(uint32_t to, const void* from, uint32_t bytes,
                                          uint32_t barrier, uint64_t policy) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], "
      "[%1], %2, [%3], %4;" ::"r"(to),
      "l"(from), "r"(bytes), "r"(barrier), "l"(policy)
      : "memory");
}
// The same of what other CTAs read too.
__device__ __forceinline__ void bulk_copy(uint32_t to, const void* from, uint32_t bytes,
                                          uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, "
      "[%3];" ::"r"(to),
      "l"(from), "r"(bytes), "r"(barrier)
      : "memory");
}
// Rows from `row` on, as map_of_rows() (copy_maps.h) says.
__device__ __forceinline__ void bulk_copy(uint32_t to, const CUtensorMap& map, int32_t row,
                                          uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], "
      "[%1, {%2, %3, %2}], [%4];" ::"r"(to),
      "l"(&map), "r"(0), "r"(row), "r"(barrier)
      : "memory");
}
// What this thread wrote to memory can be read by bulk copies that begin after a barrier.
__device__ __forceinline__ void fence_before_copies() {
  asm volatile("fence.proxy.async;" ::: "memory");
}
__device__ __forceinline__ uint64_t evict_first() {
  uint64_t policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  return policy;
}
#endif

// ---- clusters (sm_90) ---------------------------------------------------------------------------

#if LB_BULK_COPIES
__device__ __forceinline__ uint32_t cluster_rank() {
  uint32_t rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
// All threads of the cluster's CTAs.
__device__ __forceinline__ void cluster_sync() {
  asm volatile("barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;" ::: "memory");
}
// The same for threads that have nothing to show each other: without the fence.
__device__ __forceinline__ void cluster_meet() {
  asm volatile("barrier.cluster.arrive.relaxed.aligned;\nbarrier.cluster.wait.aligned;" ::
                   : "memory");
}
// At the barrier that lies there in the CTA of that rank; what it tells is that memory may be
// written again. (Released to the cluster, each arrival would wait for a fence of the whole GPU.)
__device__ __forceinline__ void barrier_arrive(uint32_t barrier, uint32_t rank) {
  asm volatile(
      "{\n.reg .b32 there;\n"
      "mapa.shared::cluster.u32 there, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [there];\n}" ::"r"(barrier),
      "r"(rank)
      : "memory");
}
__device__ __forceinline__ float load_from_cta(uint32_t address, uint32_t rank) {
  float value;
  asm volatile(
      "{\n.reg .b32 there;\n"
      "mapa.shared::cluster.u32 there, %1, %2;\n"
      "ld.shared::cluster.f32 %0, [there];\n}"
      : "=f"(value)
      : "r"(address), "r"(rank)
      : "memory");
  return value;
}
// As bulk_copy(), to the same place in every CTA whose bit is set, each with its own barrier; what
// is read is read again soon.
__device__ __forceinline__ void bulk_copy_to_all(uint32_t to, const void* from, uint32_t bytes,
                                                 uint32_t barrier, uint16_t ctas) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], "
      "[%1], %2, [%3], %4;" ::"r"(to),
      "l"(from), "r"(bytes), "r"(barrier), "h"(ctas)
      : "memory");
}
#endif

// ---- words that CTAs share ----------------------------------------------------------------------

// After all that this thread has seen written (sm_70).
__device__ __forceinline__ void add_released(uint64_t* word) {
  asm volatile("red.release.gpu.global.add.u64 [%0], 1;" ::"l"(word) : "memory");
}
// The same; returned: the word before.
__device__ __forceinline__ uint64_t add_released(uint64_t* word, uint64_t value) {
  uint64_t before;
  asm volatile("atom.release.gpu.global.add.u64 %0, [%1], %2;"
               : "=l"(before)
               : "l"(word), "l"(value)
               : "memory");
  return before;
}
// The word before; after all that this thread has seen written, before all that it reads then.
__device__ __forceinline__ unsigned add_ordered(unsigned* word, unsigned value) {
  unsigned before;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;"
               : "=r"(before)
               : "l"(word), "r"(value)
               : "memory");
  return before;
}
__device__ __forceinline__ uint64_t load_acquired(const uint64_t* word) {
  uint64_t value;
  asm volatile("ld.acquire.gpu.global.u64 %0, [%1];" : "=l"(value) : "l"(word) : "memory");
  return value;
}

// ---- asynchronous copies ------------------------------------------------------------------------

__device__ __forceinline__ void async_copy16(uint32_t to, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}
__device__ __forceinline__ void async_copy16_or_zeros(uint32_t to, const void* from, bool copy) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
               "r"(copy ? 16 : 0)
               : "memory");
}
__device__ __forceinline__ void async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int kPending>
__device__ __forceinline__ void async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

}  // namespace lowbit::cuda
