// Everything a forward pass may touch, and the one function through which every op runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/check.h"
#include "formats/format.h"
#include "ops/backend.h"

namespace lowbit {

// Which op this is: "layers.3.attn_norm", or the bare name outside the layers (layer = -1).
struct OpTag {
  const char* name;
  int layer = -1;
  std::string text() const {
    return layer < 0 ? std::string(name) : "layers." + std::to_string(layer) + "." + name;
  }
};

// A matrix that an op writes: what taps dump and lockstep compares; or one that it reads.
struct OutBuffer {
  Act values;
  int64_t rows, cols;
};

// What one call moves and computes, from its arguments alone (ops/cost.cc).
struct OpCost {
  double bytes_read = 0, bytes_written = 0, flops = 0;
  std::vector<OutBuffer> outputs = {};
  std::vector<OutBuffer> inputs = {};  // of a Linear: its x
};

OpCost cost(const LinearArgs&);
OpCost cost(const EmbedArgs&);
OpCost cost(const QuantizeArgs&);
OpCost cost(const RmsNormArgs&);
OpCost cost(const RotaryTableArgs&);
OpCost cost(const RopeAppendArgs&);
OpCost cost(const AttentionArgs&);
OpCost cost(const SiluMulArgs&);
OpCost cost(const GatherRowsArgs&);
OpCost cost(const SampleArgs&);
OpCost cost(const AdvanceArgs&);
OpCost cost(const RopeAttentionArgs&);

// Sees every op when attached; timed runs have none.
class Trace {
 public:
  virtual ~Trace() = default;
  virtual void begin(const OpTag& tag) = 0;
  // The op's call has returned; its cost is counted after this.
  virtual void ran() {}
  // `kernel`: the registry name of a Linear's kernel, or the op's name.
  virtual void end(const OpTag& tag, std::string_view kernel, const OpCost& cost) = 0;
};

// Memory for one step's intermediates: taken in order, all given back by reset().
class Scratch {
 public:
  Scratch() = default;
  explicit Scratch(DeviceBytes memory) : memory_(std::move(memory)) {}
  // Counts what is taken and gives out null: how a model finds the size it needs.
  static Scratch measuring() {
    Scratch scratch;
    scratch.measuring_ = true;
    return scratch;
  }

  std::byte* take_bytes(size_t size) {
    const size_t at = used_;
    used_ += (size + kAlign - 1) / kAlign * kAlign;
    if (measuring_) return nullptr;
    LB_CHECK(used_ <= memory_.size, "{} + {} of {} bytes", at, size, memory_.size);
    return static_cast<std::byte*>(memory_.data) + at;
  }
  template <class T>
  T* take(int64_t count) {
    return reinterpret_cast<T*>(take_bytes(static_cast<size_t>(count) * sizeof(T)));
  }
  void reset() { used_ = 0; }
  size_t used() const { return used_; }

 private:
  static constexpr size_t kAlign = 64;
  DeviceBytes memory_;
  bool measuring_ = false;
  size_t used_ = 0;
};

// Memory for an activation [rows, k].
Act take_act(Scratch& scratch, const Format& format, int64_t rows, int64_t k);

struct Exec {
  const Backend& backend;
  Scratch& scratch;
  void* workspace = nullptr;  // the largest that any plan of the model asked for
  Stream stream = nullptr;
  Trace* trace = nullptr;
};

template <class Args>
void run(Exec& x, const OpTag& tag, std::string_view kernel, void (*op)(const Args&, Stream),
         const Args& args) {
  if (!x.trace) return op(args, x.stream);
  x.trace->begin(tag);
  op(args, x.stream);
  x.trace->ran();
  x.trace->end(tag, kernel, cost(args));
}

}  // namespace lowbit
