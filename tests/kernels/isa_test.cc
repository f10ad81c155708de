// LB_CPU_ISA and the choice of instruction set.
#include "cpu/isa.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/check.h"
#include "cpu/backend.h"

namespace lowbit::cpu {
namespace {

constexpr uint32_t kAll = kIsaAvx2 | kIsaAvx512 | kIsaVnni | kIsaBf16;

std::string error_of(uint32_t isa, std::string_view cap) {
  try {
    cap_isa(isa, cap);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Isa, CapRemovesWhatIsAboveIt) {
  EXPECT_EQ(cap_isa(kAll, ""), kAll);
  EXPECT_EQ(cap_isa(kAll, "avx512"), kAll);
  EXPECT_EQ(cap_isa(kAll, "avx2"), kIsaAvx2);
  EXPECT_EQ(cap_isa(kAll, "baseline"), 0u);
  EXPECT_EQ(cap_isa(0, "baseline"), 0u);
}

TEST(Isa, CapAboveTheMachineNamesWhatItHas) {
  EXPECT_EQ(error_of(kIsaAvx2, "avx512"), "LB_CPU_ISA=avx512: this machine has baseline, avx2");
  EXPECT_EQ(error_of(0, "avx2"), "LB_CPU_ISA=avx2: this machine has baseline");
}

TEST(Isa, UnknownCapNamesWhatIsKnown) {
  EXPECT_EQ(error_of(kIsaAvx2, "avx3"),
            "LB_CPU_ISA=avx3: unknown, did you mean `avx2`?; known: baseline, avx2, avx512; this "
            "machine has baseline, avx2");
  EXPECT_NE(error_of(kAll, "AVX2"), "");
}

class EnvGuard {
 public:
  explicit EnvGuard(const char* value) {
    if (const char* old = std::getenv("LB_CPU_ISA")) old_ = old;
    setenv("LB_CPU_ISA", value, 1);
  }
  ~EnvGuard() { old_.empty() ? unsetenv("LB_CPU_ISA") : setenv("LB_CPU_ISA", old_.c_str(), 1); }

 private:
  std::string old_;
};

TEST(Isa, EnvironmentCapsWhatTheBackendReports) {
  const EnvGuard guard("baseline");
  EXPECT_EQ(active_isa(), 0u);
  EXPECT_EQ(cpu_backend().info().isa, 0u);
}

TEST(Isa, BadEnvironmentIsAnError) {
  const EnvGuard guard("sse9");
  EXPECT_THROW(cpu_backend().info(), Error);
}

TEST(Isa, AgreesWithTheCompilersOwnDetection) {
  __builtin_cpu_init();
  const uint32_t isa = machine_isa();
  EXPECT_EQ((isa & kIsaAvx2) != 0, __builtin_cpu_supports("avx2") &&
                                       __builtin_cpu_supports("fma") &&
                                       __builtin_cpu_supports("bmi2"));
  EXPECT_EQ((isa & kIsaAvx512) != 0,
            __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"));
}

}  // namespace
}  // namespace lowbit::cpu
