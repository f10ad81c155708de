// What a tokenizer is, apart from the file it came from: the loaders fill one of two specs, the
// factories check it and turn it into a Tokenizer.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/normalize.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/tokenizer.h"

namespace lowbit {

// A token that is found in the text before anything else happens to it.
struct AddedToken {
  int32_t id = 0;
  std::string text;
  bool special = true;       // found only with parse_special, left out by decode
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // and after it
  bool single_word = false;  // only where no word character touches it
  bool normalized = false;   // looked for after the normalizers instead of before
};

struct BpeMerge {
  int32_t left, right, result;
};

struct BpeSpec {
  std::string source;  // the file, for messages

  // Ids index all of these. A token's bytes as encoding sees them ("" if it never comes out of
  // encoding) and as decoding writes them; `texts` may stay empty when both are the same.
  std::vector<std::string> tokens;
  std::vector<std::string> texts;
  std::vector<AddedToken> added;

  // Either a list of merges, the first the most urgent, or (tiktoken) none, and any two neighbours
  // whose bytes together are a token may merge, the lowest id first.
  bool ranks_are_ids = false;
  std::vector<BpeMerge> merges;
  bool ignore_merges = false;  // a piece that is a token needs no merging (always so with ranks)

  // Where merging starts: at bytes, or (Llama 2 as tokenizer.json) at characters.
  bool characters = false;
  std::optional<std::array<int32_t, 256>> byte_fallback;  // ids of <0x00>..<0xFF>
  std::optional<int32_t> unknown;                         // for characters that have no token
  bool fuse_unknown = false;                              // one id for several in a row

  std::vector<Normalizer> normalizers;
  std::vector<PreTokenStep> pre_tokenizer;

  // Decoding: spaces to leave out at the beginning of the text; the Metaspace decoder leaves every
  // U+2581 of the first token out.
  uint32_t strip_leading_spaces = 0;
  std::string strip_from_first_token;

  std::optional<int32_t> bos;
  bool add_bos = false;
  std::vector<int32_t> eos;
};

// The values are sentencepiece's and GGUF's.
enum class PieceType : uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

struct SpmPiece {
  std::string text;
  float score = 0;
  PieceType type = PieceType::kNormal;
};

struct SpmSpec {
  std::string source;
  std::vector<SpmPiece> pieces;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  bool treat_whitespace_as_suffix = false;
  bool byte_fallback = false;
  std::string unknown_surface = " \xE2\x81\x87 ";  // what the unknown token decodes to
  std::optional<int32_t> bos;
  bool add_bos = true;
  std::vector<int32_t> eos;
};

// Errors of both name `source`. What they accept is safe: every id is in range.
std::unique_ptr<Tokenizer> make_bpe_tokenizer(BpeSpec spec);
std::unique_ptr<Tokenizer> make_spm_tokenizer(SpmSpec spec);

// One file's content to a spec; `source` is its path.
BpeSpec parse_tokenizer_json(const std::string& source, std::string_view text);
BpeSpec parse_tiktoken(const std::string& source, std::string_view text);
SpmSpec parse_sentencepiece(const std::string& source, std::string_view bytes);

// The tokenizer fields of a GGUF file, as they are there (tokenizer.ggml.*).
struct GgufVocab {
  std::string source;
  std::string model;                // "gpt2" or "llama"
  std::string pre;                  // "llama-bpe"; only for "gpt2"
  std::vector<std::string> tokens;  // "gpt2": in the byte-level alphabet
  std::vector<float> scores;        // "llama" only
  std::vector<int32_t> types;       // PieceType; may be empty: all normal
  std::vector<std::string> merges;  // "a b"; "gpt2" only
  std::optional<int64_t> bos, eos, eot, unknown;
  std::optional<bool> add_bos, add_space_prefix, remove_extra_whitespaces;
};

BpeSpec bpe_spec_from_gguf(const GgufVocab& vocab);
SpmSpec spm_spec_from_gguf(const GgufVocab& vocab);
std::unique_ptr<Tokenizer> make_gguf_tokenizer(const GgufVocab& vocab);  // whichever it is

}  // namespace lowbit
