// What open_checkpoint() chooses between: one function per kind of source. `model` is what the user
// wrote, for Checkpoint::source() and messages.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/file.h"
#include "load/checkpoint.h"

namespace lowbit {

// In a folder that was made from a GGUF file: its metadata, which hold the tokenizer.
inline constexpr std::string_view kTokenizerGguf = "tokenizer.gguf";

std::unique_ptr<Checkpoint> open_hf_checkpoint(const std::string& model,
                                               std::unique_ptr<Folder> folder);
std::unique_ptr<Checkpoint> open_gguf_checkpoint(const std::string& model, const Bytes& file);

// `file` of `folder`: weights of torch.save under the names of gpt-fast and of Meta's own files.
std::unique_ptr<Checkpoint> open_gpt_fast_checkpoint(const std::string& model,
                                                     std::unique_ptr<Folder> folder,
                                                     const std::string& file);

// `model` as "synthetic:NAME[@SEED]".
std::unique_ptr<Checkpoint> open_synthetic_checkpoint(const std::string& model);

// Ids that end a generation, from `eos_token_id`: absent, one id, or a list.
std::vector<int32_t> read_eos_ids(const Hyperparams& config);

// The same of generation_config.json of the folder, or else of its config.
std::vector<int32_t> folder_eos_ids(const Folder& folder, const Hyperparams& config);

// Every file of a model folder that is neither weights nor config.json.
std::vector<SideFile> side_files_of(const Folder& folder);

}  // namespace lowbit
