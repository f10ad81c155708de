#include "load/quantized.h"

#include <algorithm>

#include "base/check.h"
#include "base/text.h"

namespace lowbit {
namespace {

using Names = std::string_view[];
constexpr Names kGptqMarkers = {"qweight"};
constexpr Names kGptqParts = {"qzeros", "scales", "g_idx"};
constexpr Names kAwqParts = {"qzeros", "scales"};
constexpr Names kCompressedMarkers = {"weight_packed", "weight_scale"};
constexpr Names kCompressedParts = {
    "weight_shape",       "weight_zero_point", "weight_global_scale",
    "weight_g_idx",       "input_scale",       "input_zero_point",
    "input_global_scale", "output_scale",      "output_zero_point"};
constexpr Names kFp8Markers = {"weight_scale_inv", "weight_scale"};
constexpr Names kFp8Parts = {"input_scale", "activation_scale", "input_scale_ub"};
constexpr Names kTorchaoMarkers = {"_weight_qdata"};
constexpr Names kTorchaoParts = {"_weight_scale", "_weight_zero_point", "_weight_act_pre_scale",
                                 "_weight_act_quant_scale"};
constexpr Names kHqqMarkers = {"W_q"};
constexpr Names kHqqParts = {"scale",
                             "zero",
                             "shape",
                             "axis",
                             "group_size",
                             "nbits",
                             "channel_wise",
                             "compute_dtype",
                             "offload_meta",
                             "optimize",
                             "packing",
                             "encoded_state_dict",
                             "quant_scale",
                             "quant_zero",
                             "round_zero",
                             "stores_quant_config",
                             "unpack_view_dtype",
                             "view_as_float"};
constexpr Names kBitnetMarkers = {"weight_scale"};
constexpr Names kLowbitMarkers = {"weight_codes"};
constexpr Names kLowbitParts = {"weight_scales", "weight_zeros", "weight_meta", "weight_outer"};
// Scales of a cache of keys and values, whose format is the user's choice here.
constexpr Names kCacheScales = {"q_scale", "k_scale", "v_scale", "k_zero_point", "v_zero_point"};
constexpr std::span<const std::string_view> kNone = {};

constexpr QuantizedMethod kMethods[] = {
    {"gptq", kGptqMarkers, kGptqParts, kNone, open_gptq},
    {"awq", kGptqMarkers, kAwqParts, kNone, open_awq},
    {"compressed-tensors", kCompressedMarkers, kCompressedParts, kCacheScales,
     open_compressed_tensors},
    {"fp8", kFp8Markers, kFp8Parts, kCacheScales, open_fp8},
    {"fbgemm_fp8", kFp8Markers, kFp8Parts, kCacheScales, open_fp8},
    {"torchao", kTorchaoMarkers, kTorchaoParts, kNone, open_torchao},
    {"hqq", kHqqMarkers, kHqqParts, kNone, open_hqq},
    {"bitnet", kBitnetMarkers, kNone, kNone, open_bitnet},
    {"lowbit", kLowbitMarkers, kLowbitParts, kNone, open_container},
};

constexpr std::string_view kWeight = "weight";

const QuantizedMethod& method_of(const Hyperparams& config) {
  const std::string name = config.text("quant_method");
  std::vector<std::string> known;
  for (const QuantizedMethod& method : kMethods) {
    if (method.name == name) return method;
    known.emplace_back(method.name);
  }
  config.fail("quant_method",
              fmt::format("weights stored by `{}` are not read{}; supported: {}. Pass the model's "
                          "original weights and quantize them here with --format",
                          printable(name), suggestion(name, known), join(known, ", ")));
}

std::string module_of(const std::string& name) {
  return name.substr(0, name.size() - kWeight.size());
}

}  // namespace

std::span<const QuantizedMethod> quantized_methods() { return kMethods; }

QuantizedWeights::QuantizedWeights(const QuantizedFiles& files)
    : method_(&method_of(files.config)), reader_(method_->open(files)) {
  const auto is = [](const std::string& name, std::string_view part) {
    return name.ends_with(part) && name.size() > part.size() &&
           name[name.size() - part.size() - 1] == '.';
  };
  for (const auto& [name, tensor] : files.tensors) {
    for (const std::string_view marker : method_->markers) {
      if (is(name, marker)) modules_.insert(name.substr(0, name.size() - marker.size()));
    }
    for (const std::string_view stray : method_->strays) {
      if (is(name, stray)) parts_.insert(name);
    }
  }
  if (modules_.empty()) {
    throw_error(
        "{}: no tensor has a form that quantization_config ({}) speaks of; remove it from "
        "config.json to run the weights as they are",
        files.config.source(), method_->name);
  }
  const auto add_part = [&](const std::string& name) {
    if (files.tensors.contains(name)) parts_.insert(name);
  };
  for (const std::string& module : modules_) {
    // AutoGPTQ writes a bias of zeros for a Linear that has none.
    const auto bias = files.tensors.find(module + "bias");
    if (bias != files.tensors.end() && all_zero(bias->second)) parts_.insert(bias->first);
    for (const auto& names : {method_->markers, method_->parts}) {
      for (const std::string_view part : names) add_part(module + std::string(part));
    }
  }
}

bool QuantizedWeights::has(const std::string& name) const {
  return name.ends_with(kWeight) && modules_.contains(module_of(name));
}

std::vector<std::string> QuantizedWeights::names() const {
  std::vector<std::string> names;
  for (const std::string& module : modules_) names.push_back(module + std::string(kWeight));
  return names;
}

QTensor QuantizedWeights::outline(const std::string& name, int64_t n, int64_t k) const {
  return reader_->outline(module_of(name), n, k);
}

QTensor QuantizedWeights::tensor(const std::string& name, int64_t n, int64_t k) const {
  return reader_->tensor(module_of(name), n, k);
}

}  // namespace lowbit
