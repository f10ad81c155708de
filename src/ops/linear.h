// How a Linear finds its kernel. A backend lists LinearKernel rows; plan_linear() searches them
// once at load, keeps the reasons of those that refused, and the model calls plan.pick(m).
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/qtensor.h"
#include "ops/args.h"

namespace lowbit {

// In which order a kernel family wants the codes. kCanonical is the order of formats/qtensor.h.
enum class LayoutId : uint8_t { kCanonical, kTiles };
std::string_view name(LayoutId layout);

struct LinearSpec {
  Format w, a;
  int64_t n = 0, k = 0;
  bool bias = false;
  int32_t m_max = 1;  // most rows of x in one call
};

// What the machine can do; `isa` is a set of Isa bits (cpu) and `sm` a compute capability (cuda).
struct DeviceInfo {
  std::string name;
  uint32_t isa = 0;
  int sm = 0;
  int threads = 1;
  size_t memory_bytes = 0;
  size_t cache_bytes = 0;  // of a device's last cache; 0 on the host
};

struct MRange {
  int32_t lo = 1, hi = std::numeric_limits<int32_t>::max();
};

// What a kernel multiplies: floats (16-bit ones in tensor cores), small integers whose products are
// added exactly, or 8-bit floats in tensor cores. Machines do more of the latter two in a second.
enum class Products : uint8_t { kFloat, kInteger, kFloat8 };

// As `x_block`: all of a row.
inline constexpr int32_t kWholeToken = std::numeric_limits<int32_t>::max();

// One registry row. Predicates look at the fields of a format, never at a list of names.
struct LinearKernel {
  std::string_view name;           // <device>.<op>.<weights>[.<acts>][.<variant>].<arch>
  bool (*weights)(const Format&);  // formats whose codes it reads
  bool (*activations)(const Format&);
  LayoutId layout = LayoutId::kCanonical;
  MRange m = {};
  std::optional<MRange> pair_m = {};  // the same where activations are quantized
  int rank = 0;                       // higher is preferred
  double u_acc = 0;  // unit roundoff of the accumulator: 0 exact, 2^-24 f32, 2^-53 f64
  // Kernels that round x to fixed point: by at most u_x times the largest |x| of the `x_block`
  // neighbours along k. 0: x is used as it is.
  double u_x = 0;
  int32_t x_block = 1;
  // Kernels that round weights, each by at most u_w times its size.
  double u_w = 0;
  // Zeros are multiplied with sums of x instead of being added to the codes: rounding errors are
  // relative to both parts of a weight.
  bool zeros_apart = false;
  // It normalises x itself, and multiplies gate and up, where LinearArgs asks for that.
  bool fused_norm = false, fused_silu = false;
  bool tables = false;   // it looks codes up in Outer::kTable
  bool generic = false;  // one body for formats of any code, none was written for this one
  Products products = Products::kFloat;
  // "" = accepted, else the reason in words: missing ISA, K not a multiple of 64, ...
  std::string (*reject)(const LinearSpec&, const DeviceInfo&) = nullptr;
  size_t (*workspace)(const LinearSpec&) = nullptr;  // bytes, may be null for none
  void (*launch)(const LinearArgs&, Stream);
};

struct Rejected {
  std::string_view kernel;
  std::string reason;
};

struct LinearPlan {
  struct Bucket {
    int32_t m_hi;
    const LinearKernel* kernel;
  };
  LayoutId layout = LayoutId::kCanonical;
  std::vector<Bucket> buckets = {};  // ascending m_hi; the last one covers m_max
  size_t workspace = 0;
  std::vector<Rejected> rejected = {};

  const LinearKernel& pick(int32_t m) const {
    for (const Bucket& bucket : buckets) {
      if (m <= bucket.m_hi) return *bucket.kernel;
    }
    return *buckets.back().kernel;
  }
};

// The best layout is that of the acceptor with the highest rank at m = 1; its rows then cover
// 1..m_max. Empty buckets: no kernel reads this format on this device.
LinearPlan plan_linear(const LinearSpec& spec, std::span<const LinearKernel> kernels,
                       const DeviceInfo& device);

// The kernel's view of canonical planes (or of planes packed from them).
WeightView view(const QTensor& tensor);

}  // namespace lowbit
