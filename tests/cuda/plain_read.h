// What attention is measured against: reading memory and nothing else.
#pragma once

#include <cstddef>

#include "ops/args.h"

namespace lowbit::cuda {

void plain_read(const void* data, size_t bytes, Stream stream);

}  // namespace lowbit::cuda
