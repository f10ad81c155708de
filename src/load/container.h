// How lowbit itself stores a quantized model: an ordinary Hugging Face folder whose config.json
// says
//
//   "quantization_config": {
//     "quant_method": "lowbit", "version": 1, "written_by": "lowbit 0.1.0",
//     "formats": {"model.layers.0.mlp.down_proj.weight": "int4", ...},
//     "quantizers": {"model.layers.0.mlp.down_proj.weight": "hqq", ...},
//     "decoded_from": {"lm_head.weight": "q6_k"}   of tensors that were quantized before
//   }
//
// and whose safetensors hold each of these tensors as its canonical planes (formats/qtensor.h):
// X.weight_codes, X.weight_scales, X.weight_zeros, X.weight_meta, X.weight_outer, those that the
// format has. A plane is [rows, numbers] of F32, F16 or BF16 where its numbers are such, else
// [rows, bytes] of U8. All other tensors are stored as they are. The reader is a row of
// load/quantized.h.
#pragma once

#include <string>
#include <vector>

#include "load/safetensors_writer.h"
#include "load/stored.h"

namespace lowbit {

inline constexpr int64_t kContainerVersion = 1;

// The tensors that hold the planes of `name`, in the order of kPlanes.
std::vector<SafetensorsEntry> plane_entries(const std::string& name, const Format& format,
                                            int64_t n, int64_t k);

}  // namespace lowbit
