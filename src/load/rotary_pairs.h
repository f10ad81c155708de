// Two orders of the rows of q and k. Hugging Face rotates row i of a head with row i + head_dim/2;
// Meta's own files, and with them llama.cpp's and gpt-fast's, have such a pair in rows 2i, 2i + 1.
#pragma once

#include <cstdint>
#include <string>

#include "formats/qtensor.h"

namespace lowbit {

// [n, k] of interleaved pairs, n = heads * head_dim, in Hugging Face's order; a bias is [1, n].
// Drops the pages of `stored`. Error names `file` and `name`.
QTensor split_rotary_pairs(const std::string& file, const std::string& name, QTensor stored,
                           int64_t heads);

}  // namespace lowbit
