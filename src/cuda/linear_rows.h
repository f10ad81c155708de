// What the cuda backend lists (tiles.cc).
#pragma once

#include <span>

#include "ops/backend.h"

namespace lowbit::cuda {

std::span<const LinearKernel> linear_rows();
std::span<const Packer> packers();

}  // namespace lowbit::cuda
