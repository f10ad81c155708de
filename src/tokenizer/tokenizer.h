// Text to token ids and back. Three file formats, two algorithms: byte-level BPE (Hugging Face
// tokenizer.json, tiktoken ranks, GGUF "gpt2") and sentencepiece BPE (.model, GGUF "llama").
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lowbit {

struct EncodeOptions {
  bool add_bos = true;         // if the tokenizer has a BOS token and its file asks for one
  bool parse_special = false;  // recognise special tokens written in the text; never by default,
                               // so that user text cannot inject them
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Any byte string is accepted; what is not valid UTF-8 is handled as the model's own tools do.
  virtual std::vector<int32_t> encode(std::string_view text, EncodeOptions options = {}) const = 0;

  // The bytes of a token sequence. Special tokens are left out unless `keep_special`. Ids outside
  // the vocabulary: Error.
  virtual std::string decode(std::span<const int32_t> ids, bool keep_special = false) const = 0;

  virtual int32_t vocab_size() const = 0;  // ids are below this
  virtual std::optional<int32_t> bos() const = 0;
  virtual std::vector<int32_t> eos() const = 0;  // ids that end a generation, may be empty
  virtual std::optional<int32_t> special_id(std::string_view text) const = 0;  // "<|eot_id|>"
  virtual std::string describe() const = 0;  // "byte-level BPE, 128256 tokens, tokenizer.json"
};

// Turns ids into text piece by piece: holds back the bytes of a character until it is complete, and
// the leading space that sentencepiece strips, so that the pieces concatenate to decode(all ids).
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  std::string push(int32_t id);  // text that is now certain, often one token's
  std::string finish();          // what was held back; incomplete characters become U+FFFD

 private:
  const Tokenizer& tokenizer_;
  std::vector<int32_t> ids_;  // since the last point where nothing was held back
  size_t emitted_ = 0;        // bytes of decode(ids_) already returned
};

}  // namespace lowbit
