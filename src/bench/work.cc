#include "bench/work.h"

#include <algorithm>

#include "engine/stepper.h"
#include "models/llama_config.h"

namespace lowbit {
namespace {

constexpr std::string_view kHead = "head";

void add_linear(const Linear& linear, int32_t m, bool decode, Work* work) {
  for (const Linear& piece : linear.pieces) add_linear(piece, m, decode, work);
  if (!linear.pieces.empty() || m == 0) return;
  const double flops = 2.0 * m * static_cast<double>(linear.n) * static_cast<double>(linear.k);
  const bool own = decode && !(linear.input.decode == linear.input.prefill);
  const LinearPlan& plan = own ? linear.decode_plan : linear.plan;
  work->flops(plan.pick(m).products) += flops;
}

}  // namespace

WorkCounter::WorkCounter(const LoadedModel& loaded) : model_(*loaded.model) {
  const LlamaConfig config = read_llama_config(loaded.checkpoint->config());
  attention_flops_ = 4.0 * config.layers * config.heads * config.head_dim;
  for (const StateSpec& spec : model_.state()) {
    state_bytes_ += static_cast<double>(bytes_per_token(spec));
  }
  for (const Linear* linear : model_.linears()) {
    if (linear->name == kHead) head_bytes_ += static_cast<double>(linear->bytes());
  }
}

void WorkCounter::add_linears(int32_t tokens, int32_t rows, bool decode, Work* work) const {
  for (const Linear* linear : model_.linears()) {
    add_linear(*linear, linear->name == kHead ? rows : tokens, decode, work);
  }
  work->bytes += static_cast<double>(model_.memory().per_step) - (rows == 0 ? head_bytes_ : 0);
}

Work WorkCounter::decode(int32_t batch, double context) const {
  Work work;
  add_linears(batch, batch, /*decode=*/true, &work);
  work.bytes += batch * context * state_bytes_;
  work.float_flops += batch * context * attention_flops_;
  return work;
}

Work WorkCounter::prefill(int32_t tokens, int32_t rows) const {
  const int32_t most = planned_tokens(model_);
  Work work;
  for (int32_t done = 0; done < tokens;) {
    const double before = work.bytes;
    const int32_t count = std::min(most, tokens - done);
    add_linears(count, done + count == tokens ? rows : 0, /*decode=*/false, &work);
    // Token i of the step attends to done + i + 1 positions.
    work.float_flops += count * (done + (count + 1) / 2.0) * attention_flops_;
    done += count;
    work.bytes += done * state_bytes_;
    work.step_bytes = std::max(work.step_bytes, work.bytes - before);
  }
  return work;
}

Work WorkCounter::prefill_all(int32_t batch, int32_t tokens) const {
  if (batch == 1) return prefill(tokens);
  Work work = decode(batch, tokens);  // their last tokens
  const Work each = prefill(tokens - 1, 0);
  work.step_bytes = std::max(work.bytes, each.step_bytes);
  work.bytes += batch * each.bytes;
  for (const Products products : {Products::kFloat, Products::kInteger, Products::kFloat8}) {
    work.flops(products) += batch * each.flops(products);
  }
  return work;
}

}  // namespace lowbit
