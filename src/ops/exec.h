// Everything a forward pass may touch, and the one function through which every op runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/check.h"
#include "ops/backend.h"

namespace lowbit {

// Which op this is: "layer.3.attn_norm", or the bare name outside the layers (layer = -1).
struct OpTag {
  const char* name;
  int layer = -1;
  std::string text() const {
    return layer < 0 ? std::string(name) : "layer." + std::to_string(layer) + "." + name;
  }
};

// A buffer that an op writes: what taps dump and lockstep compares.
struct OutBuffer {
  void* data;
  int64_t rows, cols, ld;  // elements
  FormatId format;
};

// What one call moves and computes, from its arguments alone (ops/cost.cc).
struct OpCost {
  double bytes_read = 0, bytes_written = 0, flops = 0;
  std::vector<OutBuffer> outputs = {};
};

OpCost cost(const LinearArgs&);
OpCost cost(const EmbedArgs&);
OpCost cost(const RmsNormArgs&);
OpCost cost(const RotaryTableArgs&);
OpCost cost(const RopeAppendArgs&);
OpCost cost(const AttentionArgs&);
OpCost cost(const SiluMulArgs&);
OpCost cost(const GatherRowsArgs&);
OpCost cost(const SampleArgs&);

// Sees every op when attached; timed runs have none.
class Trace {
 public:
  virtual ~Trace() = default;
  virtual void begin(const OpTag& tag) = 0;
  // `kernel`: the registry name of a Linear's kernel, or the op's name.
  virtual void end(const OpTag& tag, std::string_view kernel, const OpCost& cost) = 0;
};

// Memory for one step's intermediates: taken in order, all given back by reset().
class Scratch {
 public:
  Scratch() = default;
  explicit Scratch(DeviceBytes memory) : memory_(std::move(memory)) {}

  template <class T>
  T* take(int64_t count) {
    const size_t bytes = (static_cast<size_t>(count) * sizeof(T) + kAlign - 1) / kAlign * kAlign;
    LB_CHECK(used_ + bytes <= memory_.size, "{} + {} of {} bytes", used_, bytes, memory_.size);
    T* at = reinterpret_cast<T*>(static_cast<std::byte*>(memory_.data) + used_);
    used_ += bytes;
    return at;
  }
  void reset() { used_ = 0; }
  size_t capacity() const { return memory_.size; }
  static constexpr size_t kAlign = 64;

 private:
  DeviceBytes memory_;
  size_t used_ = 0;
};

struct Exec {
  const Backend& backend;
  Scratch& scratch;
  Stream stream = nullptr;
  Trace* trace = nullptr;
};

template <class Args>
void run(Exec& x, const OpTag& tag, std::string_view kernel, void (*op)(const Args&, Stream),
         const Args& args) {
  if (!x.trace) return op(args, x.stream);
  x.trace->begin(tag);
  op(args, x.stream);
  x.trace->end(tag, kernel, cost(args));
}

}  // namespace lowbit
