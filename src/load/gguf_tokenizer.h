// The tokenizer inside a GGUF file.
#pragma once

#include <memory>

#include "load/gguf.h"
#include "tokenizer/tokenizer.h"

namespace lowbit {

// nullptr if the file has no tokenizer.ggml.model.
std::unique_ptr<Tokenizer> load_gguf_tokenizer(const GgufFile& file);

}  // namespace lowbit
