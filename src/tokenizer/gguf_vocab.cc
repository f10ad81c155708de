// The tokenizer fields of a GGUF file to a spec.
#include <array>

#include "base/check.h"
#include "base/text.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/spec.h"

namespace lowbit {
namespace {

struct KnownPre {
  std::string_view name;
  KnownPattern pattern;
  bool ignore_merges;
  bool single_digits;  // digits are cut out before the pattern
};

// Names and meaning: llama.cpp, src/llama-vocab.cpp.
constexpr KnownPre kKnownPre[] = {
    {"llama-bpe", KnownPattern::kLlama3, true, false},
    {"llama-v3", KnownPattern::kLlama3, true, false},
    {"llama3", KnownPattern::kLlama3, true, false},
    {"gpt-2", KnownPattern::kGpt2, false, false},
    {"qwen2", KnownPattern::kQwen2, false, false},
    {"smollm", KnownPattern::kGpt2, false, true},
};

std::optional<int32_t> checked_id(const char* field, std::optional<int64_t> id, size_t count) {
  if (!id) return std::nullopt;
  if (*id < 0 || *id >= static_cast<int64_t>(count)) {
    throw_error("tokenizer.ggml.{}: id {} is outside the vocabulary of {} tokens", field, *id,
                count);
  }
  return static_cast<int32_t>(*id);
}

PieceType checked_type(const GgufVocab& vocab, size_t id) {
  if (vocab.types.empty()) return PieceType::kNormal;
  const int32_t type = vocab.types[id];
  if (type < 1 || type > 6) {
    throw_error("tokenizer.ggml.token_type: token {} has type {}, not one of 1 to 6", id, type);
  }
  return static_cast<PieceType>(type);
}

void check_sizes(const GgufVocab& vocab) {
  const size_t count = vocab.tokens.size();
  if (count == 0) throw_error("tokenizer.ggml.tokens is empty");
  if (!vocab.types.empty() && vocab.types.size() != count) {
    throw_error("tokenizer.ggml.token_type has {} entries for {} tokens", vocab.types.size(),
                count);
  }
}

std::vector<int32_t> end_ids(const GgufVocab& vocab) {
  std::vector<int32_t> ids;
  const auto eos = checked_id("eos_token_id", vocab.eos, vocab.tokens.size());
  const auto eot = checked_id("eot_token_id", vocab.eot, vocab.tokens.size());
  if (eos) ids.push_back(*eos);
  if (eot && eot != eos) ids.push_back(*eot);
  return ids;
}

void check_model(const GgufVocab& vocab, std::string_view model) {
  if (vocab.model != model) {
    throw_error("tokenizer.ggml.model is \"{}\"; supported are \"gpt2\" and \"llama\"",
                printable(vocab.model));
  }
}

const KnownPre& find_pre(const std::string& name) {
  std::vector<std::string> names;
  for (const KnownPre& known : kKnownPre) {
    if (known.name == name) return known;
    names.emplace_back(known.name);
  }
  throw_error("tokenizer.ggml.pre \"{}\" is not supported; known are {}", printable(name),
              join(names, ", "));
}

}  // namespace

BpeSpec bpe_spec_from_gguf(const GgufVocab& vocab) {
  return with_context(vocab.source, [&] {
    check_model(vocab, "gpt2");
    check_sizes(vocab);
    const KnownPre& pre = find_pre(vocab.pre);
    BpeSpec spec;
    spec.source = vocab.source;
    set_byte_level_tokens(vocab.tokens, &spec);
    std::vector<std::pair<std::string, std::string>> merges;
    for (const std::string& merge : vocab.merges) {
      const size_t space = merge.find(' ', 1);
      if (space == std::string::npos || merge.find(' ', space + 1) != std::string::npos) {
        throw_error("tokenizer.ggml.merges: entry {} is not \"LEFT RIGHT\": \"{}\"", merges.size(),
                    printable(merge));
      }
      merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
    }
    spec.merges = resolve_merges(vocab.tokens, merges);
    spec.ignore_merges = pre.ignore_merges;
    for (size_t id = 0; id < vocab.tokens.size(); ++id) {
      const PieceType type = checked_type(vocab, id);
      const bool special = type == PieceType::kControl || type == PieceType::kUnknown;
      if (!special && type != PieceType::kUserDefined) continue;
      spec.added.push_back(
          {.id = static_cast<int32_t>(id), .text = vocab.tokens[id], .special = special});
      spec.texts[id] = vocab.tokens[id];
    }
    if (pre.single_digits) {
      spec.pre_tokenizer.push_back({.kind = PreTokenStep::Kind::kDigits, .individual = true});
    }
    spec.pre_tokenizer.push_back({.known = pre.pattern});
    spec.bos = checked_id("bos_token_id", vocab.bos, vocab.tokens.size());
    // Converters leave the field out for Llama 3, whose tokenizer always adds it.
    spec.add_bos = vocab.add_bos.value_or(pre.pattern == KnownPattern::kLlama3);
    spec.eos = end_ids(vocab);
    return spec;
  });
}

SpmSpec spm_spec_from_gguf(const GgufVocab& vocab) {
  return with_context(vocab.source, [&] {
    check_model(vocab, "llama");
    check_sizes(vocab);
    if (vocab.scores.size() != vocab.tokens.size()) {
      throw_error("tokenizer.ggml.scores has {} entries for {} tokens", vocab.scores.size(),
                  vocab.tokens.size());
    }
    SpmSpec spec;
    spec.source = vocab.source;
    bool has_unknown = false;
    for (size_t id = 0; id < vocab.tokens.size(); ++id) {
      spec.pieces.push_back({vocab.tokens[id], vocab.scores[id], checked_type(vocab, id)});
      has_unknown |= spec.pieces.back().type == PieceType::kUnknown;
      spec.byte_fallback |= spec.pieces.back().type == PieceType::kByte;
    }
    const auto unknown = checked_id("unknown_token_id", vocab.unknown, vocab.tokens.size());
    if (!has_unknown) {
      spec.pieces[static_cast<size_t>(unknown.value_or(0))].type = PieceType::kUnknown;
    }
    spec.add_dummy_prefix = vocab.add_space_prefix.value_or(true);
    spec.remove_extra_whitespaces = vocab.remove_extra_whitespaces.value_or(false);
    spec.bos = checked_id("bos_token_id", vocab.bos, vocab.tokens.size());
    spec.add_bos = vocab.add_bos.value_or(true);
    spec.eos = end_ids(vocab);
    return spec;
  });
}

std::unique_ptr<Tokenizer> make_gguf_tokenizer(const GgufVocab& vocab) {
  if (vocab.model == "gpt2") return make_bpe_tokenizer(bpe_spec_from_gguf(vocab));
  return make_spm_tokenizer(spm_spec_from_gguf(vocab));
}

}  // namespace lowbit
