// The roofs of a backend: those of the host (bench/ceiling.h), or of a device with memory of its
// own, measured there.
#pragma once

#include <cstdint>
#include <vector>

#include "bench/ceiling.h"
#include "ops/backend.h"

namespace lowbit {

// As read_ceiling(bytes, seconds) of ceiling.h. On a device: the best pass of the fastest of its
// ways to read; working sets above 4 GiB or a quarter of the free memory are measured at that size.
// Error: not enough memory, or the device fails.
Ceiling read_ceiling(const Backend& backend, int64_t bytes, double seconds = 0.3);

// As compute_ceiling(products, seconds). 0: the device has no such products.
double compute_ceiling(const Backend& backend, Products products, double seconds = 0.2);

// Which products it has; the host has those of ceiling.h.
std::vector<Products> products_of(const Backend& backend);

}  // namespace lowbit
