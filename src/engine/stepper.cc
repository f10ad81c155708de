#include "engine/stepper.h"

#include <algorithm>
#include <limits>
#include <set>

#include "base/check.h"

namespace lowbit {
namespace {

// Logits of a long prefill are asked for in slices of at most this many bytes.
constexpr int64_t kLogitBytes = 64 << 20;

// Longest prompt step that is captured; those of decode always are.
constexpr int32_t kMaxCapturedTokens = 32;

size_t largest_workspace(const Model& model) {
  size_t bytes = 0;
  for (const Linear* linear : model.linears()) {
    for (const LinearPlan* plan : linear->plans()) bytes = std::max(bytes, plan->workspace);
  }
  return bytes;
}

int32_t logit_rows(const Model& model, int32_t max_step_tokens) {
  const int64_t row_size = int64_t{model.vocab_size()} * static_cast<int64_t>(sizeof(float));
  return static_cast<int32_t>(std::clamp<int64_t>(kLogitBytes / row_size, 1, max_step_tokens));
}

int64_t attended(std::span<const int32_t> pos) {
  int64_t sum = 0;
  for (const int32_t p : pos) sum += p + 1;
  return sum;
}

// Whether a prompt's tokens read other activations than those of a decode step.
bool prompts_differ(const Model& model) {
  const auto linears = model.linears();
  return std::any_of(linears.begin(), linears.end(), [](const Linear* linear) {
    return linear->input.prefill != linear->input.decode;
  });
}

int32_t step_tokens(const Model& model, const StepperOptions& options, int32_t context) {
  const int32_t planned = planned_tokens(model);
  if (options.max_step_tokens > 0) return std::min(options.max_step_tokens, planned);
  const int64_t most = int64_t{options.max_sequences} * context;
  return static_cast<int32_t>(std::min<int64_t>(planned, most));
}

// Checked before anything of that size is allocated.
int32_t checked_context(const Model& model, int32_t context) {
  if (context < 0 || context > model.max_context()) {
    throw_error("context of {} tokens: must be 1 to {} (max_position_embeddings of the model)",
                context, model.max_context());
  }
  return context == 0 ? model.max_context() : context;
}

}  // namespace

int32_t planned_tokens(const Model& model) {
  constexpr int32_t kWithoutPlans = 512, kMost = std::numeric_limits<int32_t>::max();
  int32_t tokens = kMost;
  for (const Linear* linear : model.linears()) {
    for (const LinearPlan* plan : linear->plans()) {
      if (!plan->buckets.empty()) tokens = std::min(tokens, plan->buckets.back().m_hi);
    }
  }
  return tokens == kMost ? kWithoutPlans : tokens;
}

Stepper::Stepper(const Model& model, const Backend& backend, const StepperOptions& options)
    : model_(model),
      backend_(backend),
      plan_(options.plan),
      prompts_differ_(prompts_differ(model)),
      stream_(stream_of(backend)),
      max_context_(checked_context(model, options.max_context)),
      max_step_tokens_(step_tokens(model, options, max_context_)),
      max_logit_rows_(std::max(options.max_sequences, logit_rows(model, max_step_tokens_))),
      state_(backend, model.state(), options.max_sequences, max_context_, options.memory_trace),
      scratch_bytes_(model.scratch_bytes(max_step_tokens_, max_logit_rows_)),
      scratch_(allocate(backend, scratch_bytes_,
                        {options.memory_trace, MemoryPart::kTemporary, "intermediates"})),
      workspace_(allocate(backend, largest_workspace(model),
                          {options.memory_trace, MemoryPart::kWorkspace, "kernels"})),
      batch_(allocate(backend, (3 * size_t(max_step_tokens_) + max_logit_rows_) * sizeof(int32_t),
                      {options.memory_trace, MemoryPart::kWorkspace, "tokens of a step"})),
      logits_(allocate(backend, size_t(max_logit_rows_) * model.vocab_size() * sizeof(float),
                       {options.memory_trace, MemoryPart::kWorkspace, "logits"})),
      sampling_(allocate(backend,
                         sizeof(SampleParams) + 2 * sizeof(int32_t) +
                             (size_t(model.vocab_size()) + 31) / 32 * sizeof(uint32_t),
                         {options.memory_trace, MemoryPart::kWorkspace, "sampling"})),
      fed_(allocate(backend,
                    size_t(options.max_sequences) * (sizeof(SampleParams) + 5 * sizeof(int32_t)),
                    {options.memory_trace, MemoryPart::kWorkspace, "decoding"})),
      drawn_(backend, options.max_sequences),
      graphs_(options.plan == StepPlan::kGraph ? backend.graph : nullptr, backend),
      blocking_(launch_blocking(backend)),
      trace_(blocking_.get()) {
  LB_CHECK(plan_ == StepPlan::kEager || backend.graph, "{} captures nothing", backend.name);
}

void Stepper::check(std::span<const Chunk> chunks) const {
  int64_t tokens = 0, rows = 0;
  for (const Chunk& chunk : chunks) {
    tokens += static_cast<int64_t>(chunk.tokens.size());
    rows += chunk.logits;
    for (const int32_t token : chunk.tokens) {
      if (token < 0 || token >= model_.vocab_size()) {
        throw_error("token id {} is outside the vocabulary of {}", token, model_.vocab_size());
      }
    }
  }
  LB_CHECK(tokens <= max_step_tokens_ && rows <= max_logit_rows_, "{} tokens, {} rows", tokens,
           rows);
}

template <class Body>
void Stepper::run_step(const GraphKey& key, bool captured, const Body& body) {
  Exec x{backend_, scratch_, workspace_.data, stream_, trace_};
  if (trace_ || !captured) return body(x);
  graphs_.run(key, stream_, [&] { body(x); });
}

std::vector<std::span<const Chunk>> Stepper::passes(std::span<const Chunk> chunks) const {
  std::set<int32_t> sequences;
  for (const Chunk& chunk : chunks) sequences.insert(chunk.sequence);
  if (!prompts_differ_ || sequences.size() < chunks.size()) return {chunks};
  std::vector<std::span<const Chunk>> passes;
  for (size_t begin = 0, end = 0; begin < chunks.size(); begin = end) {
    const bool decode = chunks[begin].tokens.size() == 1;
    while (end < chunks.size() && (chunks[end].tokens.size() == 1) == decode) ++end;
    passes.push_back(chunks.subspan(begin, end - begin));
  }
  return passes;
}

void Stepper::step(std::span<const Chunk> chunks) {
  check(chunks);
  end_decode();
  std::vector<int32_t> tokens, pos, slot, rows;
  std::vector<StepBatch> batches;
  last_pos_.clear();
  const auto parts = passes(chunks);
  for (const std::span<const Chunk> part : parts) {
    const size_t first = tokens.size(), first_row = rows.size();
    std::set<int32_t> sequences;
    for (const Chunk& chunk : part) {
      int32_t at = state_.length(chunk.sequence);
      state_.reserve(chunk.sequence, at + static_cast<int32_t>(chunk.tokens.size()));
      if (!chunk.tokens.empty()) sequences.insert(chunk.sequence);
      for (size_t i = 0; i < chunk.tokens.size(); ++i, ++at) {
        if (i + static_cast<size_t>(chunk.logits) >= chunk.tokens.size()) {
          rows.push_back(static_cast<int32_t>(tokens.size() - first));
          last_pos_.push_back(at + 1);
        }
        tokens.push_back(chunk.tokens[i]);
        pos.push_back(at);
        slot.push_back(chunk.sequence);
      }
    }
    batches.push_back({.n_seq = static_cast<int32_t>(sequences.size()),
                       .n_tok = static_cast<int32_t>(tokens.size() - first),
                       .n_logits = static_cast<int32_t>(rows.size() - first_row),
                       .context = attended(std::span(pos).subspan(first)),
                       .tokens = nullptr,  // once all of them are on the device
                       .pos = nullptr,
                       .slot = nullptr,
                       .logit_row = nullptr});
  }
  host_batch_.clear();
  for (const auto* part : {&tokens, &pos, &slot, &rows}) {
    host_batch_.insert(host_batch_.end(), part->begin(), part->end());
  }
  const size_t n = tokens.size();
  auto* device = static_cast<int32_t*>(batch_.data);
  backend_.copy_in(device, host_batch_.data(), host_batch_.size() * sizeof(int32_t), stream_);
  n_logits_ = static_cast<int32_t>(rows.size());
  size_t first = 0, first_row = 0;
  for (StepBatch& batch : batches) {
    batch.tokens = device + first;
    batch.pos = device + n + first;
    batch.slot = device + 2 * n + first;
    batch.logit_row = device + 3 * n + first_row;
    const auto of_batch = std::span(pos).subspan(first, static_cast<size_t>(batch.n_tok));
    float* logits = static_cast<float*>(logits_.data) + int64_t(first_row) * model_.vocab_size();
    // A captured step reads its batch from the beginning.
    run_step({model_.variant(of_batch), batch.n_seq, batch.n_tok, batch.n_logits, false},
             batches.size() == 1 && batch.n_tok <= kMaxCapturedTokens,
             [&](Exec& x) { model_.forward(x, batch, state_.view(), logits); });
    first += static_cast<size_t>(batch.n_tok);
    first_row += static_cast<size_t>(batch.n_logits);
  }
}

void Stepper::prefill(int32_t sequence, std::span<const int32_t> tokens) {
  while (!tokens.empty()) {
    const size_t count = std::min(tokens.size(), static_cast<size_t>(max_step_tokens_));
    const Chunk chunk{sequence, tokens.first(count), count == tokens.size() ? 1 : 0};
    step(std::span(&chunk, 1));
    tokens = tokens.subspan(count);
  }
}

Stepper::Fed Stepper::fed() const {
  const int32_t n = drawn_.rows();
  auto* params = static_cast<SampleParams*>(fed_.data);
  auto* tokens = reinterpret_cast<int32_t*>(params + n);
  return {params, tokens, tokens + n, tokens + 2 * n, tokens + 3 * n, tokens + 4 * n};
}

void Stepper::draw(Exec& x) {
  const int32_t n = drawn_.rows();
  const Fed f = fed();
  const SampleArgs sample{.rows = n,
                          .vocab = model_.vocab_size(),
                          .logits = static_cast<const float*>(logits_.data),
                          .mask = nullptr,
                          .params = f.params,
                          .pos = f.next,
                          .out = f.tokens};
  run(x, {"sample"}, "sample", backend_.op.sample, sample);
  run(x, {"advance"}, "advance", backend_.op.advance,
      {n, DrawnTokens::kKept, f.tokens, f.pos, f.next, drawn_.memory()});
}

void Stepper::start_decode(std::span<const int32_t> sequences,
                           std::span<const SampleParams> params) {
  const size_t n = sequences.size();
  LB_CHECK(n == params.size() && n == last_pos_.size() && int64_t(n) <= max_step_tokens_,
           "{} sequences, {} logit rows", n, last_pos_.size());
  std::vector<int32_t> numbers(n);      // tokens, which the draw writes
  numbers.insert(numbers.end(), n, 0);  // pos, which follows it
  numbers.insert(numbers.end(), last_pos_.begin(), last_pos_.end());
  numbers.insert(numbers.end(), sequences.begin(), sequences.end());
  for (size_t i = 0; i < n; ++i) {
    LB_CHECK(state_.length(sequences[i]) == last_pos_[i], "row {} ends no sequence", i);
    numbers.push_back(static_cast<int32_t>(i));
  }
  decoded_.assign(sequences.begin(), sequences.end());
  drawn_.start(last_pos_);
  const Fed f = fed();
  backend_.copy_in(f.params, params.data(), params.size_bytes(), stream_);
  backend_.copy_in(f.tokens, numbers.data(), numbers.size() * sizeof(int32_t), stream_);
  Exec x{backend_, scratch_, workspace_.data, stream_, trace_};
  draw(x);
  drawn_.enqueued(stream_);
}

void Stepper::decode() {
  const int32_t n = drawn_.rows();
  LB_CHECK(n > 0 && drawn_.has_room(), "{} sequences", n);
  for (size_t i = 0; i < decoded_.size(); ++i) {
    state_.reserve(decoded_[i], last_pos_[i] + 1);
  }
  const Fed f = fed();
  const StepBatch batch{.n_seq = n,
                        .n_tok = n,
                        .n_logits = n,
                        .context = attended(last_pos_),
                        .tokens = f.tokens,
                        .pos = f.pos,
                        .slot = f.slot,
                        .logit_row = f.logit_row};
  run_step({model_.variant(last_pos_), n, n, n, true}, true, [&](Exec& x) {
    model_.forward(x, batch, state_.view(), static_cast<float*>(logits_.data));
    draw(x);
  });
  drawn_.enqueued(stream_);
  n_logits_ = n;
  for (int32_t& pos : last_pos_) ++pos;
}

void Stepper::truncate(int32_t sequence, int32_t length) {
  end_decode();
  state_.truncate(sequence, length);
}

int32_t Stepper::sample(int32_t row, const SampleParams& params, const uint32_t* mask) {
  LB_CHECK(0 <= row && row < n_logits_, "row {} of {}", row, n_logits_);
  auto* device_params = static_cast<SampleParams*>(sampling_.data);
  auto* device_pos = reinterpret_cast<int32_t*>(device_params + 1);
  auto* device_mask = reinterpret_cast<uint32_t*>(device_pos + 2);
  backend_.copy_in(device_params, &params, sizeof params, stream_);
  backend_.copy_in(device_pos, &last_pos_[row], sizeof(int32_t), stream_);
  if (mask) {
    const size_t words = (static_cast<size_t>(model_.vocab_size()) + 31) / 32;
    backend_.copy_in(device_mask, mask, words * sizeof(uint32_t), stream_);
  }
  const SampleArgs args{
      .rows = 1,
      .vocab = model_.vocab_size(),
      .logits = static_cast<const float*>(logits_.data) + int64_t{row} * model_.vocab_size(),
      .mask = mask ? device_mask : nullptr,
      .params = device_params,
      .pos = device_pos,
      .out = device_pos + 1};
  Exec exec{backend_, scratch_, workspace_.data, stream_, trace_};
  run(exec, {"sample"}, "sample", backend_.op.sample, args);
  int32_t token = -1;
  backend_.copy_out(&token, args.out, sizeof token, stream_);
  if (token < 0) throw_error("the logit mask allows no token");
  return token;
}

std::span<const float> Stepper::logits() {
  host_logits_.resize(static_cast<size_t>(n_logits_) * model_.vocab_size());
  backend_.copy_out(host_logits_.data(), logits_.data, host_logits_.size() * sizeof(float),
                    stream_);
  return host_logits_;
}

}  // namespace lowbit
