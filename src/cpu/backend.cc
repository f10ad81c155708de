// Registry rows and the thread split of the cpu kernels. Compiled without ISA flags: what needs
// them is behind the function pointers of cpu/bodies.h.
#include "cpu/backend.h"

#include "base/check.h"
#include "base/thread_pool.h"
#include "cpu/bodies.h"
#include "cpu/isa.h"
#include "cpu/ops.h"
#include "cpu/pack_nibble_halves.h"
#include "ops/host_memory.h"

namespace lowbit {
namespace {

using namespace cpu;

// ---- which formats a kernel reads ---------------------------------------------------------------

// Blocks that lie within a row and that a run of kRun codes meets at whole multiples of 8, or one
// scale for the whole row or tensor.
bool simple_blocks(const Format& f) {
  if (f.outer != Outer::kNone || f.sparse24) return false;
  if (f.scale != Scale::kF32 && f.scale != Scale::kF16 && f.scale != Scale::kBF16) return false;
  if (f.block.k == 0) return f.block.n <= 1;
  const bool power_of_two = (f.block.k & (f.block.k - 1)) == 0;
  return f.block.n == 1 && power_of_two && 8 <= f.block.k && f.block.k <= 256;
}

template <Code kCode>
bool has_code(const Format& f) {
  return f.code == kCode;
}
bool is_int8(const Format& f) {
  return f.code == Code::kInt && f.bits == 8 && f.zero == Zero::kNone && simple_blocks(f);
}
bool is_nibble(const Format& f) {
  const bool zero = f.zero == Zero::kNone || f.zero == Zero::kInt || f.zero == Zero::kFloat;
  return f.bits == 4 && (f.code == Code::kInt || f.code == Code::kUInt) && zero && simple_blocks(f);
}
// What some SIMD row reads, so that the same formats run on any x86-64; others are decoded to bf16.
bool has_simd_row(const Format& f) { return !f.quantized() || is_int8(f) || is_nibble(f); }
bool any_format(const Format&) { return true; }

template <uint32_t kIsa>
std::string needs(const LinearSpec&, const DeviceInfo& device) {
  if (device.isa & kIsa) return "";
  return fmt::format("needs {}, allowed here: {}", kIsa == kIsaAvx2 ? "avx2" : "avx512",
                     isa_names(device.isa));
}

// ---- Linear -------------------------------------------------------------------------------------

int64_t padded_k(int64_t k) { return (k + kRun - 1) / kRun * kRun; }

// x as the bodies read it may be what the caller has; anything else is decoded to f32 first.
bool readable_as_is(FormatId activations, int64_t k) {
  return activations == FormatId::kF32 && k % kRun == 0;
}

size_t workspace(const LinearSpec& spec) {
  if (readable_as_is(spec.a.id, spec.k)) return 0;
  return static_cast<size_t>(spec.m_max) * static_cast<size_t>(padded_k(spec.k)) * sizeof(float);
}

template <LinearRows kRows, const OpBodies* kOps>
void launch(const LinearArgs& args, Stream) {
  constexpr int64_t kMinWork =
      1 << 16;  // multiply-adds below which a fork costs more than it saves
  constexpr int64_t kGrain = 8;
  LinearArgs a = args;
  const auto split = [&](int64_t n, int64_t work, const auto& body) {
    work > kMinWork ? thread_pool().for_ranges(n, kGrain, body) : body(int64_t{0}, n);
  };
  if (!readable_as_is(a.x.format, a.k)) {
    auto* x = static_cast<float*>(args.workspace);
    const int64_t ld = padded_k(a.k);
    split(a.m, a.m * ld, [&](int64_t begin, int64_t end) {
      kOps->widen(args.x, a.k, x, ld, static_cast<int32_t>(begin), static_cast<int32_t>(end));
    });
    a.x = {.data = x, .scales = nullptr, .ld = ld, .format = FormatId::kF32};
  }
  split(a.n, int64_t{a.m} * a.n * a.k, [&](int64_t begin, int64_t end) {
    kRows(a, static_cast<int32_t>(begin), static_cast<int32_t>(end));
  });
}

constexpr int kRankBaseline = 0, kRankAvx2 = 20, kRankAvx512 = 30;
constexpr double kSingle = 0x1p-24;

template <LinearRows kRows>
constexpr LinearKernel avx2(std::string_view name, bool (*weights)(const Format&),
                            LayoutId layout = LayoutId::kCanonical) {
  return {.name = name,
          .weights = weights,
          .activations = any_format,
          .layout = layout,
          .rank = kRankAvx2,
          .u_acc = kSingle,
          .reject = needs<kIsaAvx2>,
          .workspace = workspace,
          .launch = launch<kRows, &kOpsAvx2>};
}

template <LinearRows kRows>
constexpr LinearKernel avx512(std::string_view name, bool (*weights)(const Format&),
                              LayoutId layout = LayoutId::kCanonical) {
  return {.name = name,
          .weights = weights,
          .activations = any_format,
          .layout = layout,
          .rank = kRankAvx512,
          .u_acc = kSingle,
          .reject = needs<kIsaAvx512>,
          .workspace = workspace,
          .launch = launch<kRows, &kOpsAvx512>};
}

constexpr LayoutId kHalves = LayoutId::kNibbleHalves;

constexpr LinearKernel kKernels[] = {
    avx512<linear_f32_avx512>("cpu.linear.f32.avx512", has_code<Code::kF32>),
    avx512<linear_f16_avx512>("cpu.linear.f16.avx512", has_code<Code::kF16>),
    avx512<linear_bf16_avx512>("cpu.linear.bf16.avx512", has_code<Code::kBF16>),
    avx512<linear_int8_avx512>("cpu.linear.int8.avx512", is_int8),
    avx512<linear_int4_avx512>("cpu.linear.int4.avx512", is_nibble, kHalves),
    avx2<linear_f32_avx2>("cpu.linear.f32.avx2", has_code<Code::kF32>),
    avx2<linear_f16_avx2>("cpu.linear.f16.avx2", has_code<Code::kF16>),
    avx2<linear_bf16_avx2>("cpu.linear.bf16.avx2", has_code<Code::kBF16>),
    avx2<linear_int8_avx2>("cpu.linear.int8.avx2", is_int8),
    avx2<linear_int4_avx2>("cpu.linear.int4.avx2", is_nibble, kHalves),
    {.name = "cpu.linear.any.baseline",
     .weights = has_simd_row,
     .activations = any_format,
     .rank = kRankBaseline,
     .u_acc = kSingle,
     .workspace = workspace,
     .launch = launch<linear_any_baseline, &kOpsBaseline>},
};

DeviceInfo info() {
  DeviceInfo info = host_info();
  info.isa = active_isa();
  info.threads = thread_pool().workers();
  return info;
}

Backend make_backend() {
  static const Packer packers[] = {nibble_halves_packer()};
  return {.name = "cpu",
          .info = info,
          .allocate = host_allocate,
          .upload = host_upload,
          .copy_in = host_copy,
          .copy_out = host_copy,
          .synchronize = host_synchronize,
          .op = op_table(active_isa()),
          .activation = FormatId::kF32,
          .linear_kernels = kKernels,
          .packers = packers,
          .graph = nullptr};
}

}  // namespace

const Backend& cpu_backend() {
  static const Backend backend = make_backend();
  return backend;
}

}  // namespace lowbit
