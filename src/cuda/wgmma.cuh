// Hopper's matrix products of a warpgroup (sm_90a): A from registers, B from shared memory, running
// beside what the warps do next.
#pragma once

#include <stdint.h>

namespace lowbit::cuda {

// The warp of this thread, which the compiler then knows to be one for all of its lanes: what
// follows from it lies in uniform registers, where wgmma wants its descriptors.
__device__ __forceinline__ int uniform_warp() {
  return __shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x / 32), 0);
}

// B [columns, 64] of 16-bit numbers, rows of 128 bytes in the 128-byte swizzle: the 16-byte piece p
// of row r lies at 128 r + 16 (p ^ r % 8). Steps of 16 columns lie 32 bytes apart.
__device__ __forceinline__ uint64_t wgmma_panel(uint32_t address) {
  constexpr uint64_t kRowsOfEight = 1024 >> 4, kSwizzle128 = 1;
  return uint64_t{(address & 0x3ffff) >> 4} | uint64_t{1} << 16 | kRowsOfEight << 32 |
         kSwizzle128 << 62;
}

// Registers that were written before may be read by the products that follow.
__device__ __forceinline__ void wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int kPending>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// Operands from d[i] on, and the numbers that stand for all of them.
#define LB_4(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define LB_16(d, i) LB_4(d, i), LB_4(d, i + 4), LB_4(d, i + 8), LB_4(d, i + 12)
#define LB_32(d, i) LB_16(d, i), LB_16(d, i + 16)
#define LB_128(d) LB_32(d, 0), LB_32(d, 32), LB_32(d, 64), LB_32(d, 96)
#define LB_NUMBERS_16 "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15}, "
#define LB_NUMBERS_32                                       \
  "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, "
#define LB_NUMBERS_128                                                           \
  "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"                      \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"             \
  "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"             \
  "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,"             \
  "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,"             \
  "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95,"             \
  "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111," \
  "%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127}, "
#define LB_A(a) "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3])

// d[64, kN] += a[64, 16] b[16, kN], both in bf16 or f16. Warp w of the four has rows 16 w + 0..15
// of a and d; its lane 4g + q those of mma.m16n8k16, d[4 i ..] being columns 8 i + 2 q, + 1 of rows
// g and g + 8.
template <bool kBf16>
__device__ __forceinline__ void wgmma(float (&d)[16], const uint32_t* a, uint64_t b) {
  if constexpr (kBf16) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 " LB_NUMBERS_16
                 "{%16,%17,%18,%19}, %20, 1, 1, 1, 0;"
                 : LB_16(d, 0)
                 : LB_A(a), "l"(b));
  } else {
    asm volatile("wgmma.mma_async.sync.aligned.m64n32k16.f32.f16.f16 " LB_NUMBERS_16
                 "{%16,%17,%18,%19}, %20, 1, 1, 1, 0;"
                 : LB_16(d, 0)
                 : LB_A(a), "l"(b));
  }
}
template <bool kBf16>
__device__ __forceinline__ void wgmma(float (&d)[32], const uint32_t* a, uint64_t b) {
  if constexpr (kBf16) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 " LB_NUMBERS_32
                 "{%32,%33,%34,%35}, %36, 1, 1, 1, 0;"
                 : LB_32(d, 0)
                 : LB_A(a), "l"(b));
  } else {
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 " LB_NUMBERS_32
                 "{%32,%33,%34,%35}, %36, 1, 1, 1, 0;"
                 : LB_32(d, 0)
                 : LB_A(a), "l"(b));
  }
}
template <bool kBf16>
__device__ __forceinline__ void wgmma(float (&d)[128], const uint32_t* a, uint64_t b) {
  if constexpr (kBf16) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 " LB_NUMBERS_128
                 "{%128,%129,%130,%131}, %132, 1, 1, 1, 0;"
                 : LB_128(d)
                 : LB_A(a), "l"(b));
  } else {
    asm volatile("wgmma.mma_async.sync.aligned.m64n256k16.f32.f16.f16 " LB_NUMBERS_128
                 "{%128,%129,%130,%131}, %132, 1, 1, 1, 0;"
                 : LB_128(d)
                 : LB_A(a), "l"(b));
  }
}
#undef LB_4
#undef LB_16
#undef LB_32
#undef LB_128
#undef LB_NUMBERS_16
#undef LB_NUMBERS_32
#undef LB_NUMBERS_128
#undef LB_A

// How many registers the threads of this warpgroup have from here on.
template <int kRegisters>
__device__ __forceinline__ void more_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ __forceinline__ void fewer_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

}  // namespace lowbit::cuda
