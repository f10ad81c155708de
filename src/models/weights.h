// From canonical tensors to weights that a device can multiply: read, quantize, stack, plan, pack,
// upload; one tensor at a time, so that peak memory is the weights plus one tensor.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "load/checkpoint.h"
#include "ops/exec.h"
#include "quantize/quantizer.h"

namespace lowbit {

struct LoadOptions {
  std::optional<FormatPair> format;  // of every Linear, head included; nullopt: as stored
  const Quantizer* quantizer = &quantizers()[0];  // rtn
  Format kv_format = format_of(FormatId::kBF16);
  int32_t max_step_tokens = 512;
  // Reads no weights: plans, memory use and state are as they would be, forward() must not be
  // called.
  bool plan_only = false;
  // Called after each tensor with bytes done and in total; may be null.
  void (*progress)(void* context, int64_t done, int64_t total) = nullptr;
  void* progress_context = nullptr;
};

// One weight matrix on the device and the kernels that will multiply it.
struct Linear {
  std::string name;                   // "layers.3.qkv"
  Format format{};                    // what the user asked for, or what the file holds
  Format resident{};                  // what is in memory: bf16 where no kernel reads `format`
  std::optional<Format> activations;  // what the user asked its input to be rounded to
  int64_t n = 0, k = 0;
  LinearPlan plan;
  WeightView view{};
  DeviceBytes codes, scales, zeros, meta, outer, bias;

  size_t bytes() const {
    return codes.size + scales.size + zeros.size + meta.size + outer.size + bias.size;
  }
};

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
  WeightLoader(const Checkpoint& checkpoint, const Backend& backend, const LoadOptions& options)
      : checkpoint_(checkpoint),
        backend_(backend),
        device_(backend.info()),
        quantizer_(*options.quantizer),
        format_(options.format),
        m_max_(options.max_step_tokens),
        plan_only_(options.plan_only) {}

  // The parts stacked along n as one weight of [sum n, k].
  Linear linear(const std::string& name, std::span<const LinearPart> parts, int64_t k);
  // A vector of k numbers as f32.
  DeviceBytes vector(const std::string& tensor, int64_t k);
  // A table [n, k] in canonical order, unquantized formats as stored.
  DeviceBytes table(const std::string& tensor, int64_t n, int64_t k, WeightView* view);
  DeviceBytes upload_floats(std::span<const float> values);

  Format activations() const;
  // Names of the file's tensors that were never asked for.
  std::vector<std::string> unused() const;
  const MemoryUse& memory() const { return memory_; }
  int64_t parameters() const { return parameters_; }

 private:
  QTensor read(const std::string& tensor, int64_t n, int64_t k);
  void read_floats(const std::string& tensor, std::span<float> values);
  QTensor quantize(const QTensor& source, const Format& target, const std::string& tensor) const;
  QTensor stack(std::span<const QTensor> parts) const;
  void plan(Linear* linear, const Format& format, bool has_bias) const;
  void pack(Linear* linear, const QTensor& canonical) const;

  const Checkpoint& checkpoint_;
  const Backend& backend_;
  DeviceInfo device_;
  const Quantizer& quantizer_;
  std::optional<FormatPair> format_;
  int32_t m_max_;
  bool plan_only_;  // tensors are outlines: planes without numbers, sizes counted all the same
  std::vector<std::string> used_;
  MemoryUse memory_;
  int64_t parameters_ = 0;
};

// Where a Linear writes: y = v, or y += v.
struct LinearOut {
  float* y;  // [m, n], dense
  Epilogue epilogue = Epilogue::kStore;
};

// y (+)= x W^T (+ bias) by the kernel that the plan picks for m rows.
void linear(Exec& x, const OpTag& tag, const Linear& w, const Act& in, int32_t m, LinearOut out);

}  // namespace lowbit
