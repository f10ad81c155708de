// The hyperparameters of a gpt-fast checkpoint, which holds weights only.
#pragma once

#include "load/hyperparams.h"
#include "load/stored.h"

namespace lowbit {

// Under Hugging Face's names, from the first of: config.json of the folder; params.json, as Meta's
// models have it; the folder's name, looked up as the llama harness does (Llama-2-7b-chat-hf is a
// 7B). Sizes that the tensors (gpt-fast names) show are taken from them in the last two cases.
// Error: no file, and a name that is not known.
Hyperparams gpt_fast_config(const Folder& folder, const StoredTensors& tensors);

}  // namespace lowbit
