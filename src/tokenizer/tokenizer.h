// Text to token ids and back. Three file formats, two algorithms: byte-level BPE (Hugging Face
// tokenizer.json, tiktoken ranks, GGUF "gpt2") and sentencepiece BPE (.model, GGUF "llama").
//
// Text that is not UTF-8. Python's tokenizers take only str, so each algorithm has a stated rule:
//   byte-level BPE without normalizers  every byte string survives encode + decode. Valid stretches
//                                       are pre-tokenized as texts of their own, each run of
//                                       invalid bytes between them is one piece.
//   sentencepiece                       each invalid byte becomes U+FFFD, as in its own library.
//   every other BPE                     as Python's bytes.decode(errors="replace") first.
//
// Unicode classes. The built-in patterns (Llama 3, Qwen 2, GPT-2) use utf8proc (2.8: Unicode 15.0),
// other patterns PCRE2 (10.42: Unicode 14.0); the Python packages carry newer tables. They can
// differ only on characters that were assigned later than the older of the two tables.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lowbit {

class Folder;

struct EncodeOptions {
  bool add_bos = true;         // if the tokenizer has a BOS token and its file asks for one
  bool parse_special = false;  // recognise special tokens written in the text; never by default,
                               // so that user text cannot inject them
};

// What decoding has to remember from one token to the next.
struct DecodeState {
  bool first = true;      // no token has been decoded yet (special ones do not count)
  uint32_t stripped = 0;  // leading spaces left out so far
  bool may_strip = true;  // still at the beginning of the text
};

// Immutable once made: every function may be called from several threads at once.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Any byte string is accepted. Error: a text of 2 GB or more, or a tokenizer file whose regular
  // expression needs too long on this text.
  virtual std::vector<int32_t> encode(std::string_view text, EncodeOptions options = {}) const = 0;

  // Appends the bytes of one more token. Error: an id outside the vocabulary.
  virtual void decode_next(int32_t id, bool keep_special, DecodeState* state,
                           std::string* text) const = 0;

  // The bytes of a token sequence. Special tokens are left out unless `keep_special`; an id below
  // vocab_size() that no token has (a gap in the file) gives nothing. The bytes need not be UTF-8.
  std::string decode(std::span<const int32_t> ids, bool keep_special = false) const;

  virtual int32_t vocab_size() const = 0;  // ids are below this
  virtual std::optional<int32_t> bos() const = 0;
  virtual std::vector<int32_t> eos() const = 0;  // ids that end a generation, may be empty
  virtual std::optional<int32_t> special_id(std::string_view text) const = 0;  // "<|eot_id|>"
  virtual std::string describe() const = 0;  // "byte-level BPE, 128256 tokens, tokenizer.json"
};

// The tokenizer of a Hugging Face folder: tokenizer.json, else tokenizer.model (sentencepiece, or
// Llama 3's tiktoken ranks: told apart by content), else the only *.tiktoken. nullptr: none there.
std::unique_ptr<Tokenizer> load_tokenizer(const Folder& folder);

// Turns ids into text piece by piece: holds back the bytes of a character until it is complete, and
// the leading space that sentencepiece strips, so that the pieces concatenate to decode(all ids).
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  std::string push(int32_t id);  // text that is now certain, often one token's
  std::string finish();          // what was held back; incomplete characters become U+FFFD

 private:
  const Tokenizer& tokenizer_;
  DecodeState state_;
  std::string held_;  // the start of a character: at most 3 bytes
};

}  // namespace lowbit
