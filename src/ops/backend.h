// A backend is a value: memory, a table of ops, a list of Linear kernels and their packers. ref,
// cpu and cuda are three such values; src/backends.cc is the only file that names them together.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "ops/args.h"
#include "ops/device_api.h"
#include "ops/linear.h"

namespace lowbit {

// Every slot is filled on every backend, or the model that needs it is refused at load by name. In
// a capture the Linears before an op may have been held back to become one launch; an op ends that,
// and with no rows does nothing else.
struct OpTable {
  void (*embed)(const EmbedArgs&, Stream);
  void (*quantize)(const QuantizeArgs&, Stream);
  void (*rmsnorm)(const RmsNormArgs&, Stream);
  void (*rotary_table)(const RotaryTableArgs&, Stream);
  void (*rope_append)(const RopeAppendArgs&, Stream);
  void (*attention)(const AttentionArgs&, Stream);
  void (*silu_mul)(const SiluMulArgs&, Stream);
  void (*gather_rows)(const GatherRowsArgs&, Stream);
  void (*sample)(const SampleArgs&, Stream);
  void (*advance)(const AdvanceArgs&, Stream);
  // Null where it is no faster than the two.
  void (*rope_attention)(const RopeAttentionArgs&, Stream) = nullptr;
};

// Device memory and who frees it.
struct DeviceBytes {
  void* data = nullptr;
  size_t size = 0;
  std::shared_ptr<const void> owner;
};

// Captured steps, and how the host follows a stream that runs ahead of it. Null on backends whose
// calls return when the work is done.
struct GraphApi {
  void (*begin_capture)(Stream);
  void* (*end_capture)(Stream);
  void (*launch)(void* graph, Stream);
  void (*destroy)(void* graph);
  // Zeroed host memory that kernels can write.
  DeviceBytes (*host_memory)(size_t bytes);
  void* (*make_event)();
  void (*record_event)(void* event, Stream);
  void (*wait_event)(void* event);  // the host waits; what kernels wrote before can be read
  void (*destroy_event)(void* event);
};

// A graph or an event, with the entry of its GraphApi that destroys it.
struct GraphDestroy {
  void (*destroy)(void*);
  void operator()(void* handle) const { destroy(handle); }
};
using GraphHandle = std::unique_ptr<void, GraphDestroy>;

// How steps run: op by op, or with fused kernels and replayed from captured graphs.
enum class StepPlan : uint8_t { kEager, kGraph };
std::string_view name(StepPlan plan);

// A quantized tensor in device memory.
struct DeviceTensor {
  WeightView view{};
  std::array<DeviceBytes, kPlanes.size()> planes{};

  size_t bytes() const {
    size_t total = 0;
    for (const DeviceBytes& plane : planes) total += plane.size;
    return total;
  }
};

// A layout is always packed from the canonical planes, and its codes can be turned back.
struct Packer {
  LayoutId layout;
  bool (*accepts)(const Format&);
  size_t (*bytes)(const Format&, int64_t n, int64_t k);
  // `paired`: as WeightView says; for layouts of kernels with fused_silu.
  DeviceTensor (*pack)(const QTensor& canonical, bool paired);
  // The canonical plane of codes, in host memory.
  Bytes (*unpack)(const DeviceTensor& packed, const Format& format, int64_t n, int64_t k);
};

struct Backend {
  std::string_view name;  // "ref", "cpu", "cuda": what --device takes
  DeviceInfo (*info)();
  DeviceBytes (*allocate)(size_t bytes);      // zeroed, 64-byte aligned; Error when out of memory
  DeviceBytes (*upload)(const Bytes& bytes);  // host backends keep the bytes where they are
  // The host's bytes have been read when it returns; they are in place for what follows them.
  void (*copy_in)(void* device, const void* host, size_t bytes, Stream);
  void (*copy_out)(void* host, const void* device, size_t bytes, Stream);  // returns when done
  void (*synchronize)(Stream);
  // From the device's memory to the device's memory, in order with what takes no stream. Null on
  // backends whose tensors the host reads.
  void (*copy)(void* to, const void* from, size_t bytes) = nullptr;
  OpTable op;
  int32_t step_tokens;  // into steps of how many tokens a long prompt is cut, unless the user asks
  FormatId activation;  // what Linears read unless the user asks for another activation format
  std::span<const LinearKernel> linear_kernels;
  std::span<const Packer> packers;
  const GraphApi* graph;
  // Where a captured or an asynchronous step runs; null on backends that run on the host.
  Stream (*stream)() = nullptr;
  // Null on backends that run on the host, of which the system tells.
  const DeviceApi* device = nullptr;
  // Unit roundoff of the queries and weights that attention multiplies when a sequence adds so many
  // tokens. Null: that of f32.
  double (*u_attention)(int32_t tokens) = nullptr;
};

inline Stream stream_of(const Backend& backend) {
  return backend.stream ? backend.stream() : nullptr;
}

// What --plan says: eager, graph, or auto (graph where the backend has it). Error, which the caller
// puts the word before: another word, or graph where there is none.
StepPlan parse_plan(std::string_view text, const Backend& backend);
inline constexpr const char* kPlanHelp =
    "how steps run: eager (op by op), graph (fused kernels, captured), auto (graph on cuda)";

}  // namespace lowbit
