#include "models/llama_config.h"

#include <cmath>
#include <numbers>

#include "base/check.h"

namespace lowbit {
namespace {

constexpr int64_t kMaxWidth = 1 << 20;  // far above any model, far below overflow

// Rotary frequencies stretched for longer contexts: Llama 3.1's rule, by wavelength (meta-llama
// reference code, apply_scaling; transformers, _compute_llama3_parameters).
double llama3_scaled(double freq, const Hyperparams& scaling) {
  const double factor = scaling.number("factor", 1, 1e6);
  const double low = scaling.number("low_freq_factor", 1e-6, 1e6);
  const double high = scaling.number("high_freq_factor", 1e-6, 1e6);
  const auto original =
      static_cast<double>(scaling.integer("original_max_position_embeddings", 1, 1 << 30));
  if (high <= low) scaling.fail("high_freq_factor", "must be larger than low_freq_factor");
  const double wavelength = 2 * std::numbers::pi / freq;
  if (wavelength > original / low) return freq / factor;
  if (wavelength < original / high) return freq;
  const double smooth = (original / wavelength - low) / (high - low);
  return (1 - smooth) * freq / factor + smooth * freq;
}

std::vector<float> rotary_frequencies(const Hyperparams& params, int32_t head_dim) {
  // transformers 5 writes rope_parameters; older configs have rope_theta and rope_scaling.
  const auto parameters = params.child("rope_parameters");
  const auto scaling = parameters ? parameters : params.child("rope_scaling");
  const double theta = parameters && parameters->has("rope_theta")
                           ? parameters->number("rope_theta", 1, 1e12)
                           : params.number_or("rope_theta", 10000, 1, 1e12);
  std::string type = "default";
  if (scaling) type = scaling->text_or("rope_type", scaling->text_or("type", "default"));
  if (type != "default" && type != "linear" && type != "llama3") {
    scaling->fail("rope_type",
                  fmt::format("`{}` is not supported; known: default, linear, llama3", type));
  }
  std::vector<float> inv_freq;
  for (int32_t i = 0; i < head_dim; i += 2) {
    double freq = std::pow(theta, -static_cast<double>(i) / head_dim);
    if (type == "linear") freq /= scaling->number("factor", 1, 1e6);
    if (type == "llama3") freq = llama3_scaled(freq, *scaling);
    inv_freq.push_back(static_cast<float>(freq));
  }
  return inv_freq;
}

int32_t width(const Hyperparams& params, std::string_view key) {
  return static_cast<int32_t>(params.integer(key, 1, kMaxWidth));
}

}  // namespace

LlamaConfig read_llama_config(const Hyperparams& params) {
  LlamaConfig c{};
  c.hidden = width(params, "hidden_size");
  c.intermediate = width(params, "intermediate_size");
  c.layers = static_cast<int32_t>(params.integer("num_hidden_layers", 1, 1024));
  c.heads = static_cast<int32_t>(params.integer("num_attention_heads", 1, 1024));
  c.kv_heads = static_cast<int32_t>(params.integer_or("num_key_value_heads", c.heads, 1, 1024));
  c.vocab = static_cast<int32_t>(params.integer("vocab_size", 1, 1 << 24));
  c.max_context =
      static_cast<int32_t>(params.integer_or("max_position_embeddings", 2048, 1, 1 << 24));
  c.norm_eps = static_cast<float>(params.number_or("rms_norm_eps", 1e-6, 0, 1));
  c.tied_embeddings = params.boolean_or("tie_word_embeddings", false);
  c.attention_bias = params.boolean_or("attention_bias", false);
  c.mlp_bias = params.boolean_or("mlp_bias", false);
  if (c.heads % c.kv_heads != 0) {
    params.fail("num_key_value_heads",
                fmt::format("{} does not divide num_attention_heads = {}", c.kv_heads, c.heads));
  }
  if (!params.has("head_dim") && c.hidden % c.heads != 0) {
    params.fail("hidden_size", fmt::format("{} is not a multiple of num_attention_heads = {} and "
                                           "there is no head_dim",
                                           c.hidden, c.heads));
  }
  c.head_dim = static_cast<int32_t>(params.integer_or("head_dim", c.hidden / c.heads, 1, 4096));
  if (c.head_dim % 2 != 0) {
    params.fail("head_dim", fmt::format("{} is odd; rotary embedding needs pairs", c.head_dim));
  }
  const std::string activation = params.text_or("hidden_act", "silu");
  if (activation != "silu" && activation != "swish") {
    params.fail("hidden_act",
                fmt::format("`{}` is not supported; Llama models use silu", activation));
  }
  // Fields that would change the numbers; ignoring one would be a silent fallback.
  for (const char* key : {"sliding_window", "partial_rotary_factor"}) {
    const bool whole = params.has(key) && std::string_view(key) == "partial_rotary_factor" &&
                       params.number(key, 0, 1) == 1;
    if (params.has(key) && !whole) params.fail(key, "is set, but not supported for Llama models");
  }
  c.inv_freq = rotary_frequencies(params, c.head_dim);
  return c;
}

}  // namespace lowbit
