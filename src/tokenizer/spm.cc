// Sentencepiece's BPE: white space becomes U+2581, the whole text is one piece for a BpeModel.
#include <cmath>

#include "base/check.h"
#include "base/text.h"
#include "base/utf8.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe_model.h"
#include "tokenizer/chars.h"
#include "tokenizer/spec.h"

namespace lowbit {
namespace {

void check_spec(const SpmSpec& spec) {
  if (spec.pieces.empty()) throw_error("the vocabulary is empty");
  const auto count = static_cast<int32_t>(spec.pieces.size());
  for (size_t id = 0; id < spec.pieces.size(); ++id) {
    const SpmPiece& piece = spec.pieces[id];
    if (!is_valid_utf8(piece.text)) {
      throw_error("piece {} is not UTF-8: \"{}\"", id, printable(piece.text));
    }
    if (!std::isfinite(piece.score)) throw_error("piece {}: its score is not a number", id);
    const int type = static_cast<int>(piece.type);
    if (type < 1 || type > 6) throw_error("piece {}: type {} is not one of 1 to 6", id, type);
  }
  if (spec.bos) check_vocab_id(*spec.bos, count);
  for (const int32_t id : spec.eos) check_vocab_id(id, count);
}

// Control and unknown pieces; user-defined ones are the model's business.
std::vector<AddedToken> special_tokens(const SpmSpec& spec) {
  std::vector<AddedToken> special;
  for (size_t id = 0; id < spec.pieces.size(); ++id) {
    const SpmPiece& piece = spec.pieces[id];
    if (piece.type == PieceType::kControl || piece.type == PieceType::kUnknown) {
      special.push_back({.id = static_cast<int32_t>(id), .text = piece.text});
    }
  }
  return special;
}

class SpmTokenizer final : public Tokenizer {
 public:
  explicit SpmTokenizer(SpmSpec spec)
      : spec_(std::move(spec)), model_(spec_), special_(special_tokens(spec_), {}) {
    for (const SpmPiece& piece : spec_.pieces) texts_.push_back(text_of(piece));
  }

  std::vector<int32_t> encode(std::string_view text, EncodeOptions options) const override {
    check_text_size(text);
    std::vector<int32_t> ids;
    ids.reserve(text.size() / 3 + 8);
    if (options.add_bos && spec_.add_bos && spec_.bos) ids.push_back(*spec_.bos);
    MergeScratch scratch;
    // Text between two special tokens is a text of its own, dummy prefix included.
    special_.split_raw(text, options.parse_special, [&](std::string_view part, int32_t id) {
      if (id != TokenIndex::kNone) {
        ids.push_back(id);
      } else {
        model_.encode(normalize_part(part), &scratch, &ids);
      }
    });
    return ids;
  }

  void decode_next(int32_t id, bool keep_special, DecodeState* state,
                   std::string* text) const override {
    check_vocab_id(id, vocab_size());
    const SpmPiece& piece = spec_.pieces[static_cast<size_t>(id)];
    std::string_view token = texts_[static_cast<size_t>(id)];
    if (piece.type == PieceType::kControl) {
      if (!keep_special) return;
      token = piece.text;
    }
    // The first piece that is not empty loses its space; with remove_extra_whitespaces every piece
    // that is nothing but one does, too.
    bool stripped = false;
    const bool strips = spec_.add_dummy_prefix || spec_.remove_extra_whitespaces;
    if (state->may_strip && strips && piece.text.starts_with(kSpaceSymbol) &&
        piece.type != PieceType::kUnknown && piece.type != PieceType::kControl) {
      token.remove_prefix(1);
      stripped = !spec_.remove_extra_whitespaces;
    }
    if (stripped || !token.empty()) state->may_strip = false;
    text->append(token);
  }

  int32_t vocab_size() const override { return static_cast<int32_t>(spec_.pieces.size()); }
  std::optional<int32_t> bos() const override { return spec_.bos; }
  std::vector<int32_t> eos() const override { return spec_.eos; }

  std::optional<int32_t> special_id(std::string_view text) const override {
    for (size_t id = 0; id < spec_.pieces.size(); ++id) {
      const SpmPiece& piece = spec_.pieces[id];
      const bool ordinary = piece.type == PieceType::kNormal || piece.type == PieceType::kUnused ||
                            piece.type == PieceType::kByte;
      if (!ordinary && piece.text == text) return static_cast<int32_t>(id);
    }
    return std::nullopt;
  }

  std::string describe() const override {
    return fmt::format("sentencepiece BPE, {} tokens, {}", vocab_size(), file_name(spec_.source));
  }

 private:
  std::string text_of(const SpmPiece& piece) const {
    if (piece.type == PieceType::kUnknown) return spec_.unknown_surface;
    if (piece.type == PieceType::kByte) {
      const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'A' + 10; };
      return {static_cast<char>(digit(piece.text[3]) * 16 + digit(piece.text[4]))};
    }
    std::string text;
    for (size_t i = 0; i < piece.text.size();) {
      const bool space = piece.text.compare(i, kSpaceSymbol.size(), kSpaceSymbol) == 0;
      text += space ? ' ' : piece.text[i];
      i += space ? kSpaceSymbol.size() : 1;
    }
    return text;
  }

  struct Prefix {
    std::string_view text;
    size_t bytes;  // of the input
  };
  // What the normalizer treats as one: a user-defined piece, or a character.
  Prefix prefix_at(std::string_view text, size_t at) const {
    if (static_cast<uint8_t>(text[at]) < 0x80 && model_.frozen().empty()) {
      return {text.substr(at, 1), 1};
    }
    if (model_.frozen().may_start(text[at])) {
      const size_t bytes = model_.frozen().longest_at(text, at).bytes;
      if (bytes != 0) return {text.substr(at, bytes), bytes};
    }
    const Utf8Char c = decode_utf8(text.substr(at));
    if (!c.valid) return {"\xEF\xBF\xBD", 1};
    return {text.substr(at, c.bytes), c.bytes};
  }

  std::string normalize_part(std::string_view text) const {
    const std::string_view space = spec_.escape_whitespaces ? kSpaceSymbol : std::string_view(" ");
    const bool squeeze = spec_.remove_extra_whitespaces;
    std::string out;
    out.reserve(text.size() + text.size() / 2);
    size_t at = 0;
    while (squeeze && at < text.size()) {
      const Prefix prefix = prefix_at(text, at);
      if (prefix.text != " ") break;
      at += prefix.bytes;
    }
    if (at == text.size()) return out;
    if (spec_.add_dummy_prefix && !spec_.treat_whitespace_as_suffix) out += space;
    bool after_space = squeeze;
    while (at < text.size()) {
      Prefix prefix = prefix_at(text, at);
      at += prefix.bytes;
      while (after_space && prefix.text.starts_with(' ')) prefix.text.remove_prefix(1);
      if (prefix.text.empty()) continue;
      for (const char c : prefix.text) c == ' ' ? out.append(space) : out.append(1, c);
      after_space = squeeze && prefix.text.ends_with(' ');
    }
    while (squeeze && out.ends_with(space)) out.resize(out.size() - space.size());
    if (spec_.add_dummy_prefix && spec_.treat_whitespace_as_suffix) out += space;
    return out;
  }

  SpmSpec spec_;
  BpeModel model_;
  AddedTokens special_;
  std::vector<std::string> texts_;  // what a piece decodes to, by id
};

}  // namespace

std::unique_ptr<Tokenizer> make_spm_tokenizer(SpmSpec spec) {
  const std::string source = spec.source;
  return with_context(source, [&] {
    check_spec(spec);
    return std::make_unique<SpmTokenizer>(std::move(spec));
  });
}

}  // namespace lowbit
