// A backend is a value: memory, a table of ops, a list of Linear kernels and their packers. ref,
// cpu and cuda are three such values; src/backends.cc is the only file that names them together.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "ops/args.h"
#include "ops/linear.h"

namespace lowbit {

// Every slot is filled on every backend, or the model that needs it is refused at load by name.
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
};

// Captured steps. Null on backends that run eagerly.
struct GraphApi {
  void (*begin_capture)(Stream);
  void* (*end_capture)(Stream);
  void (*launch)(void* graph, Stream);
  void (*destroy)(void* graph);
};

// Device memory and who frees it.
struct DeviceBytes {
  void* data = nullptr;
  size_t size = 0;
  std::shared_ptr<const void> owner;
};

struct Backend {
  std::string_view name;  // "ref", "cpu", "cuda": what --device takes
  DeviceInfo (*info)();
  DeviceBytes (*allocate)(size_t bytes);      // zeroed, 64-byte aligned; Error when out of memory
  DeviceBytes (*upload)(const Bytes& bytes);  // host backends keep the bytes where they are
  void (*copy_in)(void* device, const void* host, size_t bytes, Stream);
  void (*copy_out)(void* host, const void* device, size_t bytes, Stream);  // returns when done
  void (*synchronize)(Stream);
  OpTable op;
  FormatId activation;  // what Linears read unless the user asks for another activation format
  std::span<const LinearKernel> linear_kernels;
  std::span<const Packer> packers;
  const GraphApi* graph;
};

}  // namespace lowbit
