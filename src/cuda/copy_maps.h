// What bulk copies of rows that are cut into columns are told by the host.
#pragma once

#include <cuda.h>

namespace lowbit::cuda {

// Boxes of `rows` neighbouring rows of a matrix in device memory with rows of `row_bytes` and no
// end. In shared memory they are columns of `pitch` bytes (128, 64 or 32, a divisor of row_bytes)
// one below the other; in each, bits 4 to 6 of an address, as far as they are below `pitch`, are
// xor'ed with bits 7 to 9. `data`: aligned to 16 bytes.
CUtensorMap map_of_rows(const void* data, int row_bytes, int pitch, int rows);

}  // namespace lowbit::cuda
