// How lowbit itself stores a quantized model: an ordinary Hugging Face folder whose config.json
// says
//
//   "quantization_config": {
//     "quant_method": "lowbit", "version": 1, "written_by": "lowbit 0.1.0",
//     "formats": {"model.layers.0.mlp.down_proj.weight": "int4", ...},
//     "quantizers": {"model.layers.0.mlp.down_proj.weight": "hqq", ...}
//   }
//
// and whose safetensors hold each of these tensors as its canonical planes (formats/qtensor.h):
// NAME.codes, NAME.scales, NAME.zeros, NAME.meta, NAME.outer, those that the format has. A plane is
// [rows, numbers] of F32, F16 or BF16 where its numbers are such, else [rows, bytes] of U8. All
// other tensors are stored as they are.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "load/safetensors_writer.h"
#include "load/stored.h"

namespace lowbit {

inline constexpr int64_t kContainerVersion = 1;

// The tensors that hold the planes of `name`, in the order of kPlanes.
std::vector<SafetensorsEntry> plane_entries(const std::string& name, const Format& format,
                                            int64_t n, int64_t k);

// Format of every quantized tensor from a quantization_config. Errors name `path`, the field and
// the cause; another version is refused by name.
std::map<std::string, Format> read_container_formats(const std::string& path,
                                                     const nlohmann::json& config);

// The tensor `name` of the given format, its planes viewing the file. Error: a plane is absent or
// has another type or shape than the format and [n, k] ask for.
QTensor container_tensor(const std::string& where, const StoredTensors& tensors,
                         const std::string& name, const Format& format, int64_t n, int64_t k);

}  // namespace lowbit
