// Weights of a model folder that may be cut into several files.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "load/stored.h"

namespace lowbit {

// How the tool that wrote them names the files.
struct ShardNames {
  std::string_view index;           // JSON whose weight_map says which file has which tensor
  std::string_view single;          // all weights in one file
  std::string_view prefix, suffix;  // of any other: PREFIX...0000x-of-0000ySUFFIX
};

// The files that open_shards() would read, sorted; empty: none.
std::vector<std::string> shard_files(const Folder& folder, const ShardNames& names);

// All tensors: the index and the files it names; else the single file; else the only file with
// prefix and suffix; else a complete set of them. Errors: none of these, a file or tensor of the
// index is missing or more than it says, a tensor in two files.
StoredTensors open_shards(const Folder& folder, const ShardNames& names,
                          StoredTensors (*parse)(const std::string& path, const Bytes& file));

}  // namespace lowbit
