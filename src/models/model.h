// The one virtual interface between the engine and a model family.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "models/weights.h"
#include "ops/exec.h"

namespace lowbit {

// One kind of state that a sequence carries from step to step.
struct StateSpec {
  std::string name;
  Format format;  // of one row: a head of a token
  int32_t layers, heads,
      width;  // per token (or per sequence): layers x heads x width, twice for k|v
  bool grows_with_tokens;
};

// What forward() reads and writes besides the batch: one cache view per layer.
struct StateView {
  std::span<const KvView> kv;
};

// Device pointers: no kernel reads a host value that a step may change, so a captured step can be
// replayed.
struct StepBatch {
  int32_t n_seq;             // different ones among the tokens
  int32_t n_tok, n_logits;   // tokens and logit rows differ: a long prefill asks for one row
  int64_t context;           // positions that the tokens attend to, together: for traces
  const int32_t* tokens;     // [n_tok]
  const int32_t* pos;        // [n_tok] position in its sequence
  const int32_t* slot;       // [n_tok] sequence; tokens of one sequence in order of position
  const int32_t* logit_row;  // [n_logits] indices into the tokens, ascending

  bool decode() const { return n_tok == n_seq; }  // one token of each sequence
};

class Model {
 public:
  virtual ~Model() = default;

  virtual int32_t vocab_size() const = 0;
  virtual int32_t max_context() const = 0;  // longest sequence the model was made for
  virtual std::vector<StateSpec> state() const = 0;

  // Which captured graph serves these positions of the step's tokens, beside n_seq, n_tok and
  // n_logits.
  virtual uint32_t variant(std::span<const int32_t> pos) const = 0;

  // Bytes of Exec::scratch that a step of this size takes.
  virtual size_t scratch_bytes(int32_t n_tok, int32_t n_logits) const = 0;

  // Allocates nothing, synchronises nothing, reads no host value that differs between two steps of
  // equal variant() and sizes. logits: device, [n_logits, vocab].
  virtual void forward(Exec& x, const StepBatch& batch, const StateView& state,
                       float* logits) const = 0;

  // Every Linear with its plan, in the order of execution; for inspect, reports and byte counts.
  virtual std::vector<const Linear*> linears() const = 0;
  virtual const MemoryUse& memory() const = 0;
  virtual int64_t parameters() const = 0;  // distinct weights: a tied head counts once
  // Every tensor of the file in the order of loading, and what became of it.
  virtual const std::vector<TensorUse>& tensors() const = 0;
};

// Reads config.json's architecture and loads that family. Error lists the known ones. Error, before
// any weight is read, if a layer's format cannot take its shape (all such layers by name and
// reason, unless policy.allow_skip) or a rule of the policy matches no layer.
std::unique_ptr<Model> load_model(const Checkpoint& checkpoint, const Backend& backend,
                                  const LoadOptions& options);

}  // namespace lowbit
