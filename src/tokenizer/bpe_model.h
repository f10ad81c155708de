// From a piece of text to ids: the part that every BPE tokenizer, sentencepiece included, shares.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tokenizer/merge.h"
#include "tokenizer/spec.h"
#include "tokenizer/token_index.h"

namespace lowbit {

class BpeModel {
 public:
  // Both check everything that a file can get wrong, and throw Error without the file's name.
  explicit BpeModel(const BpeSpec& spec);  // its tokens and merges; the rest is the tokenizer's
  explicit BpeModel(const SpmSpec& spec);
  BpeModel(const BpeModel&) = delete;  // the indexes view tokens_
  BpeModel& operator=(const BpeModel&) = delete;

  // Appends the ids of one piece. characters: `piece` must be valid UTF-8. scratch: any.
  void encode(std::string_view piece, MergeScratch* scratch, std::vector<int32_t>* ids) const;

  const PrefixMatcher& frozen() const { return frozen_; }

 private:
  void set_byte_ids();
  void set_ascii_ids();
  void add_merges(const BpeSpec& spec);
  void derive_rank_merges();
  void derive_score_merges(const SpmSpec& spec);
  void add_loose_characters();
  void find_whole_tokens(bool all);
  bool marks_lead_words() const;

  void encode_characters(std::string_view piece, MergeScratch* scratch,
                         std::vector<int32_t>* ids) const;
  void encode_word(std::string_view word, MergeScratch* scratch, std::vector<int32_t>* ids) const;
  void to_symbols(std::string_view word, std::vector<int32_t>* symbols) const;
  void emit(int32_t id, size_t begin, std::vector<int32_t>* ids) const;

  // By id; then characters that occur in tokens but are none themselves, which sentencepiece lets
  // merge all the same: they get ids from vocab_size_ on and are written as their expansion.
  std::vector<std::string> tokens_;
  int32_t vocab_size_ = 0;
  TokenIndex index_;  // tokens_ that merging may start from or arrive at
  TokenIndex whole_;  // those that a piece of just their bytes becomes
  MergeTable merges_;
  bool characters_ = false;

  std::array<int32_t, 256> byte_ids_{};

  // Only for characters_:
  std::array<int32_t, 128> ascii_ids_{};
  std::optional<std::array<int32_t, 256>> byte_fallback_;
  std::optional<int32_t> unknown_;
  bool fuse_unknown_ = false;
  bool split_words_ = false;  // no token goes on with U+2581 after something else: cut there
  PrefixMatcher frozen_;      // user-defined pieces: one symbol, never merged
  std::unordered_map<int32_t, std::vector<int32_t>> expansions_;
  std::vector<uint8_t> expands_;  // by id: expansions_ has it
};

}  // namespace lowbit
