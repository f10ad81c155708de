// Weights that torch.save has written: a zip archive with one pickle, which says which tensor is
// where, and an entry of raw numbers for each storage.
//   NAME/data.pkl    {"layers.0.wq.weight": tensor(storage 7, offset, size, stride), ...}
//   NAME/data/7      the numbers of storage 7
//   NAME/byteorder   "little" (absent in older files)
// Source: torch/serialization.py, _save() and _load(). Nothing of the pickle is run
// (load/pickle.h), the storages are viewed where they lie in the file.
#pragma once

#include <string>

#include "load/stored.h"

namespace lowbit {

// The tensors of one file. The dict of tensors may be the value of "state_dict" or "model" of
// another. What is not a tensor is left out; a tensor whose elements do not lie next to each other
// keeps its name, and has a type that says so and that nobody can read.
StoredTensors parse_torch_file(const std::string& path, const Bytes& file);

// pytorch_model.bin.index.json and the files it names; else pytorch_model.bin; else a complete set
// pytorch_model-0000x-of-0000y.bin. Error if there is none.
StoredTensors open_torch_folder(const Folder& folder);
bool has_torch_weights(const Folder& folder);

}  // namespace lowbit
