// The backends of this binary. The only place that names ref, cpu and cuda together.
#pragma once

#include <span>
#include <string_view>

#include "ops/backend.h"

namespace lowbit {

std::span<const Backend* const> backends();

// By name, as --device takes it. Error lists the known ones and says why cuda is not among them
// where it is not.
const Backend& find_backend(std::string_view name);

}  // namespace lowbit
