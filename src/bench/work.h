// What steps of a model must read and compute, from shapes alone: a bound that no kernel beats.
#pragma once

#include "engine/loaded_model.h"

namespace lowbit {

// Operations are two per multiply-add. Which of them a kernel does with small integers depends on
// the kernel (Products of ops/linear.h); attention is always done with floats.
struct Work {
  double bytes = 0;  // read: weights once a step, state of every position once a sequence
  double float_flops = 0, integer_flops = 0, float8_flops = 0;
  double step_bytes = 0;  // of several steps, that the one which reads most reads; 0: it is one
  // What must fit into a cache to be read from it.
  double working_set() const { return step_bytes > 0 ? step_bytes : bytes; }
  double flops() const { return float_flops + integer_flops + float8_flops; }
  double& flops(Products products) { return this->*of(products); }
  double flops(Products products) const { return this->*of(products); }

 private:
  static double Work::*of(Products products) {
    return products == Products::kInteger  ? &Work::integer_flops
           : products == Products::kFloat8 ? &Work::float8_flops
                                           : &Work::float_flops;
  }
};

class WorkCounter {
 public:
  explicit WorkCounter(const LoadedModel& loaded);

  // One decode step of `batch` sequences, each of which attends to `context` positions.
  Work decode(int32_t batch, double context) const;
  // A prompt of one sequence in as many steps as it needs, with `rows` rows of logits in the last.
  Work prefill(int32_t tokens, int32_t rows = 1) const;
  // Prompts of `batch` sequences as prefill_all() of bench/measure.h runs them.
  Work prefill_all(int32_t batch, int32_t tokens) const;

  double state_bytes_per_token() const { return state_bytes_; }  // of one sequence

 private:
  // Linears of a step with `tokens` tokens of which `rows` ask for logits.
  void add_linears(int32_t tokens, int32_t rows, bool decode, Work* work) const;

  const Model& model_;
  double state_bytes_ = 0;
  double attention_flops_ = 0;  // of one token and one position
  double head_bytes_ = 0;       // read only where logits are asked for
};

}  // namespace lowbit
