// From canonical tensors to weights that a device can multiply: read, quantize, stack, plan, pack,
// upload; one tensor at a time, so that peak memory is the weights plus one tensor (of synthetic
// weights: plus the tensors of a layer, which are quantized once for all layers and, on a device
// that can copy, kept there).
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "load/checkpoint.h"
#include "models/layer_policy.h"
#include "models/load_trace.h"
#include "ops/exec.h"
#include "ops/memory_trace.h"

namespace lowbit {

struct LoadOptions {
  LayerPolicy policy = {};             // what every layer is quantized to
  InputStatsSource* inputs = nullptr;  // what quantizers know of inputs; may be null
  Format kv_format = format_of(FormatId::kBF16);
  int32_t max_step_tokens = 0;       // that plans are made for; 0: the backend's
  StepPlan plan = StepPlan::kEager;  // kGraph: fused kernels where the backend has them
  // Reads no weights: plans, memory use and state are as they would be, forward() must not be
  // called.
  bool plan_only = false;
  // Called after each tensor with bytes done and in total; may be null.
  void (*progress)(void* context, int64_t done, int64_t total) = nullptr;
  void* progress_context = nullptr;
  // What a profile hears; null: nobody listens. With a load_trace a mapped tensor is read in full
  // when it is asked for, so that the time of reading does not count as that of its first use.
  LoadTrace* load_trace = nullptr;
  MemoryTrace* memory_trace = nullptr;

  void set_format(const FormatPair& pair) {
    policy.all.format = pair.weights;
    policy.all.activations = pair.activations;
  }
};

// The activations that a Linear reads in decode steps (StepBatch) and in all others.
struct InputFormat {
  Format prefill, decode;
  const Format& in(bool decode_step) const { return decode_step ? decode : prefill; }
  bool operator==(const InputFormat&) const = default;
};

// One weight matrix on the device and the kernels that will multiply it.
struct Linear {
  std::string name;                   // "layers.3.qkv"
  Format format{};                    // what the user asked for, or what the file holds
  Format resident{};                  // what is in memory: bf16 where no kernel reads `format`
  std::optional<Format> activations;  // what the user asked its input to be rounded to
  InputFormat input{};
  int64_t n = 0, k = 0;
  LinearPlan plan;         // of all steps, or of those that read input.prefill
  LinearPlan decode_plan;  // of those that read input.decode if that is another format
  DeviceTensor weight;
  DeviceBytes bias;
  // Where the file stores its parts in different formats, one Linear each, stacked along n; then
  // only name, input, n and k above are set.
  std::vector<Linear> pieces;

  std::vector<const LinearPlan*> plans() const {
    return input.prefill == input.decode ? std::vector{&plan} : std::vector{&plan, &decode_plan};
  }
  // Of the steps whose activations are in that format.
  const LinearPlan& plan_for(FormatId read) const {
    return read == input.prefill.id ? plan : decode_plan;
  }
  size_t bytes() const {
    size_t total = weight.bytes() + bias.size;
    for (const Linear& piece : pieces) total += piece.bytes();
    return total;
  }
};

// What the model does with a tensor of the file.
enum class TensorRole : uint8_t { kLinear, kTable, kVector };
struct TensorUse {
  std::string tensor;
  int64_t n, k;
  TensorRole role;
  std::string layer;    // kLinear: the Linear it is part of; kTable: "embedding"
  Format stored;        // in the file
  LayerChoice choice;   // what it becomes; no format for vectors
  std::string skipped;  // why it stays as stored although a format was asked for; "" otherwise
};

// What it is once it is loaded or written.
const Format& final_format(const TensorUse& use);

// Those whose format cannot take their shape: "layers.3.down (TENSOR [n, k]): reason".
std::vector<std::string> skipped_layers(const std::vector<TensorUse>& uses);

// Those that the file stores in a quantized format and that become another one, which holds what
// the first decodes to: "28 tensors: q4_0 decoded, then int8".
std::vector<std::string> decoded_layers(const std::vector<TensorUse>& uses);

struct MemoryUse {
  size_t linears = 0;    // bytes of all Linears, as resident
  size_t embedding = 0;  // the token table (not read in full by any step)
  size_t other = 0;      // norms and tables
  size_t per_step = 0;   // weight bytes that one decode step reads
  size_t total() const { return linears + embedding + other; }
};

// One part of a Linear that is stacked from several tensors of the file.
struct LinearPart {
  std::string weight;
  int64_t n;
  std::string bias;  // "" for none
};

class WeightLoader {
 public:
  // `options` must outlive the loader.
  WeightLoader(const Checkpoint& checkpoint, const Backend& backend, const LoadOptions& options)
      : checkpoint_(checkpoint), backend_(backend), options_(options), device_(backend.info()) {}

  // The parts stacked along n as one weight of [sum n, k], in pieces where their formats differ.
  Linear linear(const std::string& name, std::span<const LinearPart> parts, int64_t k) {
    return load(name, parts, k, false);
  }
  // The same of a gate and its up, paired (WeightView) where plan and kernels multiply them.
  Linear gated(const std::string& name, std::span<const LinearPart> parts, int64_t k) {
    return load(name, parts, k, true);
  }
  // A vector of k numbers on the host; ones when only planning.
  std::vector<float> floats(const std::string& tensor, int64_t k);
  // A vector of k numbers as f32.
  DeviceBytes vector(const std::string& tensor, int64_t k);
  // A table [n, k] in canonical order.
  DeviceTensor table(const std::string& tensor, int64_t n, int64_t k);
  DeviceBytes upload_floats(std::span<const float> values);

  // Names of the file's tensors that were never asked for.
  std::vector<std::string> unused() const;
  // What was asked for, in order. A tied head's tensor is there twice.
  const std::vector<TensorUse>& uses() const { return uses_; }
  const MemoryUse& memory() const { return memory_; }
  int64_t parameters() const { return parameters_; }

 private:
  // A tensor on its way, and what its memory counts as meanwhile.
  struct Loaded {
    QTensor tensor;
    HeldMemory held;
    bool on_device = false;  // its planes are (models/device_rows.h)
  };
  // A matrix whose rows others share, as it was loaded for one of them; on the device if that can
  // copy.
  struct Shared {
    QTensor tensor;
    int64_t first;  // TurnedRows
    LayerChoice choice;
    HeldMemory held;
  };
  QTensor read(const TensorUse& use);
  // Notes that the model has asked for a tensor, which the file holds in `stored`.
  void add_use(const TensorUse& use, const Format& stored);
  // The tensor in the format of its choice; notes why not where the format cannot take it.
  Loaded read_as_chosen(TensorUse use);
  // The same, whatever was loaded before; `use` has its choice.
  Loaded choose_codes(TensorUse use);
  QTensor quantize(const QTensor& source, const LayerChoice& to, const std::string& tensor) const;
  Loaded stack(const std::string& name, std::vector<Loaded> parts) const;
  // What the Linear `layer` reads. A head of its own format reads the engine's own activations.
  InputFormat input(std::string_view layer) const;
  Linear load(const std::string& name, std::span<const LinearPart> parts, int64_t k, bool gated);
  // Tensors of one format as one weight with its kernels.
  Linear finish(const std::string& name, std::vector<Loaded> parts, std::span<const float> bias,
                bool gated);
  void take_weights(std::string_view what, size_t bytes) const;
  MemoryNote note(MemoryPart part, std::string_view what) const {
    return {options_.memory_trace, part, what};
  }
  void plan(Linear* linear, const Format& format, bool has_bias) const;
  // False, and the reasons in the plan, if no kernels of one layout read weights of that format.
  bool plan_as(Linear* linear, const Format& resident, bool has_bias) const;
  // Whether gate and up may lie side by side: every step's kernel multiplies them with each other.
  bool can_pair(const Linear& w) const;
  DeviceTensor upload(const QTensor& canonical, const Packer* packer, bool paired) const;

  const Checkpoint& checkpoint_;
  const Backend& backend_;
  const LoadOptions& options_;  // plan_only: tensors are outlines, planes without numbers
  DeviceInfo device_;
  std::vector<TensorUse> uses_;
  std::map<std::string, Shared> shared_;
  // The table as the file has it: a tied head shares its memory, also where reading it meant
  // rearranging blocks.
  std::string table_name_;
  QTensor table_{};
  const void* table_codes_ = nullptr;  // on the device
  MemoryUse memory_;
  int64_t parameters_ = 0;
};

// What a Linear reads; with a norm_weight its kernel, which says fused_norm, normalises it first.
struct LinearIn {
  Act x;
  const float* norm_weight = nullptr;
  float norm_eps = 0;
  LinearIn(const Act& act, const float* weight = nullptr, float eps = 0)
      : x(act), norm_weight(weight), norm_eps(eps) {}
};

// Where a Linear writes: y = v, or y += v, or y = silu(gate) up.
struct LinearOut {
  float* y;  // [m, n], dense; kSiluMul: [m, n / 2]
  Epilogue epilogue = Epilogue::kStore;
};

// y (+)= x W^T (+ bias) by the kernel that the plan picks for m rows.
void linear(Exec& x, const OpTag& tag, const Linear& w, const LinearIn& in, int32_t m,
            LinearOut out);

// Whether the kernels for m rows normalise x themselves.
bool normalises(const Linear& w, int32_t m);

}  // namespace lowbit
