#include "cpu/isa.h"

#include <cpuid.h>

#include <cstdlib>

#include "base/check.h"
#include "base/text.h"

namespace lowbit::cpu {
namespace {

struct Registers {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(uint32_t leaf, uint32_t subleaf) {
  Registers r;
  if (!__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx)) return {};
  return r;
}

bool bit(uint32_t word, int index) { return (word >> index) & 1u; }

// Which register files the operating system saves at a context switch (XCR0).
uint64_t saved_state() {
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t{high} << 32) | low;
}

// What each level adds to the one below it.
struct Level {
  std::string_view name;
  uint32_t isa;
};
constexpr Level kLevels[] = {
    {"baseline", 0},
    {"avx2", kIsaAvx2},
    {"avx512", kIsaAvx512 | kIsaVnni | kIsaBf16},
};

bool has(uint32_t isa, const Level& level) {
  return level.isa == 0 || (isa & level.isa & (kIsaAvx2 | kIsaAvx512)) != 0;
}

}  // namespace

uint32_t machine_isa() {
  const Registers basic = cpuid(1, 0), extended = cpuid(7, 0), more = cpuid(7, 1);
  const bool xgetbv = bit(basic.ecx, 27);  // OSXSAVE
  const uint64_t saved = xgetbv ? saved_state() : 0;
  const bool ymm = (saved & 0x06) == 0x06, zmm = (saved & 0xe6) == 0xe6;

  uint32_t isa = 0;
  const bool fma = bit(basic.ecx, 12), f16c = bit(basic.ecx, 29), avx = bit(basic.ecx, 28);
  const bool avx2 = bit(extended.ebx, 5) && bit(extended.ebx, 8);  // and BMI2
  if (ymm && avx && fma && f16c && avx2) isa |= kIsaAvx2;
  const bool avx512 = bit(extended.ebx, 16) && bit(extended.ebx, 17) &&  // F, DQ
                      bit(extended.ebx, 30) && bit(extended.ebx, 31);    // BW, VL
  if ((isa & kIsaAvx2) && zmm && avx512) {
    isa |= kIsaAvx512;
    if (bit(extended.ecx, 11) && bit(extended.ecx, 1) && bit(extended.ecx, 8)) isa |= kIsaVnni;
    if (bit(more.eax, 5)) isa |= kIsaBf16;
  }
  return isa;
}

std::string isa_names(uint32_t isa) {
  std::vector<std::string> names;
  for (const Level& level : kLevels) {
    if (has(isa, level)) names.emplace_back(level.name);
  }
  return join(names, ", ");
}

uint32_t cap_isa(uint32_t isa, std::string_view cap) {
  if (cap.empty()) return isa;
  uint32_t allowed = 0;
  std::vector<std::string> names;
  for (const Level& level : kLevels) {
    allowed |= level.isa;
    names.emplace_back(level.name);
    if (level.name != cap) continue;
    if (has(isa, level)) return isa & allowed;
    throw_error("LB_CPU_ISA={}: this machine has {}", cap, isa_names(isa));
  }
  throw_error("LB_CPU_ISA={}: unknown{}; known: {}; this machine has {}", printable(cap),
              suggestion(cap, names), join(names, ", "), isa_names(isa));
}

uint32_t active_isa() {
  const char* cap = std::getenv("LB_CPU_ISA");
  return cap_isa(machine_isa(), cap ? cap : "");
}

}  // namespace lowbit::cpu
