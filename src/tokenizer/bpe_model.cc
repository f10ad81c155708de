#include "tokenizer/bpe_model.h"

#include <algorithm>

#include "base/check.h"
#include "base/text.h"
#include "tokenizer/chars.h"

namespace lowbit {
namespace {

// Deriving a token's merge takes time quadratic in its length; real tokens stay below 300 bytes.
constexpr size_t kMaxDerivedBytes = 1024;

void check_length(const std::string& token, int32_t id) {
  if (token.size() > kMaxDerivedBytes) {
    throw_error("token {} has {} bytes, at most {} are allowed", id, token.size(),
                kMaxDerivedBytes);
  }
}

bool is_mergeable(PieceType type) {
  return type == PieceType::kNormal || type == PieceType::kUserDefined ||
         type == PieceType::kUnused;
}

}  // namespace

BpeModel::BpeModel(const BpeSpec& spec)
    : tokens_(spec.tokens),
      vocab_size_(static_cast<int32_t>(spec.tokens.size())),
      index_(spec.tokens.size()),
      characters_(spec.characters),
      byte_fallback_(spec.byte_fallback),
      unknown_(spec.unknown),
      fuse_unknown_(spec.fuse_unknown),
      expands_(spec.tokens.size()) {
  for (int32_t id = 0; id < vocab_size_; ++id) {
    const std::string& token = tokens_[static_cast<size_t>(id)];
    if (!token.empty() && !index_.insert(token, id)) {
      throw_error("tokens {} and {} are the same: \"{}\"", index_.find(token), id,
                  printable(token));
    }
  }
  characters_ ? set_ascii_ids() : set_byte_ids();
  spec.ranks_are_ids ? derive_rank_merges() : add_merges(spec);
  const bool every_token_whole = spec.ranks_are_ids || spec.ignore_merges;
  split_words_ = characters_ && !every_token_whole && marks_lead_words();
  find_whole_tokens(every_token_whole);
}

BpeModel::BpeModel(const SpmSpec& spec)
    : vocab_size_(static_cast<int32_t>(spec.pieces.size())),
      characters_(true),
      fuse_unknown_(true) {
  std::array<int32_t, 256> byte_ids;
  byte_ids.fill(TokenIndex::kNone);
  for (const SpmPiece& piece : spec.pieces) {
    const auto id = static_cast<int32_t>(tokens_.size());
    tokens_.push_back(is_mergeable(piece.type) ? piece.text : "");
    if (is_mergeable(piece.type)) check_length(piece.text, id);
    if (piece.type == PieceType::kUserDefined && !piece.text.empty()) frozen_.add(piece.text, id);
    if (piece.type == PieceType::kUnknown) unknown_ = id;
    if (piece.type == PieceType::kByte) {
      int byte = -1;
      for (int i = 0; i < 256; ++i) {
        if (piece.text == fmt::format("<0x{:02X}>", i)) byte = i;
      }
      if (byte < 0) {
        throw_error("piece {} is of type byte but its text is \"{}\", not <0x00> to <0xFF>", id,
                    printable(piece.text));
      }
      byte_ids[static_cast<size_t>(byte)] = id;
    }
  }
  if (!unknown_) throw_error("no piece is of type unknown");
  if (spec.byte_fallback) {
    const auto* missing = std::find(byte_ids.begin(), byte_ids.end(), TokenIndex::kNone);
    if (missing != byte_ids.end()) {
      throw_error("byte_fallback needs 256 byte pieces, <0x{:02X}> is missing",
                  missing - byte_ids.begin());
    }
    byte_fallback_ = byte_ids;
  }
  frozen_.finish();
  add_loose_characters();
  index_ = TokenIndex(tokens_.size());
  for (size_t id = 0; id < tokens_.size(); ++id) {
    if (!tokens_[id].empty() && !index_.insert(tokens_[id], static_cast<int32_t>(id))) {
      throw_error("pieces {} and {} are the same: \"{}\"", index_.find(tokens_[id]), id,
                  printable(tokens_[id]));
    }
  }
  set_ascii_ids();
  derive_score_merges(spec);
  split_words_ = marks_lead_words();
  find_whole_tokens(false);
}

void BpeModel::set_byte_ids() {
  for (size_t byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    byte_ids_[byte] = index_.find({&c, 1});
    if (byte_ids_[byte] == TokenIndex::kNone) {
      throw_error("no token stands for the byte 0x{:02x}; byte-level BPE needs all 256", byte);
    }
  }
}

void BpeModel::set_ascii_ids() {
  for (size_t i = 0; i < ascii_ids_.size(); ++i) {
    const char c = static_cast<char>(i);
    ascii_ids_[i] = index_.find({&c, 1});
  }
}

void BpeModel::add_merges(const BpeSpec& spec) {
  merges_ = MergeTable(spec.merges.size());
  uint32_t rank = 0;
  for (const BpeMerge& merge : spec.merges) {
    if (!merges_.insert(merge.left, merge.right, {rank, merge.result})) {
      throw_error("merge {} repeats an earlier one: \"{}\" and \"{}\"", rank,
                  printable(tokens_[static_cast<size_t>(merge.left)]),
                  printable(tokens_[static_cast<size_t>(merge.right)]));
    }
    ++rank;
  }
}

void BpeModel::derive_rank_merges() {
  merges_ = MergeTable(tokens_.size());
  std::vector<size_t> cuts;
  for (int32_t id = 0; id < vocab_size_; ++id) {
    const std::string& token = tokens_[static_cast<size_t>(id)];
    check_length(token, id);
    cuts.clear();
    for (size_t i = 1; i <= token.size(); ++i) cuts.push_back(i);
    const size_t middle = last_merge(token, &cuts, [this](std::string_view bytes) {
      const int32_t rank = index_.find(bytes);
      return rank == TokenIndex::kNone ? Merge::kNever : static_cast<uint32_t>(rank);
    });
    if (middle == 0) continue;
    const std::string_view view = token;
    merges_.insert(index_.find(view.substr(0, middle)), index_.find(view.substr(middle)),
                   {static_cast<uint32_t>(id), id});
  }
}

// Gives an id and an expansion to every character of a mergeable piece that is no piece itself.
void BpeModel::add_loose_characters() {
  TokenIndex known(tokens_.size());
  std::vector<std::string> loose;
  for (size_t id = 0; id < tokens_.size(); ++id) {
    if (!tokens_[id].empty()) known.insert(tokens_[id], static_cast<int32_t>(id));
  }
  for (const std::string& token : tokens_) {
    for (size_t i = 0; i < token.size(); i += utf8_length(token[i])) {
      const std::string_view c = std::string_view(token).substr(i, utf8_length(token[i]));
      if (known.find(c) != TokenIndex::kNone) continue;
      known.insert(c, 0);
      loose.emplace_back(c);
    }
  }
  expands_.resize(tokens_.size());
  for (std::string& c : loose) {
    std::vector<int32_t>& ids = expansions_[static_cast<int32_t>(tokens_.size())];
    if (byte_fallback_) {
      for (const char byte : c) ids.push_back((*byte_fallback_)[static_cast<uint8_t>(byte)]);
    } else {
      ids.push_back(*unknown_);
    }
    expands_.push_back(1);
    tokens_.push_back(std::move(c));
  }
}

// The higher the score the earlier the merge: scores become ranks, equal ones the same rank.
void BpeModel::derive_score_merges(const SpmSpec& spec) {
  std::vector<float> scores;
  for (const SpmPiece& piece : spec.pieces) scores.push_back(piece.score);
  std::sort(scores.begin(), scores.end(), std::greater<>());
  scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
  std::vector<uint32_t> ranks;
  for (const SpmPiece& piece : spec.pieces) {
    const auto at = std::lower_bound(scores.begin(), scores.end(), piece.score, std::greater<>());
    ranks.push_back(static_cast<uint32_t>(at - scores.begin()));
  }
  merges_ = MergeTable(tokens_.size());
  std::vector<size_t> cuts;
  for (int32_t id = 0; id < vocab_size_; ++id) {
    const std::string_view token = tokens_[static_cast<size_t>(id)];
    if (token.empty() || spec.pieces[static_cast<size_t>(id)].type == PieceType::kUserDefined) {
      continue;
    }
    cuts.clear();
    bool has_frozen = false;
    for (size_t i = 0; i < token.size(); i += utf8_length(token[i])) {
      has_frozen |= frozen_.longest_at(token, i).bytes != 0;
      cuts.push_back(i + utf8_length(token[i]));
    }
    // A user-defined piece inside is one symbol that never merges.
    if (has_frozen) continue;
    const size_t middle = last_merge(token, &cuts, [&](std::string_view bytes) {
      const int32_t found = index_.find(bytes);
      return found == TokenIndex::kNone ? Merge::kNever : ranks[static_cast<size_t>(found)];
    });
    if (middle == 0) continue;
    const int32_t left = index_.find(token.substr(0, middle));
    const int32_t right = index_.find(token.substr(middle));
    merges_.insert(left, right, {ranks[static_cast<size_t>(id)], id});
    if (spec.pieces[static_cast<size_t>(id)].type == PieceType::kUnused) {
      expands_[static_cast<size_t>(id)] = 1;  // merged over, but written as its two halves
      expansions_[id] = {left, right};
    }
  }
}

// Which tokens does a piece of exactly their bytes become? Only those may be looked up whole.
void BpeModel::find_whole_tokens(bool all) {
  MergeScratch scratch;
  whole_ = TokenIndex(tokens_.size());
  for (int32_t id = 0; id < vocab_size_; ++id) {
    const std::string& token = tokens_[static_cast<size_t>(id)];
    if (token.empty() || expands_[static_cast<size_t>(id)]) continue;
    if (!all) {
      to_symbols(token, &scratch.symbols);
      merge_symbols(merges_, &scratch);
      if (scratch.symbols.size() != 1 || scratch.symbols[0] != id) continue;
    }
    whole_.insert(token, id);
  }
}

// No merge can cross from something else into U+2581 if no token has the two in this order.
bool BpeModel::marks_lead_words() const {
  for (const std::string& token : tokens_) {
    size_t mark = 0;
    while (token.compare(mark, kSpaceSymbol.size(), kSpaceSymbol) == 0) mark += kSpaceSymbol.size();
    if (token.find(kSpaceSymbol, mark) != std::string::npos) return false;
  }
  return true;
}

void BpeModel::encode(std::string_view piece, MergeScratch* scratch,
                      std::vector<int32_t>* ids) const {
  if (characters_) return encode_characters(piece, scratch, ids);
  const int32_t whole = whole_.find(piece);
  if (whole != TokenIndex::kNone) {
    ids->push_back(whole);
    return;
  }
  to_symbols(piece, &scratch->symbols);
  merge_symbols(merges_, scratch);
  ids->insert(ids->end(), scratch->symbols.begin(), scratch->symbols.end());
}

void BpeModel::encode_characters(std::string_view piece, MergeScratch* scratch,
                                 std::vector<int32_t>* ids) const {
  const size_t begin = ids->size();
  const auto flush = [&](size_t from, size_t to) {
    if (from == to) return;
    const std::string_view word = piece.substr(from, to - from);
    const int32_t whole = whole_.find(word);
    if (whole != TokenIndex::kNone) {
      emit(whole, begin, ids);
      return;
    }
    to_symbols(word, &scratch->symbols);
    merge_symbols(merges_, scratch);
    for (const int32_t id : scratch->symbols) emit(id, begin, ids);
  };
  size_t word = 0;
  bool after_mark = true;
  for (size_t at = 0; at < piece.size();) {
    if (!frozen_.empty() && frozen_.may_start(piece[at])) {
      const PrefixMatcher::Match match = frozen_.longest_at(piece, at);
      if (match.bytes != 0) {
        flush(word, at);
        ids->push_back(match.value);
        word = at += match.bytes;
        continue;
      }
    }
    const bool mark = split_words_ && piece[at] == kSpaceSymbol[0] &&
                      piece.substr(at, kSpaceSymbol.size()) == kSpaceSymbol;
    if (mark && !after_mark) {
      flush(word, at);
      word = at;
    }
    after_mark = mark;
    at += utf8_length(piece[at]);
  }
  flush(word, piece.size());
}

void BpeModel::to_symbols(std::string_view word, std::vector<int32_t>* symbols) const {
  symbols->clear();
  if (!characters_) {
    for (const char c : word) symbols->push_back(byte_ids_[static_cast<uint8_t>(c)]);
    return;
  }
  for (size_t at = 0; at < word.size();) {
    const std::string_view c = word.substr(at, utf8_length(word[at]));
    at += c.size();
    const auto lead = static_cast<uint8_t>(c[0]);
    const int32_t id = lead < 128 ? ascii_ids_[lead] : index_.find(c);
    if (id != TokenIndex::kNone) {
      symbols->push_back(id);
    } else if (byte_fallback_) {
      for (const char byte : c) symbols->push_back((*byte_fallback_)[static_cast<uint8_t>(byte)]);
    } else if (unknown_) {
      symbols->push_back(*unknown_);
    }
  }
}

void BpeModel::emit(int32_t id, size_t begin, std::vector<int32_t>* ids) const {
  if (expands_[static_cast<size_t>(id)]) {
    for (const int32_t part : expansions_.at(id)) emit(part, begin, ids);
  } else if (!(fuse_unknown_ && id == unknown_ && ids->size() > begin && ids->back() == id)) {
    ids->push_back(id);
  }
}

}  // namespace lowbit
