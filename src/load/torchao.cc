// torchao 0.18 in safetensors: a tensor subclass X.weight is flattened to X._weight_qdata,
// X._weight_scale, X._weight_zero_point, and the file's __metadata__ says under X.weight, as JSON,
// which class it was. Value = (qdata - zero_point) scale.
//   Int8Tensor                 qdata I8 [n, k], scale a row (or group)
//   IntxUnpackedToInt8Tensor   qdata I8 [n, k] of fewer bits (target_dtype), scale [n, groups]
//   Float8Tensor               qdata F8_E4M3 [n, k], scale a row or one
//   Int4Tensor                 qdata I8 [n, k / 2], two signed codes in a byte, the first one low;
//                              scale and zero_point [groups, n]; value = q scale + zero_point
#include <map>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/text.h"
#include "load/json.h"
#include "load/packed_parts.h"
#include "load/safetensors.h"

namespace lowbit {
namespace {

class TorchaoReader final : public QuantizedReader {
 public:
  explicit TorchaoReader(const QuantizedFiles& files)
      : files_(files), metadata_(read_safetensors_metadata(files.folder)) {}

  QTensor outline(const std::string& module, int64_t n, int64_t k) const override {
    const PackedParts parts(files_, module);
    const nlohmann::json type = type_of(parts, module);
    if (class_of(type) == kPairs) return {read_pairs(parts, n, k).format, n, k};
    return {read(parts, type, n, k).format, n, k};
  }

  QTensor tensor(const std::string& module, int64_t n, int64_t k) const override {
    const PackedParts parts(files_, module);
    const nlohmann::json type = type_of(parts, module);
    if (class_of(type) == kPairs) return pairs_tensor(read_pairs(parts, n, k), n, k);
    const Weight w = read(parts, type, n, k);
    const StoredTensor& codes = *parts.find("_weight_qdata");
    if (w.bits == 8) return byte_tensor(codes, w.format, w.grid, w.zeros, n, k);
    const QTensorBuilder out = build_qtensor(w.format, n, k);
    const uint32_t mask = (1u << w.bits) - 1u, shift = w.zeros ? 1u << (w.bits - 1) : 0;
    const int lowest = -(1 << (w.bits - 1));
    for (int64_t i = 0; i < n * k; ++i) {
      const int code = element<int8_t>(codes, i);
      if (code < lowest || code >= -lowest) {
        parts.fail("_weight_qdata",
                   fmt::format("holds the code {}, which has more than {} bits", code, w.bits));
      }
    }
    fill_codes(out, [&](int64_t row, std::span<uint32_t> to) {
      for (size_t i = 0; i < to.size(); ++i) {
        const auto code = element<int8_t>(codes, row * k + static_cast<int64_t>(i));
        to[i] = (static_cast<uint32_t>(code) + shift) & mask;
      }
    });
    const auto index = [&](int64_t row, int64_t b) { return w.grid.index(w.format, row, b); };
    fill_blocks(out, Plane::kScales, *w.grid.scales, index);
    if (w.zeros) {
      fill_zeros(out, [&](int64_t row, int64_t b) {
        return element<int8_t>(*w.zeros, index(row, b)) + static_cast<int>(shift);
      });
    }
    release_pages(codes.data);
    return out.tensor;
  }

  std::vector<std::string> remarks(const std::set<std::string>& modules) const override {
    for (const std::string& module : modules) {
      const auto at = metadata_.find(module + "weight");
      if (at == metadata_.end()) continue;
      const nlohmann::json type = parse_json(module + "weight", at->second);
      const nlohmann::json data = type.is_object() ? type.value("_data", empty()) : empty();
      const auto rounds = [&](const char* key) {
        return data.contains(key) && !data[key].is_null();
      };
      const bool fp8 = rounds("activation_dtype") && data["activation_dtype"].is_object() &&
                       data["activation_dtype"].value("_data", nlohmann::json()) == kFp8;
      if (rounds("act_quant_kwargs") || rounds("activation_quantization") || fp8) {
        return {"the config asks for rounded activations; here only --format W+A rounds them"};
      }
    }
    return {};
  }

 private:
  struct Weight {
    int bits;
    ScaleGrid grid;
    const StoredTensor* zeros;  // null where all are 0
    Format format;
  };

  // An Int4Tensor.
  struct Pairs {
    const StoredTensor *codes, *scales, *zeros;
    int64_t group;
    Format format;
  };

  static constexpr const char *kPairs = "Int4Tensor", *kFp8 = "float8_e4m3fn";

  static nlohmann::json empty() { return nlohmann::json::object(); }

  static std::string class_of(const nlohmann::json& type) {
    const nlohmann::json name = type.is_object() ? type.value("_type", nlohmann::json()) : type;
    return name.is_string() ? name.get<std::string>() : "tensor";
  }

  nlohmann::json type_of(const PackedParts& parts, const std::string& module) const {
    const auto at = metadata_.find(module + "weight");
    if (at == metadata_.end()) {
      parts.fail("_weight_qdata", "the file's metadata do not say which tensor class it is of");
    }
    return parse_json(fmt::format("{}: metadata of {}weight",
                                  parts.get("_weight_qdata", {"I8", "F8_E4M3", "F8_E5M2"}).file,
                                  printable(module, 200)),
                      at->second);
  }

  // Scales of inputs are left out by none in silence.
  static void check_parts(const PackedParts& parts) {
    parts.refuse({"weight"}, "torchao");
    if (parts.has("_weight_act_pre_scale")) {
      parts.fail("_weight_act_pre_scale", "scales of inputs (SmoothQuant, AWQ) are not supported");
    }
  }

  static Pairs read_pairs(const PackedParts& parts, int64_t n, int64_t k) {
    check_parts(parts);
    const StoredTensor& scales = parts.get("_weight_scale", kFloatTypes);
    const int64_t groups = scales.shape.empty() ? 0 : scales.shape[0];
    const std::string words = groups > 0 && k % groups == 0 ? group_word(k / groups, k) : "";
    if (words.empty()) {
      parts.fail("_weight_scale", fmt::format("{} groups do not cut {} columns", groups, k));
    }
    parts.get("_weight_scale", kFloatTypes, {groups, n});
    return {&parts.get("_weight_qdata", {"I8"}, {n, k / 2}), &scales,
            &parts.get("_weight_zero_point", {scales.type}, {groups, n}), k / groups,
            parse_format(fmt::format("int4-{}-fzero-{}", words, scale_word(scales)))};
  }

  static QTensor pairs_tensor(const Pairs& w, int64_t n, int64_t k) {
    const QTensorBuilder out = build_qtensor(w.format, n, k);
    fill_codes(out, [&](int64_t row, std::span<uint32_t> to) {
      for (size_t i = 0; i < to.size(); ++i) {
        const auto pair = element<uint8_t>(*w.codes, row * (k / 2) + static_cast<int64_t>(i / 2));
        to[i] = ((pair >> (i % 2 * 4)) & 15u) ^ 8u;
      }
    });
    const auto index = [&](int64_t row, int64_t b) {
      return group_of_block(w.format, b, w.group) * n + row;
    };
    fill_blocks(out, Plane::kScales, *w.scales, index);
    fill_blocks(out, Plane::kZeros, *w.zeros, index);
    release_pages(w.codes->data);
    return out.tensor;
  }

  // The bits of an IntxUnpackedToInt8Tensor.
  int target_bits(const PackedParts& parts, const nlohmann::json& type) const {
    const nlohmann::json& data = type.contains("_data") ? type["_data"] : type;
    std::string dtype;
    if (data.is_object() && data.contains("target_dtype") && data["target_dtype"].is_object()) {
      const nlohmann::json& name = data["target_dtype"].value("_data", nlohmann::json());
      if (name.is_string()) dtype = name.get<std::string>();
    }
    for (int bits = 2; bits <= 8; ++bits) {
      if (dtype == fmt::format("int{}", bits)) return bits;
    }
    parts.fail("_weight_qdata", fmt::format("target_dtype `{}` in the metadata; supported: int2 to "
                                            "int8",
                                            printable(dtype)));
  }

  Weight read(const PackedParts& parts, const nlohmann::json& type, int64_t n, int64_t k) const {
    const std::string name = class_of(type);
    const bool intx = name == "IntxUnpackedToInt8Tensor";
    if (!intx && name != "Int8Tensor" && name != "Float8Tensor") {
      parts.fail("_weight_qdata", fmt::format("is part of a torchao {}; supported: Int8Tensor, "
                                              "IntxUnpackedToInt8Tensor, Float8Tensor, Int4Tensor",
                                              printable(name)));
    }
    check_parts(parts);
    Weight w{intx ? target_bits(parts, type) : 8,
             read_scale_grid(parts, "_weight_scale", n, k, false),
             nullptr,
             {}};
    w.zeros = read_zero_points(parts, "_weight_zero_point", w.grid);
    w.format = byte_format(parts, "_weight_qdata", w.grid, w.zeros, n, k);
    if (w.bits == 8) return w;
    check_zeros(parts, w);
    w.format =
        parse_format(fmt::format("int{}-{}-{}", w.bits, w.zeros ? "asym" : "sym", w.grid.words));
    return w;
  }

  static void check_zeros(const PackedParts& parts, const Weight& w) {
    if (w.grid.words.starts_with("tensor")) {
      parts.fail("_weight_scale", "one scale for a tensor below 8 bits is not supported");
    }
    if (parts.find("_weight_qdata")->type != "I8") {
      parts.fail("_weight_qdata", "has no integers, as its class says");
    }
    const int lowest = -(1 << (w.bits - 1));
    for (size_t i = 0; w.zeros && i < w.zeros->data.data.size(); ++i) {
      const int zero = element<int8_t>(*w.zeros, static_cast<int64_t>(i));
      if (zero < lowest || zero >= -lowest) {
        parts.fail("_weight_zero_point",
                   fmt::format("holds {}, which has more than {} bits", zero, w.bits));
      }
    }
  }

  QuantizedFiles files_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace

std::unique_ptr<QuantizedReader> open_torchao(const QuantizedFiles& files) {
  return std::make_unique<TorchaoReader>(files);
}

}  // namespace lowbit
