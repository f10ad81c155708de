// BPE tokenizers: added tokens, normalizers and pre-tokenizers around a BpeModel.
#include <algorithm>

#include "base/check.h"
#include "base/text.h"
#include "base/utf8.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe_model.h"
#include "tokenizer/chars.h"
#include "tokenizer/spec.h"

namespace lowbit {
namespace {

void check_id(const char* what, int64_t id, size_t count) {
  if (id < 0 || id >= static_cast<int64_t>(count)) {
    throw_error("{}: id {} is outside the vocabulary of {} tokens", what, id, count);
  }
}

// Everything of a spec that later code takes for granted.
void check_spec(const BpeSpec& spec) {
  const size_t count = spec.tokens.size();
  if (count == 0) throw_error("the vocabulary is empty");
  if (!spec.texts.empty() && spec.texts.size() != count) {
    throw_error("{} tokens but {} texts", count, spec.texts.size());
  }
  for (const BpeMerge& merge : spec.merges) {
    check_id("merges", merge.left, count);
    check_id("merges", merge.right, count);
    check_id("merges", merge.result, count);
  }
  for (const AddedToken& token : spec.added) {
    check_id("added_tokens", token.id, count);
    if (!is_valid_utf8(token.text)) {
      throw_error("added token {} is not UTF-8: \"{}\"", token.id, printable(token.text));
    }
  }
  if (spec.byte_fallback) {
    for (const int32_t id : *spec.byte_fallback) check_id("byte_fallback", id, count);
  }
  if (spec.unknown) check_id("unk_token", *spec.unknown, count);
  if (spec.bos) check_id("bos_token", *spec.bos, count);
  for (const int32_t id : spec.eos) check_id("eos_token", id, count);
  for (size_t id = 0; spec.characters && id < count; ++id) {
    if (!is_valid_utf8(spec.tokens[id])) {
      throw_error("token {} is not UTF-8: \"{}\"", id, printable(spec.tokens[id]));
    }
  }
}

// Special tokens must not come out of ordinary text, so merging never arrives at one.
BpeSpec without_special_tokens(BpeSpec spec) {
  if (spec.texts.empty()) spec.texts = spec.tokens;
  std::vector<uint8_t> special(spec.tokens.size());
  for (const AddedToken& token : spec.added) {
    const auto id = static_cast<size_t>(token.id);
    if (spec.texts[id].empty()) spec.texts[id] = token.text;
    if (!token.special) continue;
    special[id] = 1;
    spec.tokens[id].clear();
  }
  std::erase_if(spec.merges, [&](const BpeMerge& merge) {
    return special[static_cast<size_t>(merge.left)] || special[static_cast<size_t>(merge.right)] ||
           special[static_cast<size_t>(merge.result)];
  });
  return spec;
}

struct Buffers {
  MergeScratch merge;
  PreTokenScratch pre_token;
  std::vector<std::string_view> pieces;
};

class BpeTokenizer final : public Tokenizer {
 public:
  explicit BpeTokenizer(BpeSpec spec)
      : spec_(without_special_tokens(std::move(spec))),
        model_(spec_),
        added_(spec_.added, spec_.normalizers),
        special_(spec_.tokens.size()) {
    for (const AddedToken& token : spec_.added) {
      if (token.special) special_[static_cast<size_t>(token.id)] = 1;
    }
    wants_utf8_ = spec_.characters || !spec_.normalizers.empty();
    for (const PreTokenStep& step : spec_.pre_tokenizer) wants_utf8_ |= step.changes_text();
    spec_.merges = {};
    spec_.merges.shrink_to_fit();
  }

  std::vector<int32_t> encode(std::string_view text, EncodeOptions options) const override {
    check_text_size(text);
    std::vector<int32_t> ids;
    ids.reserve(text.size() / 3 + 8);
    if (options.add_bos && spec_.add_bos && spec_.bos) ids.push_back(*spec_.bos);
    std::string clean;
    if (wants_utf8_ && !is_valid_utf8(text)) text = clean = replace_invalid_utf8(text);
    Buffers buffers;
    const char* start = text.data();
    with_context(spec_.source, [&] {
      added_.split_raw(text, options.parse_special, [&](std::string_view part, int32_t id) {
        if (id != TokenIndex::kNone) {
          ids.push_back(id);
        } else {
          encode_part(part, part.data() == start, options, &buffers, &ids);
        }
      });
    });
    return ids;
  }

  void decode_next(int32_t id, bool keep_special, DecodeState* state,
                   std::string* text) const override {
    check_vocab_id(id, vocab_size());
    const auto index = static_cast<size_t>(id);
    if (special_[index] && !keep_special) return;
    std::string_view token = spec_.texts[index];
    if (state->first && !spec_.strip_from_first_token.empty()) {
      state->first = false;
      append_without_mark(spec_.tokens[index].empty() ? token : spec_.tokens[index], text);
      return;
    }
    state->first = false;
    while (state->may_strip && !token.empty()) {
      state->may_strip = state->stripped < spec_.strip_leading_spaces && token[0] == ' ';
      if (!state->may_strip) break;
      token.remove_prefix(1);
      ++state->stripped;
    }
    text->append(token);
  }

  int32_t vocab_size() const override { return static_cast<int32_t>(spec_.tokens.size()); }
  std::optional<int32_t> bos() const override { return spec_.bos; }
  std::vector<int32_t> eos() const override { return spec_.eos; }

  std::optional<int32_t> special_id(std::string_view text) const override {
    for (const AddedToken& token : spec_.added) {
      if (token.text == text) return token.id;
    }
    return std::nullopt;
  }

  std::string describe() const override {
    return fmt::format("{} BPE, {} tokens, {}", spec_.characters ? "character" : "byte-level",
                       vocab_size(), file_name(spec_.source));
  }

 private:
  // A stretch without added tokens that are looked for in the raw text.
  void encode_part(std::string_view part, bool at_start, EncodeOptions options, Buffers* buffers,
                   std::vector<int32_t>* ids) const {
    std::string normal;
    if (!spec_.normalizers.empty()) part = normal = normalize(spec_.normalizers, part);
    const char* start = part.data();
    added_.split_normalized(part, options.parse_special, [&](std::string_view text, int32_t id) {
      if (id != TokenIndex::kNone) {
        ids->push_back(id);
      } else {
        encode_text(text, at_start && text.data() == start, buffers, ids);
      }
    });
  }

  void encode_text(std::string_view text, bool at_start, Buffers* buffers,
                   std::vector<int32_t>* ids) const {
    while (!text.empty()) {
      size_t valid = 0, invalid = 0;
      next_stretch(text, &valid, &invalid);
      encode_pieces(text.substr(0, valid), at_start, buffers, ids);
      if (invalid != 0) model_.encode(text.substr(valid, invalid), &buffers->merge, ids);
      text.remove_prefix(valid + invalid);
      at_start = false;
    }
  }

  // Splits off valid UTF-8 and the run of invalid bytes behind it.
  void next_stretch(std::string_view text, size_t* valid, size_t* invalid) const {
    size_t at = 0;
    while (at < text.size()) {
      if (wants_utf8_) {
        at = text.size();  // everything is valid already
        break;
      }
      if (static_cast<uint8_t>(text[at]) < 0x80) {
        ++at;
        continue;
      }
      const Utf8Char c = decode_utf8(text.substr(at));
      if (!c.valid) break;
      at += c.bytes;
    }
    *valid = at;
    while (at < text.size()) {
      const Utf8Char c = decode_utf8(text.substr(at));
      if (c.valid) break;
      at += c.bytes;
    }
    *invalid = at - *valid;
  }

  void encode_pieces(std::string_view text, bool at_start, Buffers* buffers,
                     std::vector<int32_t>* ids) const {
    buffers->pieces.clear();
    buffers->pre_token.texts.clear();
    pre_tokenize(spec_.pre_tokenizer, text, at_start, &buffers->pre_token, &buffers->pieces);
    for (const std::string_view piece : buffers->pieces) {
      model_.encode(piece, &buffers->merge, ids);
    }
  }

  void append_without_mark(std::string_view token, std::string* text) const {
    const std::string& mark = spec_.strip_from_first_token;
    for (size_t at; (at = token.find(mark)) != std::string_view::npos;) {
      text->append(token.substr(0, at));
      token.remove_prefix(at + mark.size());
    }
    text->append(token);
  }

  BpeSpec spec_;  // without merges
  BpeModel model_;
  AddedTokens added_;
  std::vector<uint8_t> special_;
  bool wants_utf8_ = false;
};

}  // namespace

std::unique_ptr<Tokenizer> make_bpe_tokenizer(BpeSpec spec) {
  const std::string source = spec.source;
  return with_context(source, [&] {
    check_spec(spec);
    return std::make_unique<BpeTokenizer>(std::move(spec));
  });
}

}  // namespace lowbit
