// Which kernels will run a model's Linears, and why not others.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "models/model.h"

namespace lowbit {

// One line for each kind of Linear with its shape, format and kernels by rows of the activation,
// then the kernels that refused, by reason. Layers that are alike share a line.
std::string linears_text(const Model& model);

// The same as a list of objects: name, count, n, k, format, resident, bytes_each, layout, kernels,
// rejected.
nlohmann::ordered_json linears_json(const Model& model);

}  // namespace lowbit
