#include "ref/backend.h"

#include "ops/host_memory.h"
#include "ref/ops.h"

namespace lowbit {
namespace {

bool any_format(const Format&) { return true; }

constexpr LinearKernel kKernels[] = {
    {.name = "ref.linear.any",
     .weights = any_format,
     .activations = any_format,
     .u_acc = 0x1p-53,
     .tables = true,
     .generic = true,
     .launch = ref::linear},
};

DeviceInfo info() { return host_info(); }

constexpr Backend kRef = {.name = "ref",
                          .info = info,
                          .allocate = host_allocate,
                          .upload = host_upload,
                          .copy_in = host_copy,
                          .copy_out = host_copy,
                          .synchronize = host_synchronize,
                          .op = {.embed = ref::embed,
                                 .quantize = ref::quantize,
                                 .rmsnorm = ref::rmsnorm,
                                 .rotary_table = ref::rotary_table,
                                 .rope_append = ref::rope_append,
                                 .attention = ref::attention,
                                 .silu_mul = ref::silu_mul,
                                 .gather_rows = ref::gather_rows,
                                 .sample = ref::sample,
                                 .advance = host_advance},
                          .step_tokens = kHostStepTokens,
                          .activation = FormatId::kF32,
                          .linear_kernels = kKernels,
                          .packers = {},
                          .graph = nullptr};

}  // namespace

const Backend& ref_backend() { return kRef; }

}  // namespace lowbit
