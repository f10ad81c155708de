// safetensors: 8 bytes of header length, a JSON header, then the tensors' bytes without holes.
// Source: https://huggingface.co/docs/safetensors ("Format"); as strict as the reference reader.
#pragma once

#include <map>
#include <string>

#include "load/stored.h"

namespace lowbit {

// The tensors of one file. Types that no format of ours holds are kept: only asking for such a
// tensor is an error, since models carry buffers that nobody reads.
StoredTensors parse_safetensors(const std::string& path, const Bytes& file);

// The tensors of a model folder: model.safetensors.index.json and the shards it names; else
// model.safetensors; else the only *.safetensors; else a complete set NAME-0000x-of-0000y.
StoredTensors open_safetensors(const Folder& folder);

// What the tools that wrote the folder's files left under __metadata__, of all files together; of
// keys that several files have, the first file's.
std::map<std::string, std::string> read_safetensors_metadata(const Folder& folder);

}  // namespace lowbit
