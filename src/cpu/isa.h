// Which instruction sets the cpu backend may use: what the machine and its operating system offer,
// capped by LB_CPU_ISA.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace lowbit::cpu {

// Bits of DeviceInfo::isa. No bit at all is the baseline: plain C++ for any x86-64.
enum Isa : uint32_t {
  kIsaAvx2 = 1,    // AVX2, FMA, F16C, BMI2
  kIsaAvx512 = 2,  // AVX-512 F, BW, DQ, VL
  kIsaVnni = 4,    // AVX-512 VNNI, VBMI and GFNI
  kIsaBf16 = 8,    // AVX-512 BF16
};

uint32_t machine_isa();

// "baseline, avx2, avx512": the values of LB_CPU_ISA that `isa` can serve.
std::string isa_names(uint32_t isa);

// `isa` without what `cap` (baseline, avx2, avx512) forbids; "" forbids nothing. Error for an
// unknown cap and for one above `isa`.
uint32_t cap_isa(uint32_t isa, std::string_view cap);

// machine_isa() capped by the environment variable LB_CPU_ISA; read at each call.
uint32_t active_isa();

}  // namespace lowbit::cpu
