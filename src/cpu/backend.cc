// Registry rows and the thread split of the cpu kernels. Compiled without ISA flags: what needs
// them is behind the function pointers of cpu/bodies.h.
#include "cpu/backend.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/check.h"
#include "base/thread_pool.h"
#include "cpu/bodies.h"
#include "cpu/isa.h"
#include "cpu/ops.h"
#include "formats/codec.h"
#include "ops/host_memory.h"

namespace lowbit {
namespace {

using namespace cpu;

// ---- which formats a kernel reads ---------------------------------------------------------------

template <Code kCode>
bool has_code(const Format& f) {
  return f.code == kCode;
}
bool scaled(const Format& f) { return f.quantized(); }
bool any(const Format&) { return true; }

// 2:4, the kept codes of a block being whole runs of eight.
bool sparse(const Format& f) { return f.sparse24 && (f.block.k == 0 || f.block.k >= 16); }

// Codes that are small integers times a constant, so that they fit a byte of an integer product.
bool small_integers(const Format& f) {
  if (f.sparse24 || !f.quantized() || f.outer == Outer::kInt8) return false;
  switch (f.code) {
    case Code::kInt:
    case Code::kUInt:
    case Code::kSign:
    case Code::kTernary:
    case Code::kE2M3:
    case Code::kE2M2:
    case Code::kE3M0:
    case Code::kE2M1:
    case Code::kE2M0:
      return true;
    default:
      return false;
  }
}
template <int kBits>
bool fixed_bits(const Format& f) {
  return f.bits == kBits && small_integers(f);
}
bool fixed_narrow(const Format& f) { return f.bits != 4 && f.bits < 8 && small_integers(f); }
// With those whose integers take two bytes.
bool fixed_narrow_vnni(const Format& f) {
  const bool wide = f.code == Code::kE3M2 || f.code == Code::kE3M1;
  return fixed_narrow(f) || (wide && !f.sparse24);
}
// Without a table of more than 16 entries.
bool fixed_narrow_avx2(const Format& f) {
  return fixed_narrow(f) && (f.bits < 4 || !is_mini_float(f.code));
}

// Five to a byte; lanes of the kernels have sixteen codes, which must not be of two blocks.
bool fixed_trits(const Format& f) {
  return f.code == Code::kTrit && (f.block.k == 0 || f.block.k >= 16);
}

bool fixed_bytes_or_nibbles(const Format& f) { return fixed_bits<8>(f) || fixed_bits<4>(f); }
// One scale for a token's codes, or for all of them.
bool int8_tokens(const Format& f) {
  return f.code == Code::kInt && f.bits == 8 && f.zero == Zero::kNone && f.block.k == 0 &&
         f.outer == Outer::kNone;
}

template <uint32_t kIsa>
std::string needs(const LinearSpec&, const DeviceInfo& device) {
  if (device.isa & kIsa) return "";
  return fmt::format("needs {}, allowed here: {}",
                     kIsa == kIsaAvx2     ? "avx2"
                     : kIsa == kIsaAvx512 ? "avx512"
                                          : "avx512 with vnni, vbmi and gfni",
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

// Calls body(begin, end) for parts of [0, n), on all threads where `work` multiply-adds pay for it.
template <class Body>
void split(int64_t n, int64_t work, const Body& body) {
  constexpr int64_t kMinWork = 1 << 16;
  constexpr int64_t kGrain = 8;
  work > kMinWork ? thread_pool().for_ranges(n, kGrain, body) : body(int64_t{0}, n);
}

// Makes x of tokens [t0, t0 + a->m) f32, padded to padded_k, at `out`.
void widen(LinearArgs* a, int64_t t0, const OpBodies& ops, float* out) {
  const int64_t ld = padded_k(a->k);
  split(a->m, a->m * ld, [&](int64_t begin, int64_t end) {
    ops.widen(a->x, a->k, out - t0 * ld, ld, static_cast<int32_t>(t0 + begin),
              static_cast<int32_t>(t0 + end));
  });
  a->x = {.data = out, .scales = nullptr, .ld = ld, .format = FormatId::kF32};
}

template <LinearRows kRows>
void launch_rows(const LinearArgs& a) {
  split(a.n, int64_t{a.m} * a.n * a.k, [&](int64_t begin, int64_t end) {
    kRows(a, static_cast<int32_t>(begin), static_cast<int32_t>(end));
  });
}

template <LinearRows kRows, const OpBodies* kOps>
void launch(const LinearArgs& args, Stream) {
  LinearArgs a = args;
  if (!readable_as_is(a.x.format, a.k)) widen(&a, 0, *kOps, static_cast<float*>(args.workspace));
  launch_rows<kRows>(a);
}

// ---- Linear with x in fixed point ---------------------------------------------------------------

// Tokens that are prepared at once; above as many, decoding to f32 once for all of them wins.
constexpr int32_t kFixedTokens = 4;

int64_t fixed_bytes(int64_t k) {
  return (k + kFixedRun - 1) / kFixedRun * kFixedBytes + kFixedRest;
}

size_t fixed_workspace(const LinearSpec& spec) {
  const int64_t widened = spec.a.id == FormatId::kF32 ? 0 : padded_k(spec.k) * 4;
  return static_cast<size_t>(std::min(spec.m_max, kFixedTokens) * (fixed_bytes(spec.k) + widened));
}

template <FixedPrepare kPrepare, LinearRows kRows, const OpBodies* kOps>
void launch_fixed(const LinearArgs& args, Stream) {
  for (int32_t t = 0; t < args.m; t += kFixedTokens) {
    LinearArgs a = args;
    a.m = std::min(kFixedTokens, args.m - t);
    a.y += t * a.ldy;
    auto* prepared = static_cast<std::byte*>(args.workspace);
    if (a.x.format == FormatId::kF32) {
      a.x.data = static_cast<float*>(a.x.data) + t * a.x.ld;
    } else {
      widen(&a, t, *kOps, reinterpret_cast<float*>(prepared + a.m * fixed_bytes(a.k)));
    }
    kPrepare(a, 0, a.m, prepared);
    a.x = {.data = prepared, .scales = nullptr, .ld = 0, .format = FormatId::kF32};
    launch_rows<kRows>(a);
  }
}

template <FixedPrepare kPrepare, LinearRows kRows>
void launch_codes(const LinearArgs& args, Stream) {
  for (int32_t t = 0; t < args.m; t += kFixedTokens) {
    LinearArgs a = args;
    a.m = std::min(kFixedTokens, args.m - t);
    a.y += t * a.ldy;
    kPrepare(args, t, t + a.m, args.workspace);
    a.x = {.data = args.workspace, .scales = nullptr, .ld = 0, .format = FormatId::kF32};
    launch_rows<kRows>(a);
  }
}

// ---- rows ---------------------------------------------------------------------------------------

constexpr int kRankBaseline = 0, kRankAvx2 = 20, kRankAvx512 = 30;
constexpr int kAboveF32 = 5;  // where a row with x in fixed point exists, for the same ISA
constexpr double kSingle = 0x1p-24;

template <LinearRows kRows>
constexpr LinearKernel avx2(std::string_view name, bool (*weights)(const Format&)) {
  return {.name = name,
          .weights = weights,
          .activations = any,
          .rank = kRankAvx2,
          .u_acc = kSingle,
          .tables = weights == scaled,
          .generic = weights == scaled,
          .reject = needs<kIsaAvx2>,
          .workspace = workspace,
          .launch = launch<kRows, &kOpsAvx2>};
}

template <LinearRows kRows>
constexpr LinearKernel avx512(std::string_view name, bool (*weights)(const Format&)) {
  return {.name = name,
          .weights = weights,
          .activations = any,
          .rank = kRankAvx512,
          .u_acc = kSingle,
          .tables = weights == scaled,
          .generic = weights == scaled,
          .reject = needs<kIsaAvx512>,
          .workspace = workspace,
          .launch = launch<kRows, &kOpsAvx512>};
}

// For tokens so few that decoding codes once for all of them does not pay.
constexpr LinearKernel of_few_tokens(LinearKernel kernel) {
  kernel.m = {1, kFixedTokens};
  kernel.rank += kAboveF32;
  return kernel;
}

// Runs of five-in-a-byte codes are of 320 and 256 codes, of half as many on AVX2: whole ones of
// both.
constexpr int32_t kTritRuns = 1280;

// `x_block`: the longest run of codes (linear_fixed.inl) that a vector of these codes makes.
constexpr LinearKernel fixed_vnni(std::string_view name, bool (*weights)(const Format&), double u_x,
                                  int32_t x_block) {
  return {.name = name,
          .weights = weights,
          .activations = any,
          .m = {1, kFixedTokens},
          .rank = kRankAvx512 + kAboveF32,
          .u_acc = kSingle,
          .u_x = u_x,
          .x_block = x_block,
          .zeros_apart = true,
          .products = Products::kInteger,
          .reject = needs<kIsaVnni>,
          .workspace = fixed_workspace,
          .launch = launch_fixed<prepare_fixed_vnni, linear_fixed_vnni, &kOpsAvx512>};
}
constexpr LinearKernel fixed_avx2(std::string_view name, bool (*weights)(const Format&),
                                  int32_t x_block) {
  return {.name = name,
          .weights = weights,
          .activations = any,
          .m = {1, kFixedTokens},
          .rank = kRankAvx2 + kAboveF32,
          .u_acc = kSingle,
          .u_x = 0x1.1p-20,
          .x_block = x_block,
          .zeros_apart = true,
          .products = Products::kInteger,
          .reject = needs<kIsaAvx2>,
          .workspace = fixed_workspace,
          .launch = launch_fixed<prepare_fixed_avx2, linear_fixed_avx2, &kOpsAvx2>};
}

// Products are exact in a run of codes, runs are added in f32.
constexpr LinearKernel int8_codes(std::string_view name, int rank,
                                  std::string (*reject)(const LinearSpec&, const DeviceInfo&),
                                  void (*launch)(const LinearArgs&, Stream)) {
  return {.name = name,
          .weights = fixed_bytes_or_nibbles,
          .activations = int8_tokens,
          .m = {1, kFixedTokens},
          .rank = rank + kAboveF32 + 1,
          .u_acc = kSingle,
          .zeros_apart = true,
          .products = Products::kInteger,
          .reject = reject,
          .workspace = fixed_workspace,
          .launch = launch};
}

constexpr LinearKernel kKernels[] = {
    int8_codes("cpu.linear.codes.int8.vnni", kRankAvx512, needs<kIsaVnni>,
               launch_codes<prepare_codes_vnni, linear_int8_codes_vnni>),
    int8_codes("cpu.linear.codes.int8.avx2", kRankAvx2, needs<kIsaAvx2>,
               launch_codes<prepare_codes_avx2, linear_int8_codes_avx2>),
    fixed_vnni("cpu.linear.int8.vnni", fixed_bits<8>, 0x1.1p-22, 64),
    fixed_vnni("cpu.linear.nibbles.vnni", fixed_bits<4>, 0x1.1p-15, 128),
    fixed_vnni("cpu.linear.narrow.vnni", fixed_narrow_vnni, 0x1.1p-15, 512),
    fixed_vnni("cpu.linear.trits.vnni", fixed_trits, 0x1.1p-15, kTritRuns),
    avx512<linear_f32_avx512>("cpu.linear.f32.avx512", has_code<Code::kF32>),
    avx512<linear_f16_avx512>("cpu.linear.f16.avx512", has_code<Code::kF16>),
    avx512<linear_bf16_avx512>("cpu.linear.bf16.avx512", has_code<Code::kBF16>),
    of_few_tokens(avx512<linear_sparse_avx512>("cpu.linear.sparse.avx512", sparse)),
    avx512<linear_codes_avx512>("cpu.linear.codes.avx512", scaled),
    fixed_avx2("cpu.linear.int8.fixed.avx2", fixed_bits<8>, 32),
    fixed_avx2("cpu.linear.nibbles.fixed.avx2", fixed_bits<4>, 64),
    fixed_avx2("cpu.linear.narrow.fixed.avx2", fixed_narrow_avx2, 256),
    fixed_avx2("cpu.linear.trits.fixed.avx2", fixed_trits, kTritRuns),
    avx2<linear_f32_avx2>("cpu.linear.f32.avx2", has_code<Code::kF32>),
    avx2<linear_f16_avx2>("cpu.linear.f16.avx2", has_code<Code::kF16>),
    avx2<linear_bf16_avx2>("cpu.linear.bf16.avx2", has_code<Code::kBF16>),
    of_few_tokens(avx2<linear_sparse_avx2>("cpu.linear.sparse.avx2", sparse)),
    avx2<linear_codes_avx2>("cpu.linear.codes.avx2", scaled),
    {.name = "cpu.linear.any.baseline",
     .weights = any,
     .activations = any,
     .rank = kRankBaseline,
     .u_acc = kSingle,
     .tables = true,
     .generic = true,
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
  return {.name = "cpu",
          .info = info,
          .allocate = host_allocate,
          .upload = host_upload,
          .copy_in = host_copy,
          .copy_out = host_copy,
          .synchronize = host_synchronize,
          .op = op_table(active_isa()),
          .step_tokens = kHostStepTokens,
          .activation = FormatId::kF32,
          .linear_kernels = kKernels,
          .packers = {},
          .graph = nullptr};
}

}  // namespace

const Backend& cpu_backend() {
  static const Backend backend = make_backend();
  return backend;
}

}  // namespace lowbit
