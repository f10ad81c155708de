// Canonical tensors whose planes lie in device memory, for a backend that can copy there
// (Backend::copy): rows are turned and stacked without the host touching their bytes.
#pragma once

#include <span>

#include "formats/qtensor.h"
#include "ops/backend.h"

namespace lowbit {

QTensor copy_to_device(const Backend& backend, const QTensor& host);
QTensor copy_to_host(const Backend& backend, const QTensor& device);

// As permute_rows() where new row i is old row (i + by) % n; blocks of rows are of one row, or of
// all.
QTensor turn_rows(const Backend& backend, const QTensor& device, int64_t by);

// As stack_rows(), of parts in device memory.
QTensor stack_rows(const Backend& backend, std::span<const QTensor> parts);

}  // namespace lowbit
