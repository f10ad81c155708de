// The golden folders of tests/golden/quantized, each broken in one place.
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "load/files.h"
#include "load/hostile_files.h"

namespace lowbit::fixtures {
namespace {

const std::string kGolden = LB_SOURCE_DIR "/tests/golden/quantized/";
const std::string kQ = "model.layers.0.self_attn.q_proj.";

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Edit {
  std::string from, to;
};
std::string edited(std::string text, const Edit& edit) {
  if (edit.from.empty()) return text;
  const size_t at = text.find(edit.from);
  if (at == std::string::npos) throw std::logic_error("no `" + edit.from + "` in " + text);
  return text.replace(at, edit.from.size(), edit.to);
}

// The first bytes of a tensor.
struct Patch {
  std::string tensor, bytes;
};

struct Breakage {
  Edit config = {}, header = {};
  Patch data = {};
};

HostileFile broken(const std::string& name, const std::string& golden, const Breakage& how,
                   std::vector<std::string> expected) {
  return {"quantized_" + name,
          [=](const std::string& dir) {
            const std::string from = kGolden + golden;
            std::ofstream(dir + "/config.json") << edited(read(from + "/config.json"), how.config);
            const std::string file = read(from + "/model.safetensors");
            uint64_t size = 0;
            std::memcpy(&size, file.data(), sizeof size);
            const std::string header = file.substr(sizeof size, size);
            std::string data = file.substr(sizeof size + size);
            if (!how.data.tensor.empty()) {
              const size_t entry = header.find("\"" + how.data.tensor + "\":{\"dtype\"");
              if (entry == std::string::npos) throw std::logic_error("no " + how.data.tensor);
              const std::string key = "\"data_offsets\":[";
              const size_t begin = std::stoul(header.substr(header.find(key, entry) + key.size()));
              data.replace(begin, how.data.bytes.size(), how.data.bytes);
            }
            std::ofstream(dir + "/model.safetensors", std::ios::binary)
                << safetensors(edited(header, how.header), data);
            return dir;
          },
          std::move(expected)};
}

HostileFile config_of(const std::string& name, const std::string& golden, const Edit& edit,
                      std::vector<std::string> expected) {
  expected.insert(expected.begin(), "config.json: quantization_config");
  return broken(name, golden, {.config = edit}, std::move(expected));
}

HostileFile header_of(const std::string& name, const std::string& golden, const Edit& edit,
                      std::vector<std::string> expected) {
  expected.insert(expected.begin(), "model.safetensors: ");
  return broken(name, golden, {.header = edit}, std::move(expected));
}

HostileFile data_of(const std::string& name, const std::string& golden, const Patch& patch,
                    std::vector<std::string> expected) {
  expected.insert(expected.begin(), "model.safetensors: ");
  return broken(name, golden, {.data = patch}, std::move(expected));
}

std::vector<HostileFile> config_cases() {
  const std::string gptq = "gptq-4bit-g32-asym", ct = "ct-pack-int4-g32-asym";
  return {
      config_of("bitsandbytes", gptq, {"\"gptq\"", "\"bitsandbytes\""},
                {".quant_method: weights stored by `bitsandbytes` are not read", "gptq, awq",
                 "--format"}),
      config_of("no_method", gptq, {"\"quant_method\"", "\"method\""},
                {".quant_method: is missing"}),
      config_of("not_an_object", gptq,
                {"\"quantization_config\": {", "\"quantization_config\": 7, \"other\": {"},
                {": is 7, expected an object"}),
      broken("other_method", gptq,
             {.config = {"\"quant_method\": \"gptq\"", "\"quant_method\": \"hqq\""}},
             {"config.json: no tensor has a form that quantization_config (hqq) speaks of"}),
      config_of("gptq_bits", gptq, {"\"bits\": 4", "\"bits\": 5"}, {".bits: is 5; supported"}),
      config_of("gptq_group_0", gptq, {"\"group_size\": 32", "\"group_size\": 0"},
                {".group_size: is 0"}),
      config_of("gptq_format", gptq,
                {"\"checkpoint_format\": \"gptq\"", "\"checkpoint_format\": \"marlin\""},
                {".checkpoint_format: is `marlin`; supported: gptq, gptq_v2"}),
      config_of("gptq_dynamic", gptq, {"\"bits\"", "\"dynamic\": {}, \"bits\""},
                {".dynamic: settings that differ"}),
      config_of("awq_bits", "awq-4bit-g32", {"\"bits\": 4", "\"bits\": 8"}, {".bits: is 8"}),
      config_of("awq_gemv", "awq-4bit-g32", {"\"gemm\"", "\"gemv\""},
                {".version: is `gemv`; supported: gemm"}),
      config_of("ct_format", ct, {"\"format\": \"pack-quantized\"", "\"format\": \"marlin-24\""},
                {".format: is `marlin-24`; supported: pack-quantized"}),
      config_of("ct_transform", ct,
                {"\"transform_config\": {}", "\"transform_config\": {\"a\": 1}"},
                {".transform_config: models whose weights were rotated"}),
      config_of(
          "ct_sparse", ct,
          {"\"sparsity_config\": {}", "\"sparsity_config\": {\"format\": \"sparse-24-bitmask\"}"},
          {".sparsity_config.format: compressed sparse weights"}),
      config_of("ct_blocks", "ct-fp8-block",
                {"\"block_structure\": [", "\"block_structure\": [64,"},
                {".block_structure: only blocks of [128, 128]"}),
      config_of("fp8_blocks", "fp8-b128x128",
                {"\"weight_block_size\": [", "\"weight_block_size\": [64,"},
                {".weight_block_size: only blocks of [128, 128]"}),
      config_of("bitnet_class", "bitnet", {"\"bitlinear\"", "\"linear\""},
                {".linear_class: is `linear`; supported: bitlinear"}),
      config_of("bitnet_online", "bitnet", {"\"offline\"", "\"online\""},
                {".quantization_mode: ", "--format ternary"}),
      config_of("bitnet_norm", "bitnet", {"\"use_rms_norm\": false", "\"use_rms_norm\": true"},
                {".use_rms_norm: "}),
  };
}

std::vector<HostileFile> header_cases() {
  const std::string gptq = "gptq-4bit-g32-asym", hqq = "hqq-4bit-g64";
  const auto shape = [](const std::string& part, const std::string& dtype, const std::string& from,
                        const std::string& to) -> Edit {
    const std::string head = "\"" + kQ + part + "\":{\"dtype\":\"" + dtype + "\",\"shape\":";
    return {head + from, head + to};
  };
  const auto dtype = [](const std::string& part, const std::string& from, const std::string& to) {
    const std::string head = "\"" + kQ + part + "\":{\"dtype\":\"";
    return Edit{head + from, head + to};
  };
  const auto renamed = [](const std::string& part) {
    return Edit{"\"" + kQ + part + "\":{\"dtype\"", "\"" + kQ + "other\":{\"dtype\""};
  };
  return {
      header_of("gptq_type", gptq, dtype("qweight", "I32", "F32"),
                {kQ + "qweight: has type F32; supported here: I32"}),
      header_of("gptq_shape", gptq, shape("qweight", "I32", "[8,64]", "[16,32]"),
                {kQ + "qweight: has shape [16, 32], config.json asks for [8, 64]"}),
      header_of("gptq_flat", gptq, shape("qweight", "I32", "[8,64]", "[512]"),
                {kQ + "qweight: has shape [512]"}),
      header_of("gptq_scales", gptq, shape("scales", "F16", "[2,64]", "[64,2]"),
                {kQ + "scales: has shape [64, 2], config.json asks for [2, 64]"}),
      header_of("gptq_columns", gptq, shape("g_idx", "I32", "[64]", "[1,64]"),
                {kQ + "g_idx: has shape [1, 64]"}),
      broken("gptq_no_zeros", gptq, {.header = renamed("qzeros")},
             {kQ + "qzeros: no such tensor, and the packed weight cannot be read without it"}),
      header_of("awq_shape", "awq-4bit-g32", shape("qzeros", "I32", "[2,8]", "[8,2]"),
                {kQ + "qzeros: has shape [8, 2], config.json asks for [2, 8]"}),
      header_of("ct_words", "ct-pack-int4-g32-sym",
                shape("weight_packed", "I32", "[64,8]", "[32,16]"),
                {kQ + "weight_packed: has shape [32, 16], which is no [64, 64] in 2 to 8 bits"}),
      header_of("ct_zeros", "ct-pack-int4-g32-asym",
                shape("weight_zero_point", "I32", "[8,2]", "[2,8]"),
                {kQ + "weight_zero_point: has shape [2, 8], config.json asks for [8, 2]"}),
      header_of("ct_scales", "ct-fp8-channel", shape("weight_scale", "BF16", "[64,1]", "[1,64]"),
                {kQ + "weight_scale: has shape [1, 64]; supported for a weight of [64, 64]"}),
      header_of("ct_codes", "ct-fp8-channel", dtype("weight", "F8_E4M3", "F8_E4M3FNUZ"),
                {kQ + "weight: has type F8_E4M3FNUZ; supported here: F8_E4M3"}),
      header_of("ct_fp4", "ct-nvfp4", shape("weight_packed", "U8", "[64,32]", "[32,64]"),
                {kQ + "weight_packed: has shape [32, 64], config.json asks for [64, 32]"}),
      broken("ct_no_outer", "ct-nvfp4", {.header = renamed("weight_global_scale")},
             {kQ + "weight_global_scale: no such tensor"}),
      header_of("fp8_scales", "fp8-b128x128", shape("weight_scale_inv", "F32", "[1,1]", "[1,1,1]"),
                {kQ + "weight_scale_inv: has shape [1, 1, 1]; supported", "blocks of 128 x 128"}),
      header_of("torchao_class", "torchao-int8",
                {"\"" + kQ + "weight\":\"{\\\"_type\\\": \\\"Int8Tensor",
                 "\"" + kQ + "weight\":\"{\\\"_type\\\": \\\"NVFP4Tensor"},
                {kQ + "_weight_qdata: is part of a torchao NVFP4Tensor; supported: Int8Tensor"}),
      header_of("torchao_no_class", "torchao-int8", {"\"" + kQ + "weight\":\"{", "\"other\":\"{"},
                {kQ + "_weight_qdata: the file's metadata do not say which tensor class"}),
      header_of("torchao_no_json", "torchao-int8",
                {"\"" + kQ + "weight\":\"{", "\"" + kQ + "weight\":\"["},
                {"metadata of " + kQ + "weight: "}),
      header_of("torchao_bits", "torchao-int4-g32",
                {"\"" + kQ +
                     "weight\":\"{\\\"_type\\\": \\\"IntxUnpackedToInt8Tensor\\\", "
                     "\\\"_data\\\": {\\\"target_dtype\\\": {\\\"_type\\\": \\\"torch.dtype\\\", "
                     "\\\"_data\\\": \\\"int4",
                 "\"" + kQ +
                     "weight\":\"{\\\"_type\\\": \\\"IntxUnpackedToInt8Tensor\\\", "
                     "\\\"_data\\\": {\\\"target_dtype\\\": {\\\"_type\\\": \\\"torch.dtype\\\", "
                     "\\\"_data\\\": \\\"int1"},
                {kQ + "_weight_qdata: target_dtype `int1` in the metadata"}),
      header_of("torchao_pairs_scales", "torchao-int4-pairs-g32",
                shape("_weight_scale", "BF16", "[2,64]", "[128,1]"),
                {kQ + "_weight_scale: 128 groups do not cut 64 columns"}),
      header_of("torchao_pairs_zeros", "torchao-int4-pairs-g32",
                shape("_weight_zero_point", "BF16", "[2,64]", "[64,2]"),
                {kQ + "_weight_zero_point: has shape [64, 2], config.json asks for [2, 64]"}),
      header_of("hqq_shape", hqq, shape("W_q", "U8", "[32,64]", "[64,32]"),
                {kQ + "W_q: has shape [64, 32], config.json asks for [32, 64]"}),
      header_of("hqq_zero_type", hqq, dtype("zero", "F16", "BF16"),
                {kQ + "zero: has type BF16; supported here: F16"}),
      header_of("bitnet_shape", "bitnet", shape("weight", "U8", "[16,64]", "[64,16]"),
                {kQ + "weight: has shape [64, 16], config.json asks for [16, 64]"}),
  };
}

// Parts that the way of reading leaves out are not left out in silence.
std::vector<HostileFile> leftover_cases() {
  const std::string gptq = "gptq-4bit-g32-asym", hqq = "hqq-4bit-g64";
  return {
      header_of("gptq_plain", gptq,
                {"layers.0.self_attn.k_proj.qzeros\":{", "layers.0.self_attn.q_proj.weight\":{"},
                {kQ + "weight: is not used by gptq", "quantize the original model again"}),
      header_of("hqq_plain", hqq,
                {"layers.0.self_attn.k_proj.zero\":{", "layers.0.self_attn.q_proj.weight\":{"},
                {kQ + "weight: is not used by hqq"}),
      header_of("awq_plain", "awq-4bit-g32",
                {"layers.0.self_attn.k_proj.qzeros\":{", "layers.0.self_attn.q_proj.weight\":{"},
                {kQ + "weight: is not used by awq"}),
      header_of(
          "torchao_plain", "torchao-int8",
          {"layers.0.self_attn.k_proj._weight_scale\":{", "layers.0.self_attn.q_proj.weight\":{"},
          {kQ + "weight: is not used by torchao"}),
      header_of("fp8_two_scales", "fp8-b128x128",
                {"layers.0.self_attn.k_proj.weight_scale_inv\":{",
                 "layers.0.self_attn.q_proj.weight_scale\":{"},
                {kQ + "weight_scale: is not used by fp8 with weight_scale_inv"}),
      header_of("ct_mxfp4_outer", "ct-mxfp4",
                {"layers.0.self_attn.k_proj.weight_scale\":{",
                 "layers.0.self_attn.q_proj.weight_global_scale\":{"},
                {kQ + "weight_global_scale: is not used by mxfp4"}),
      header_of("ct_nvfp4_zeros", "ct-nvfp4",
                {"layers.0.self_attn.k_proj.weight_scale\":{",
                 "layers.0.self_attn.q_proj.weight_zero_point\":{"},
                {kQ + "weight_zero_point: is not used by nvfp4"}),
      header_of("ct_words_outer", "ct-pack-int4-g32-sym",
                {"layers.0.self_attn.k_proj.weight_scale\":{",
                 "layers.0.self_attn.q_proj.weight_global_scale\":{"},
                {kQ + "weight_global_scale: is not used by pack-quantized"}),
      header_of("ct_codes_outer", "ct-fp8-channel",
                {"layers.0.self_attn.k_proj.weight_scale\":{",
                 "layers.0.self_attn.q_proj.weight_global_scale\":{"},
                {kQ + "weight_global_scale: is not used by codes with one level"}),
  };
}

std::vector<HostileFile> data_cases() {
  return {
      data_of("gptq_group_9", "gptq-4bit-g32-asym", {kQ + "g_idx", raw(int32_t{9})},
              {kQ + "g_idx: column 0 belongs to group 9, there are 2"}),
      data_of("gptq_group_minus_1", "gptq-4bit-g32-desc-act", {kQ + "g_idx", raw(int32_t{-1})},
              {kQ + "g_idx: column 0 belongs to group -1"}),
      data_of("ct_shape", "ct-pack-int4-g32-sym", {kQ + "weight_shape", raw(int64_t{65})},
              {kQ + "weight_shape: is [65, 64], the model's hyperparameters ask for [64, 64]"}),
      data_of("ct_outer_0", "ct-nvfp4", {kQ + "weight_global_scale", raw(0.0f)},
              {kQ + "weight_global_scale: is 0, must be above 0"}),
      data_of("torchao_code", "torchao-int4-g32", {kQ + "_weight_qdata", "\x09"},
              {kQ + "_weight_qdata: holds the code 9, which has more than 4 bits"}),
      data_of("torchao_zero", "torchao-int4-g32", {kQ + "_weight_zero_point", "\x64"},
              {kQ + "_weight_zero_point: holds 100"}),
      data_of("hqq_bits", "hqq-4bit-g64", {kQ + "nbits", raw(int32_t{5})},
              {kQ + "W_q: nbits is 5; supported"}),
      data_of("hqq_axis", "hqq-4bit-g64", {kQ + "axis", raw(int32_t{0})},
              {kQ + "W_q: axis is 0: groups lie along the rows"}),
      data_of("hqq_group", "hqq-4bit-g64", {kQ + "group_size", raw(int32_t{48})},
              {kQ + "W_q: groups of 48 do not divide K = 64"}),
      data_of("hqq_meta", "hqq-4bit-g64", {kQ + "quant_scale", "\x01"},
              {kQ + "quant_scale: scales or zeros that are quantized themselves"}),
      data_of("bitnet_code", "bitnet", {kQ + "weight", "\xff"}, {kQ + "weight: holds the code 3"}),
      data_of("bitnet_scale", "bitnet", {kQ + "weight_scale", raw(uint16_t{0})},
              {kQ + "weight_scale: is 0, must be above 0"}),
  };
}

}  // namespace

std::vector<HostileFile> hostile_quantized_files() {
  std::vector<HostileFile> all;
  for (const auto& cases : {config_cases(), header_cases(), leftover_cases(), data_cases()}) {
    all.insert(all.end(), cases.begin(), cases.end());
  }
  return all;
}

}  // namespace lowbit::fixtures
