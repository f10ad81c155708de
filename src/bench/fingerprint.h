// What a result was measured on: enough to tell whether two results may be compared.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/stepper.h"

namespace lowbit {

// The kernel that a kind of Linear runs with m_lo to m_hi tokens in a step.
struct KernelChoice {
  std::string linear;  // "qkv", the same in all layers that chose alike
  int32_t m_lo = 1, m_hi = 1;
  std::string kernel;
  bool operator==(const KernelChoice&) const = default;
};

struct Fingerprint {
  std::string version, commit, build_type, compiler, flags;
  std::string cuda_toolkit;  // "12.8.93", that built the CUDA backend; "" without one
  bool dirty = false;        // tracked files differed from the commit
  std::string os;            // "Linux 6.1.0"
  std::string cpu;
  int32_t cores = 0, threads = 0;      // physical cores, threads the backend used
  std::string isa;                     // of what kernels ask for, the parts this CPU has
  std::string isa_override;            // LB_CPU_ISA, "" if not set
  int64_t memory_bytes = 0;            // of the machine
  int64_t last_level_cache_bytes = 0;  // of one core's view; 0 if not readable
  std::string governor;                // cpufreq, "" if not readable
  double mhz = 0;                      // of CPU 0 when the case started, 0 if not readable
  double load_average = 0;             // one minute, when the case started
  std::string gpu;                     // "" (null in JSON) without one
  std::string gpu_driver;              // "" without one
  double power_limit = 0;              // watts that the GPU may take; 0 if not readable
  std::string device;                  // backend
  std::string plan = "eager";          // how a step runs: eager | graph | program
  std::vector<KernelChoice> kernels;
  std::string logits_hash;  // of a fixed prompt; equal hash, equal bits
  std::string model_hash;   // Checkpoint::hash(); "" where it was not recorded
  bool operator==(const Fingerprint&) const = default;
};

// Build and machine; the model's part stays empty.
Fingerprint machine_fingerprint();

// The format of the output head.
std::string head_format(const Model& model);

// Which kernels the model's Linears run, without repetition.
std::vector<KernelChoice> kernel_choices(const Model& model);

// FNV-1a of the bits of the logits that follow a fixed prompt of eight ids. Leaves sequence 0
// empty, as it must be before.
std::string logits_hash(Stepper& stepper);

// Peak resident memory of this process in bytes since the last reset; `status` is its file.
int64_t peak_memory(const char* status = "/proc/self/status");
bool reset_peak_memory();  // false: not permitted here

// Memory that can be had without swapping, in bytes; 0 if not readable.
int64_t available_memory();

std::string utc_now();  // 2006-01-02T15:04:05Z
// The time here in a format of strftime, at most 31 characters.
std::string local_time(const char* format);

}  // namespace lowbit
