// Finds and reads the tokenizer of a model.
#pragma once

#include <memory>

#include "base/file.h"
#include "tokenizer/tokenizer.h"

namespace lowbit {

// The tokenizer of a model folder; nullptr if the folder has no tokenizer file.
std::unique_ptr<Tokenizer> load_tokenizer(const Folder& folder);

}  // namespace lowbit
