// Which format and quantizer each layer of a model gets: one for all, others for the head, the
// token embedding and whatever a file of rules names.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "formats/format.h"
#include "quantize/preparation.h"
#include "quantize/quantizer.h"

namespace lowbit {

// What a layer is turned into. No format: it stays as the file stores it.
struct LayerChoice {
  std::optional<Format> format;
  const Quantizer* quantizer = &quantizers()[0];     // rtn
  std::optional<Format> activations = std::nullopt;  // of its input; nullopt: the engine's own
  bool prefill_only = false;  // decode steps (StepBatch) read the engine's own activations
  int32_t iterations = 0;     // of the quantizer (QuantizeContext); 0: its own number
};

// "same" (as the other layers), "stored", or a format's name, which may be another tool's.
struct TensorPolicy {
  bool same = false;
  std::optional<Format> format = std::nullopt;
  const Quantizer* quantizer = nullptr;  // of a tool's name; null: see LayerPolicy::choose
};
TensorPolicy parse_tensor_policy(std::string_view text);
std::string name(const TensorPolicy& policy);

// One entry of a file of rules: layers whose name matches get the choice.
struct LayerRule {
  std::string match;  // a layer's name (layers.3.qkv, head, embedding); `*` is any run of letters
  LayerChoice choice;
  std::string where = {};  // in its file, for messages
};

// A layer of a model and one of the tensors that make it up.
struct LayerTensor {
  std::string layer, tensor;  // "layers.3.qkv", "model.layers.3.self_attn.k_proj.weight"
};

struct LayerPolicy {
  LayerChoice all = {};
  TensorPolicy head = {.same = true};
  TensorPolicy embedding = {};        // stored
  std::vector<LayerRule> rules = {};  // the first that matches decides
  bool allow_skip = false;  // a layer that its format cannot take stays as stored, and is reported
  std::string skip_hint = "";  // how a user asks for that where he can: "--allow-skip keeps ..."
  Preparation prepare = {};    // of all weights, before any codes are chosen
  std::string mixture = "";    // of llama.cpp; load_model() fills `single` by its rules (mixture.h)
  // Single tensors of a layer, by layer and tensor, that no rule is about.
  std::map<std::pair<std::string, std::string>, LayerChoice> single = {};

  // `layer` as Linears are called, or "embedding"; `tensor`: which of those that make it up.
  LayerChoice choose(std::string_view layer, std::string_view tensor = "") const;
  // Whether a layer may end up in another format than the file's.
  bool changes_anything() const;
  // The first quantizer or preparation that has to know what layers read on a text; "": none does.
  std::string_view needs_inputs() const;
  // Error if a rule matches none of the model's layers, or only ones that earlier rules take.
  void check_rules_used(std::span<const LayerTensor> tensors) const;
};

// The file of rules behind --mixed, read into `policy`: what it says of all layers, head and
// embedding replaces what is there. YAML:
//
//   version: 1
//   format: int4            # of all other layers; `stored` leaves them alone
//   quantizer: hqq          # of this file's formats; rtn if absent
//   head: int8              # same, stored or a format
//   embedding: stored
//                           # names of other tools bring their quantizer along
//   layers:                 # the first match decides
//     - {match: "layers.*.down", format: int8}
//     - {match: "layers.0.*", format: stored}
//
// Errors name the file and the entry.
void read_mixed(const std::string& path, LayerPolicy* policy);

}  // namespace lowbit
