// A model's weights, hyperparameters and tokenizer, wherever they come from:
//   a Hugging Face folder   config.json, *.safetensors or pytorch_model*.bin (sharded or not),
//                           tokenizer files; weights that another tool has quantized:
//                           load/quantized.h
//   model.pth               weights of the llama harness (gpt-fast's names) or of Meta, shape from
//                           config.json, params.json or the name of the folder
//   a .gguf file            everything inside; names and row order turned into Hugging Face's
//   synthetic:NAME[@SEED]   a shape of configs/models with deterministic random weights
// Knows no device and no architecture: the model asks for the tensors it needs, by name and shape.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "formats/qtensor.h"
#include "load/hyperparams.h"
#include "load/stored.h"
#include "tokenizer/tokenizer.h"

namespace lowbit {

// A file of a model that holds no weights: tokenizer, generation settings, ...
struct SideFile {
  std::string name;
  Bytes data;
};

// A tensor's row i is row (i + first) % n of the `n` rows that others share.
struct TurnedRows {
  std::string shared;  // what they are called
  int64_t first = 0;
};

class Checkpoint {
 public:
  virtual ~Checkpoint() = default;

  virtual std::string source() const = 0;           // as the user named it
  virtual std::string container() const = 0;        // "safetensors", "gguf v3", "synthetic"
  virtual bool synthetic() const { return false; }  // random weights: no quality figures
  virtual const Hyperparams& config() const = 0;

  // Every tensor in the files, Hugging Face names, sorted. Empty for synthetic weights.
  virtual std::vector<std::string> tensor_names() const = 0;
  virtual bool has(const std::string& name) const = 0;

  // The tensor `name` as [n, k] (n = 1 for a vector of k) in the format it is stored in, viewing
  // the mapped file where its bytes are already canonical. Error: absent, other shape, a type that
  // no format of ours holds (names file, tensor and both shapes).
  virtual QTensor tensor(const std::string& name, int64_t n, int64_t k) const = 0;

  // The same without its numbers: format and checked shape, the planes empty. What a plan needs.
  virtual QTensor outline(const std::string& name, int64_t n, int64_t k) const = 0;

  // Of synthetic weights: which rows make up the matrix `name` of n rows, so that a loader that
  // has quantized them for one layer need not do so for the others. nullopt: its own.
  virtual std::optional<TurnedRows> turned_rows(const std::string& name, int64_t n) const {
    (void)name, (void)n;
    return std::nullopt;
  }

  // What the files hold, by type. Empty for synthetic weights.
  virtual std::vector<StoredType> stored_types() const = 0;

  // The same for the same weights (hash_of in load/stored.h); of synthetic ones it is that of their
  // shape and seed.
  virtual std::string hash() const = 0;

  // What a Hugging Face folder with the same model needs beside its weights: the text of
  // config.json, and every other file. Not for synthetic weights.
  virtual std::string config_json() const = 0;
  virtual std::vector<SideFile> side_files() const = 0;
  // One line each: what a user should know about weights that another tool has quantized.
  virtual std::vector<std::string> remarks() const { return {}; }

  // nullptr if the model has none (synthetic weights, a bare folder).
  virtual std::unique_ptr<Tokenizer> tokenizer() const = 0;

  // Ids that end a generation: generation_config.json, config.json or GGUF metadata. May be empty.
  virtual std::vector<int32_t> eos_ids() const = 0;
};

// Error names what was looked for; an unknown synthetic shape gets suggestions.
std::unique_ptr<Checkpoint> open_checkpoint(const std::string& model);

// The shapes of configs/models, linked into the binary.
std::vector<std::string> synthetic_names();

}  // namespace lowbit
