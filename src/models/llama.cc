#include "models/llama.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "formats/codec.h"
#include "models/activation.h"
#include "ops/view.h"

namespace lowbit {
namespace {

struct Layer {
  DeviceBytes attn_norm, mlp_norm;  // [hidden] f32
  Linear qkv, o, gate_up, down;
};

// One step's intermediates.
struct Buffers {
  float *h, *cos_sin, *qkv, *gate_up, *last;
  ActivationSpace normed, attended, gated, last_normed;
};

// Of the two ops before a Linear that reads normed numbers.
struct NormTags {
  OpTag norm, in;
};

const float* floats(const DeviceBytes& bytes) { return static_cast<const float*>(bytes.data); }

void add_new(std::vector<InputFormat>* formats, const InputFormat& format) {
  if (std::find(formats->begin(), formats->end(), format) == formats->end()) {
    formats->push_back(format);
  }
}

class Llama final : public Model {
 public:
  Llama(const Checkpoint& checkpoint, const Backend& backend, const LoadOptions& options);

  int32_t vocab_size() const override { return c_.vocab; }
  int32_t max_context() const override { return c_.max_context; }
  const MemoryUse& memory() const override { return memory_; }
  int64_t parameters() const override { return parameters_; }
  const std::vector<TensorUse>& tensors() const override { return uses_; }
  std::vector<StateSpec> state() const override {
    return {{"kv", kv_format_, c_.layers, c_.kv_heads, c_.head_dim, true}};
  }
  // Every op reads positions on the device; kernels may be chosen for short contexts.
  uint32_t variant(std::span<const int32_t> pos) const override {
    return pos.size() == 1 && pos[0] < kShortContext ? 1 : 0;
  }
  size_t scratch_bytes(int32_t n_tok, int32_t n_logits) const override;
  void forward(Exec& x, const StepBatch& b, const StateView& state, float* logits) const override;
  std::vector<const Linear*> linears() const override;

 private:
  Layer load_layer(WeightLoader& loader, int32_t index) const;
  Buffers take_buffers(Scratch& scratch, int32_t n_tok, int32_t n_logits) const;

  LlamaConfig c_;
  Format kv_format_;
  bool fused_;  // ops that kernels can do along with a Linear or attention are left to them
  DeviceTensor embedding_;
  DeviceBytes final_norm_, inv_freq_;
  std::vector<Layer> layers_;
  std::vector<InputFormat> normed_, attended_, gated_;  // that any layer reads
  Linear head_;
  MemoryUse memory_;
  int64_t parameters_ = 0;
  std::vector<TensorUse> uses_;
};

Llama::Llama(const Checkpoint& checkpoint, const Backend& backend, const LoadOptions& options)
    : c_(read_llama_config(checkpoint.config())),
      kv_format_(options.kv_format),
      fused_(options.plan == StepPlan::kGraph) {
  WeightLoader loader(checkpoint, backend, options);
  embedding_ = loader.table("model.embed_tokens.weight", c_.vocab, c_.hidden);
  for (int32_t i = 0; i < c_.layers; ++i) {
    layers_.push_back(load_layer(loader, i));
    add_new(&normed_, layers_.back().qkv.input);
    add_new(&normed_, layers_.back().gate_up.input);
    add_new(&attended_, layers_.back().o.input);
    add_new(&gated_, layers_.back().down.input);
    if (options.progress) options.progress(options.progress_context, i + 1, c_.layers + 1);
  }
  final_norm_ = loader.vector("model.norm.weight", c_.hidden);
  const bool tied = c_.tied_embeddings;
  const LinearPart head{tied ? "model.embed_tokens.weight" : "lm_head.weight", c_.vocab, ""};
  head_ = loader.linear("head", std::span(&head, 1), c_.hidden);
  if (options.progress) options.progress(options.progress_context, c_.layers + 1, c_.layers + 1);

  std::vector<float> inv_freq = c_.inv_freq;
  if (checkpoint.has("rope_freqs.weight")) {
    // GGUF keeps Llama 3.1's rope scaling as divisors of the plain frequencies.
    const std::vector<float> divisors = loader.floats("rope_freqs.weight", c_.head_dim / 2);
    for (size_t i = 0; i < inv_freq.size(); ++i) {
      if (!(divisors[i] > 0)) {
        throw_error("{}: tensor rope_freqs.weight: element {} is {}, not above 0",
                    checkpoint.source(), i, divisors[i]);
      }
      inv_freq[i] /= divisors[i];
    }
  }
  inv_freq_ = loader.upload_floats(inv_freq);

  for (const std::string& name : loader.unused()) {
    if (name.ends_with("rotary_emb.inv_freq")) continue;
    if (tied && name == "lm_head.weight") continue;  // a copy of the embedding
    throw_error(
        "{}: tensor {} belongs to no layer of this architecture ({} layers); "
        "the config and the weights do not match",
        checkpoint.source(), name, c_.layers);
  }
  memory_ = loader.memory();
  // One copy serves both where the head keeps the table's numbers and the host's memory.
  const bool same_numbers = head_.resident == format_of(embedding_.view);
  const bool shared = options.plan_only
                          ? tied && same_numbers
                          : head_.weight.view.codes == embedding_.view.codes && same_numbers;
  if (shared) memory_.embedding = 0;
  parameters_ = loader.parameters();
  uses_ = loader.uses();
}

Layer Llama::load_layer(WeightLoader& loader, int32_t index) const {
  const std::string prefix = fmt::format("model.layers.{}.", index);
  const auto part = [&](const char* module, int64_t n, bool bias) -> LinearPart {
    return {prefix + module + ".weight", n, bias ? prefix + module + ".bias" : ""};
  };
  const int64_t q = int64_t{c_.heads} * c_.head_dim, kv = int64_t{c_.kv_heads} * c_.head_dim;
  const auto name = [&](const char* linear) { return fmt::format("layers.{}.{}", index, linear); };
  const auto load = [&](const char* linear, std::initializer_list<LinearPart> parts, int64_t k) {
    return loader.linear(name(linear), std::span(parts.begin(), parts.size()), k);
  };
  const bool ab = c_.attention_bias, mb = c_.mlp_bias;
  const LinearPart gate_up[] = {part("mlp.gate_proj", c_.intermediate, mb),
                                part("mlp.up_proj", c_.intermediate, mb)};
  return {.attn_norm = loader.vector(prefix + "input_layernorm.weight", c_.hidden),
          .mlp_norm = loader.vector(prefix + "post_attention_layernorm.weight", c_.hidden),
          .qkv = load("qkv",
                      {part("self_attn.q_proj", q, ab), part("self_attn.k_proj", kv, ab),
                       part("self_attn.v_proj", kv, ab)},
                      c_.hidden),
          .o = load("o", {part("self_attn.o_proj", c_.hidden, ab)}, q),
          .gate_up = loader.gated(name("gate_up"), gate_up, c_.hidden),
          .down = load("down", {part("mlp.down_proj", c_.hidden, mb)}, c_.intermediate)};
}

Buffers Llama::take_buffers(Scratch& s, int32_t n_tok, int32_t n_logits) const {
  const int64_t t = n_tok, q = int64_t{c_.heads} * c_.head_dim;
  const int64_t qkv = q + 2 * int64_t{c_.kv_heads} * c_.head_dim;
  Buffers b{};
  b.h = s.take<float>(t * c_.hidden);
  b.cos_sin = s.take<float>(t * c_.head_dim);
  b.qkv = s.take<float>(t * qkv);
  b.gate_up = s.take<float>(t * 2 * c_.intermediate);
  b.last = s.take<float>(int64_t{n_logits} * c_.hidden);
  const auto space = [&](std::span<const InputFormat> formats, int64_t rows, int64_t k) {
    size_t bytes = 0;
    for (const InputFormat& format : formats) {
      bytes = std::max({bytes, activation_bytes(format.prefill, rows, k),
                        activation_bytes(format.decode, rows, k)});
    }
    return ActivationSpace{s.take_bytes(bytes), bytes};
  };
  b.normed = space(normed_, t, c_.hidden);
  b.attended = space(attended_, t, q);
  b.gated = space(gated_, t, c_.intermediate);
  b.last_normed = space({&head_.input, 1}, n_logits, c_.hidden);
  return b;
}

size_t Llama::scratch_bytes(int32_t n_tok, int32_t n_logits) const {
  Scratch measure = Scratch::measuring();
  take_buffers(measure, n_tok, n_logits);
  return measure.used();
}

void Llama::forward(Exec& x, const StepBatch& b, const StateView& state, float* logits) const {
  const OpTable& op = x.backend.op;
  x.scratch.reset();
  const Buffers s = take_buffers(x.scratch, b.n_tok, b.n_logits);
  const int32_t t = b.n_tok, half = c_.head_dim / 2;
  const float scale = 1 / std::sqrt(static_cast<float>(c_.head_dim));
  const auto in = [&](const OpTag& tag, const Activation& made, int32_t rows) {
    return LinearIn(quantized(x, tag, made, rows));
  };
  // RMSNorm of h for a Linear, which may take h as it is and normalise it itself.
  const auto norm = [&](NormTags tags, const float* h, const DeviceBytes& weight, const Linear& to,
                        int32_t rows, const Activation& out) {
    if (fused_ && out.read.format == FormatId::kF32 && normalises(to, rows)) {
      const Act as_it_is = {const_cast<float*>(h), nullptr, c_.hidden, FormatId::kF32};
      return LinearIn(as_it_is, floats(weight), c_.norm_eps);
    }
    run(x, tags.norm, "rmsnorm", op.rmsnorm,
        {rows, c_.hidden, h, floats(weight), c_.norm_eps, out.made});
    return in(tags.in, out, rows);
  };
  const auto attend = [&](int32_t l, const Activation& out) {
    const KvView& kv = state.kv[l];
    const RopeAppendArgs rope = {t,         c_.heads, c_.kv_heads, c_.head_dim, s.qkv,
                                 s.cos_sin, b.pos,    b.slot,      kv};
    const int32_t longest = t == 1 && b.context <= kShortContext ? kShortContext : 0;
    const AttentionArgs attention = {t,         c_.heads, c_.kv_heads, c_.head_dim, s.qkv,
                                     b.pos,     b.slot,   kv,          scale,       out.made,
                                     b.context, b.n_seq,  longest};
    if (fused_ && op.rope_attention && b.n_seq == b.n_tok) {
      return run(x, {"attention", l}, "rope_attention", op.rope_attention, {rope, attention});
    }
    run(x, {"rope", l}, "rope_append", op.rope_append, rope);
    run(x, {"attention", l}, "attention", op.attention, attention);
  };
  const auto input_of = [&](const Linear& w, const ActivationSpace& space) {
    return space.as(w.input.in(b.decode()), t, w.k);
  };

  run(x, {"embed"}, "embed", op.embed, {t, c_.hidden, b.tokens, embedding_.view, s.h});
  run(x, {"rotary"}, "rotary_table", op.rotary_table,
      {t, half, b.pos, floats(inv_freq_), s.cos_sin});
  for (int32_t l = 0; l < c_.layers; ++l) {
    const Layer& w = layers_[l];
    const Activation to_qkv = input_of(w.qkv, s.normed), to_o = input_of(w.o, s.attended);
    const Activation to_gate_up = input_of(w.gate_up, s.normed),
                     to_down = input_of(w.down, s.gated);
    linear(x, {"qkv", l}, w.qkv,
           norm({{"attn_norm", l}, {"qkv_in", l}}, s.h, w.attn_norm, w.qkv, t, to_qkv), t, {s.qkv});
    attend(l, to_o);
    linear(x, {"o", l}, w.o, in({"o_in", l}, to_o, t), t, {s.h, Epilogue::kAdd});
    const LinearIn normed =
        norm({{"mlp_norm", l}, {"gate_up_in", l}}, s.h, w.mlp_norm, w.gate_up, t, to_gate_up);
    if (w.gate_up.weight.view.paired) {
      linear(x, {"gate_up", l}, w.gate_up, normed, t,
             {static_cast<float*>(to_down.made.data), Epilogue::kSiluMul});
    } else {
      linear(x, {"gate_up", l}, w.gate_up, normed, t, {s.gate_up});
      run(x, {"silu_mul", l}, "silu_mul", op.silu_mul,
          {t, c_.intermediate, s.gate_up, to_down.made});
    }
    linear(x, {"down", l}, w.down, in({"down_in", l}, to_down, t), t, {s.h, Epilogue::kAdd});
  }
  if (b.n_logits == 0) return;
  const float* last = s.h;
  if (!fused_ || b.n_logits != t) {  // else they are all tokens, in order
    run(x, {"last"}, "gather_rows", op.gather_rows,
        {b.n_logits, c_.hidden, s.h, b.logit_row, s.last});
    last = s.last;
  }
  const Activation to_head = s.last_normed.as(head_.input.in(b.decode()), b.n_logits, c_.hidden);
  linear(x, {"head"}, head_,
         norm({{"final_norm"}, {"head_in"}}, last, final_norm_, head_, b.n_logits, to_head),
         b.n_logits, {logits});
}

std::vector<const Linear*> Llama::linears() const {
  std::vector<const Linear*> all;
  for (const Layer& layer : layers_) {
    for (const Linear* w : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down}) {
      if (w->pieces.empty()) all.push_back(w);
      for (const Linear& piece : w->pieces) all.push_back(&piece);
    }
  }
  all.push_back(&head_);
  return all;
}

}  // namespace

std::unique_ptr<Model> load_llama(const Checkpoint& checkpoint, const Backend& backend,
                                  const LoadOptions& options) {
  return std::make_unique<Llama>(checkpoint, backend, options);
}

std::vector<ScalingGroup> llama_scaling_groups(const Checkpoint& checkpoint) {
  const LlamaConfig c = read_llama_config(checkpoint.config());
  const int64_t q = int64_t{c.heads} * c.head_dim, kv = int64_t{c.kv_heads} * c.head_dim;
  std::vector<int32_t> kv_row;  // that column i of o reads
  for (int32_t i = 0; i < q; ++i) {
    const int32_t head = i / c.head_dim / (c.heads / c.kv_heads);
    kv_row.push_back(head * c.head_dim + i % c.head_dim);
  }
  std::vector<ScalingGroup> groups;
  for (int32_t layer = 0; layer < c.layers; ++layer) {
    const std::string at = fmt::format("layers.{}.", layer), prefix = "model." + at;
    const auto tensor = [&](const char* module, int64_t n, int64_t k) -> ScalingGroup::Tensor {
      return {prefix + module + ".weight", n, k};
    };
    const auto bias = [&](bool has, const char* module) {
      return has ? prefix + module + ".bias" : std::string();
    };
    groups.push_back(
        {at + "attn_norm",
         at + "qkv",
         tensor("input_layernorm", 1, c.hidden),
         "",
         {tensor("self_attn.q_proj", q, c.hidden), tensor("self_attn.k_proj", kv, c.hidden),
          tensor("self_attn.v_proj", kv, c.hidden)}});
    groups.push_back({at + "v",
                      at + "o",
                      tensor("self_attn.v_proj", kv, c.hidden),
                      bias(c.attention_bias, "self_attn.v_proj"),
                      {tensor("self_attn.o_proj", c.hidden, q)},
                      kv_row});
    groups.push_back({at + "mlp_norm",
                      at + "gate_up",
                      tensor("post_attention_layernorm", 1, c.hidden),
                      "",
                      {tensor("mlp.gate_proj", c.intermediate, c.hidden),
                       tensor("mlp.up_proj", c.intermediate, c.hidden)}});
    groups.push_back({at + "up",
                      at + "down",
                      tensor("mlp.up_proj", c.intermediate, c.hidden),
                      bias(c.mlp_bias, "mlp.up_proj"),
                      {tensor("mlp.down_proj", c.hidden, c.intermediate)}});
  }
  return groups;
}

RotationPlan llama_rotation_plan(const Checkpoint& checkpoint) {
  using By = TurnedTensor::By;
  const LlamaConfig c = read_llama_config(checkpoint.config());
  const int64_t q = int64_t{c.heads} * c.head_dim, kv = int64_t{c.kv_heads} * c.head_dim;
  RotationPlan plan{c.hidden, c.head_dim, {}, c.tied_embeddings};
  const auto add = [&](TurnedTensor turned) {
    if (turned.from.empty()) turned.from = turned.name;
    plan.tensors.push_back(std::move(turned));
  };
  const auto ones = [&](const std::string& norm) {
    add({.name = norm, .layer = "", .from = "", .n = 1, .k = c.hidden, .ones = true});
  };
  const std::string table = "model.embed_tokens.weight", final_norm = "model.norm.weight";
  add({.name = table,
       .layer = "embedding",
       .from = "",
       .n = c.vocab,
       .k = c.hidden,
       .columns = By::kStream});
  for (int32_t layer = 0; layer < c.layers; ++layer) {
    const std::string at = fmt::format("layers.{}.", layer), prefix = "model." + at;
    const std::string attn_norm = prefix + "input_layernorm.weight",
                      mlp_norm = prefix + "post_attention_layernorm.weight";
    const auto reads = [&](const char* module, const char* linear, int64_t n,
                           const std::string& norm, By rows) {
      add({.name = prefix + module + ".weight",
           .layer = at + linear,
           .from = "",
           .n = n,
           .k = c.hidden,
           .norm = norm,
           .columns = By::kStream,
           .rows = rows});
    };
    const auto writes = [&](const char* module, const char* linear, int64_t k, By columns) {
      add({.name = prefix + module + ".weight",
           .layer = at + linear,
           .from = "",
           .n = c.hidden,
           .k = k,
           .columns = columns,
           .rows = By::kStream});
    };
    const auto bias = [&](bool has, const char* module, int64_t k, By by) {
      if (!has) return;
      add({.name = prefix + module + ".bias",
           .layer = "",
           .from = "",
           .n = 1,
           .k = k,
           .columns = by});
    };
    reads("self_attn.q_proj", "qkv", q, attn_norm, By::kNothing);
    reads("self_attn.k_proj", "qkv", kv, attn_norm, By::kNothing);
    reads("self_attn.v_proj", "qkv", kv, attn_norm, By::kHead);
    bias(c.attention_bias, "self_attn.v_proj", kv, By::kHead);
    writes("self_attn.o_proj", "o", q, By::kHead);
    bias(c.attention_bias, "self_attn.o_proj", c.hidden, By::kStream);
    reads("mlp.gate_proj", "gate_up", c.intermediate, mlp_norm, By::kNothing);
    reads("mlp.up_proj", "gate_up", c.intermediate, mlp_norm, By::kNothing);
    writes("mlp.down_proj", "down", c.intermediate, By::kNothing);
    bias(c.mlp_bias, "mlp.down_proj", c.hidden, By::kStream);
    ones(attn_norm);
    ones(mlp_norm);
  }
  add({.name = "lm_head.weight",
       .layer = "head",
       .from = c.tied_embeddings ? table : "",
       .n = c.vocab,
       .k = c.hidden,
       .norm = final_norm,
       .columns = By::kStream});
  ones(final_norm);
  return plan;
}

}  // namespace lowbit
