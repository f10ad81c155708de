// Hugging Face's tokenizer.json to a BpeSpec. What is not known is refused by its name: a
// normalizer that is passed over would give other ids without anybody noticing.
#include <algorithm>
#include <array>

#include "base/check.h"
#include "base/text.h"
#include "base/utf8.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/chars.h"
#include "tokenizer/json_reader.h"
#include "tokenizer/spec.h"

namespace lowbit {
namespace {

using Json = nlohmann::json;

// A value and its path in the file, for messages.
class Node {
 public:
  Node(const Json& json, std::string path) : json_(&json), path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  bool is_object() const { return json_->is_object(); }
  bool has(const char* key) const { return json_->contains(key) && !json_->at(key).is_null(); }

  Node at(const char* key) const {
    if (!json_->is_object()) fail("expected an object");
    if (!json_->contains(key)) fail(fmt::format("\"{}\" is missing", key));
    return {json_->at(key), path_.empty() ? key : path_ + "." + key};
  }

  std::vector<Node> items() const {
    if (!json_->is_array()) fail("expected a list");
    std::vector<Node> nodes;
    for (size_t i = 0; i < json_->size(); ++i) {
      nodes.emplace_back((*json_)[i], fmt::format("{}[{}]", path_, i));
    }
    return nodes;
  }

  const std::string& text() const {
    if (!json_->is_string()) fail("expected a string");
    return json_->get_ref<const std::string&>();
  }
  bool boolean() const {
    if (!json_->is_boolean()) fail("expected true or false");
    return json_->get<bool>();
  }
  int64_t integer(int64_t low, int64_t high) const {
    const bool fits = json_->is_number_integer() &&
                      !(json_->is_number_unsigned() && json_->get<uint64_t>() > INT64_MAX);
    if (!fits || json_->get<int64_t>() < low || json_->get<int64_t>() > high) {
      fail(fmt::format("expected an integer from {} to {}", low, high));
    }
    return json_->get<int64_t>();
  }

  bool boolean_or(const char* key, bool fallback) const {
    return has(key) ? at(key).boolean() : fallback;
  }
  std::string text_or(const char* key, const char* fallback) const {
    return has(key) ? at(key).text() : fallback;
  }

  [[noreturn]] void fail(const std::string& message) const {
    if (path_.empty()) throw Error(message);
    throw_error("{}: {}", path_, message);
  }
  [[noreturn]] void refuse(const std::string& type) const {
    fail(fmt::format("\"{}\" is not supported", printable(type)));
  }

 private:
  const Json* json_;
  std::string path_;
};

// {"String": "..."} or {"Regex": "..."}
struct Pattern {
  std::string text;
  bool regex = false;
};

Pattern parse_pattern(const Node& node) {
  if (node.has("Regex")) return {node.at("Regex").text(), true};
  return {node.at("String").text(), false};
}

std::shared_ptr<Regex> compile(const Node& node, const Pattern& pattern) {
  return std::make_shared<Regex>(pattern.regex ? Regex(node.path(), pattern.text)
                                               : Regex::literal(node.path(), pattern.text));
}

void parse_normalizer(const Node& node, BpeSpec* spec) {
  using Kind = Normalizer::Kind;
  const std::string& type = node.at("type").text();
  Normalizer step{};
  if (type == "Sequence") {
    for (const Node& item : node.at("normalizers").items()) parse_normalizer(item, spec);
    return;
  }
  if (type == "Prepend") {
    step.kind = Kind::kPrepend;
    step.text = node.at("prepend").text();
  } else if (type == "Replace") {
    step.kind = Kind::kReplace;
    step.text = node.at("content").text();
    const Pattern pattern = parse_pattern(node.at("pattern"));
    pattern.regex ? static_cast<void>(step.pattern = compile(node, pattern))
                  : static_cast<void>(step.from = pattern.text);
  } else if (type == "Strip") {
    step.kind = Kind::kStrip;
    step.left = node.boolean_or("strip_left", true);
    step.right = node.boolean_or("strip_right", true);
  } else if (type == "NFC") {
    step.kind = Kind::kNfc;
  } else if (type == "NFD") {
    step.kind = Kind::kNfd;
  } else if (type == "NFKC") {
    step.kind = Kind::kNfkc;
  } else if (type == "NFKD") {
    step.kind = Kind::kNfkd;
  } else if (type == "Lowercase") {
    step.kind = Kind::kLowercase;
  } else {
    node.refuse(type);
  }
  spec->normalizers.push_back(std::move(step));
}

PreTokenStep parse_split(const Node& node) {
  using Behaviour = PreTokenStep::Behaviour;
  constexpr std::pair<std::string_view, Behaviour> kBehaviours[] = {
      {"Isolated", Behaviour::kIsolated},
      {"Removed", Behaviour::kRemoved},
      {"Contiguous", Behaviour::kContiguous},
      {"MergedWithPrevious", Behaviour::kMergedBefore},
      {"MergedWithNext", Behaviour::kMergedAfter}};
  PreTokenStep step;
  const std::string& behaviour = node.at("behavior").text();
  const auto* found = std::find_if(std::begin(kBehaviours), std::end(kBehaviours),
                                   [&](const auto& known) { return known.first == behaviour; });
  if (found == std::end(kBehaviours)) node.at("behavior").refuse(behaviour);
  step.behaviour = found->second;
  step.invert = node.boolean_or("invert", false);
  const Pattern pattern = parse_pattern(node.at("pattern"));
  if (pattern.regex) step.known = find_known_pattern(pattern.text);
  if (!step.known) step.pattern = compile(node.at("pattern"), pattern);
  return step;
}

PreTokenStep parse_metaspace(const Node& node) {
  PreTokenStep step;
  step.kind = PreTokenStep::Kind::kMetaspace;
  step.replacement = node.text_or("replacement", kSpaceSymbol.data());
  if (step.replacement.empty() || decode_utf8(step.replacement).bytes != step.replacement.size()) {
    node.fail("\"replacement\" is not one character");
  }
  step.split = node.boolean_or("split", true);
  const bool add = node.boolean_or("add_prefix_space", true);
  const std::string scheme = node.text_or("prepend_scheme", add ? "always" : "never");
  if (scheme == "always") {
    step.prefix = PreTokenStep::Prefix::kAlways;
  } else if (scheme == "first") {
    step.prefix = PreTokenStep::Prefix::kFirst;
  } else if (scheme == "never") {
    step.prefix = PreTokenStep::Prefix::kNever;
  } else {
    node.at("prepend_scheme").refuse(scheme);
  }
  return step;
}

// Returns whether it is, or ends with, ByteLevel: then the model's symbols are bytes.
bool parse_pre_tokenizer(const Node& node, BpeSpec* spec) {
  const std::string& type = node.at("type").text();
  auto& steps = spec->pre_tokenizer;
  if (type == "Sequence") {
    bool byte_level = false;
    for (const Node& item : node.at("pretokenizers").items()) {
      if (byte_level) item.fail("a pre-tokenizer after ByteLevel is not supported");
      byte_level = parse_pre_tokenizer(item, spec);
    }
    return byte_level;
  }
  if (type == "ByteLevel") {
    if (node.boolean_or("add_prefix_space", true)) {
      steps.push_back({.kind = PreTokenStep::Kind::kPrefixSpace});
    }
    if (node.boolean_or("use_regex", true)) steps.push_back({.known = KnownPattern::kGpt2});
    return true;
  }
  if (type == "Split") {
    steps.push_back(parse_split(node));
  } else if (type == "Digits") {
    steps.push_back({.kind = PreTokenStep::Kind::kDigits,
                     .individual = node.boolean_or("individual_digits", false)});
  } else if (type == "Metaspace") {
    steps.push_back(parse_metaspace(node));
  } else {
    node.refuse(type);
  }
  return false;
}

// What a decoder does to each token, in order, until Fuse.
struct Decoder {
  bool byte_level = false;
  bool byte_fallback = false;
  bool fused = false;
  std::vector<std::pair<std::string, std::string>> replacements;
};

void parse_decoder(const Node& node, BpeSpec* spec, Decoder* decoder) {
  const std::string& type = node.at("type").text();
  if (type == "Sequence") {
    for (const Node& item : node.at("decoders").items()) parse_decoder(item, spec, decoder);
  } else if (type == "ByteLevel") {
    if (decoder->fused) node.fail("ByteLevel after Fuse is not supported");
    decoder->byte_level = true;
  } else if (type == "ByteFallback") {
    if (decoder->fused) node.fail("ByteFallback after Fuse is not supported");
    decoder->byte_fallback = true;
  } else if (type == "Fuse") {
    decoder->fused = true;
  } else if (type == "Replace") {
    const Pattern pattern = parse_pattern(node.at("pattern"));
    if (pattern.regex) node.fail("Replace with a regular expression is not supported");
    if (decoder->fused) node.fail("Replace after Fuse is not supported");
    const std::string& content = node.at("content").text();
    if (content.size() > pattern.text.size()) {
      node.fail("Replace by a longer text is not supported");
    }
    decoder->replacements.emplace_back(pattern.text, content);
  } else if (type == "Strip") {
    if (!decoder->fused) node.fail("Strip before Fuse is not supported");
    if (node.at("content").text() != " ") node.fail("Strip of anything but \" \" is not supported");
    if (node.at("stop").integer(0, INT64_MAX) != 0) {
      node.fail("Strip at the end (\"stop\" above 0) is not supported");
    }
    spec->strip_leading_spaces = static_cast<uint32_t>(node.at("start").integer(0, 1000));
  } else if (type == "Metaspace") {
    const PreTokenStep step = parse_metaspace(node);
    decoder->replacements.emplace_back(step.replacement, " ");
    if (step.prefix != PreTokenStep::Prefix::kNever) {
      spec->strip_from_first_token = step.replacement;
    }
  } else {
    node.refuse(type);
  }
}

// BOS in front, or nothing; anything else would have to be added to what encode() does.
void parse_post_processor(const Node& node, BpeSpec* spec) {
  const std::string& type = node.at("type").text();
  if (type == "Sequence") {
    for (const Node& item : node.at("processors").items()) parse_post_processor(item, spec);
    return;
  }
  if (type == "ByteLevel") return;  // it moves offsets, which we do not have
  if (type != "TemplateProcessing") node.refuse(type);
  bool text_seen = false;
  for (const Node& item : node.at("single").items()) {
    if (item.has("Sequence")) {
      text_seen = true;
      continue;
    }
    const std::string& name = item.at("SpecialToken").at("id").text();
    if (text_seen || spec->add_bos) {
      item.fail(fmt::format("\"{}\" {} is not supported, only one token in front of the text",
                            printable(name), text_seen ? "behind the text" : "as a second token"));
    }
    const Node special = node.at("special_tokens").at(name.c_str());
    const std::vector<Node> ids = special.at("ids").items();
    if (ids.size() != 1) special.fail("expected exactly one id");
    spec->bos = static_cast<int32_t>(ids[0].integer(0, INT32_MAX));
    spec->add_bos = true;
  }
}

void parse_added_tokens(const Node& node, BpeSpec* spec) {
  for (const Node& item : node.items()) {
    AddedToken token;
    token.id = static_cast<int32_t>(item.at("id").integer(0, INT32_MAX));
    token.text = item.at("content").text();
    token.special = item.boolean_or("special", false);
    token.lstrip = item.boolean_or("lstrip", false);
    token.rstrip = item.boolean_or("rstrip", false);
    token.single_word = item.boolean_or("single_word", false);
    token.normalized = item.boolean_or("normalized", !token.special);
    spec->added.push_back(std::move(token));
  }
}

// The vocabulary by id. A gap is an empty string; there may be some, but an absurd id must not make
// us reserve memory for it.
std::vector<std::string> vocabulary(TokenizerJson* file, const BpeSpec& spec) {
  const auto count = static_cast<int64_t>(file->vocab.size() + spec.added.size());
  const int64_t limit = 2 * count + 1024;
  int64_t highest = -1;
  const auto check = [&](int64_t id, const std::string& token) {
    if (id < 0 || id >= limit) {
      throw_error("token \"{}\" has id {}, outside of 0 to {} (there are {} tokens)",
                  printable(token), id, limit - 1, count);
    }
    highest = std::max(highest, id);
  };
  for (const auto& [token, id] : file->vocab) check(id, token);
  for (const AddedToken& token : spec.added) check(token.id, token.text);

  std::vector<std::string> vocab(static_cast<size_t>(highest + 1));
  std::vector<uint8_t> taken(vocab.size());
  for (auto& [token, id] : file->vocab) {
    const auto index = static_cast<size_t>(id);
    if (taken[index]) {
      throw_error("model.vocab: \"{}\" and \"{}\" have the same id {}", printable(vocab[index]),
                  printable(token), id);
    }
    taken[index] = 1;
    vocab[index] = std::move(token);
  }
  std::vector<uint8_t> added(vocab.size());
  for (const AddedToken& token : spec.added) {
    const auto index = static_cast<size_t>(token.id);
    if (added[index] || (taken[index] && vocab[index] != token.text)) {
      throw_error("added_tokens: \"{}\" has id {}, which is already another token's",
                  printable(token.text), token.id);
    }
    added[index] = 1;
    vocab[index] = token.text;
    // The library decodes a normalized token to what it looks for (since version 0.22 or so).
    if (token.normalized && !token.special) {
      vocab[index] = normalize(spec.normalizers, vocab[index]);
    }
  }
  return vocab;
}

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  if (from.empty()) return text;
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// The byte that "<0x0A>" names.
std::optional<uint8_t> byte_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  unsigned value = 0;
  for (const char c : token.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0) return std::nullopt;
    value = value * 16 + static_cast<unsigned>(digit);
  }
  return static_cast<uint8_t>(value);
}

void set_character_tokens(const std::vector<std::string>& vocab, const Decoder& decoder,
                          BpeSpec* spec) {
  spec->tokens = vocab;
  for (const std::string& token : vocab) {
    const auto byte = decoder.byte_fallback ? byte_token(token) : std::nullopt;
    std::string text = byte ? std::string(1, static_cast<char>(*byte)) : token;
    if (!byte) {
      for (const auto& [from, to] : decoder.replacements) text = replace_all(text, from, to);
    }
    spec->texts.push_back(std::move(text));
  }
}

void parse_byte_fallback(const std::vector<std::string>& vocab, BpeSpec* spec) {
  std::array<int32_t, 256> ids;
  ids.fill(-1);
  for (size_t id = 0; id < vocab.size(); ++id) {
    if (const auto byte = byte_token(vocab[id])) ids[*byte] = static_cast<int32_t>(id);
  }
  // As in the library, the fallback works for a character if all of its bytes have tokens; demand
  // them all.
  const auto missing = std::find(ids.begin(), ids.end(), -1);
  if (missing != ids.end()) {
    throw_error("model.byte_fallback: the vocabulary lacks <0x{:02X}>", missing - ids.begin());
  }
  spec->byte_fallback = ids;
}

void parse_model(const Node& model, const std::vector<std::string>& vocab, BpeSpec* spec) {
  if (model.has("dropout")) model.fail("\"dropout\" is not supported");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!model.text_or(key, "").empty()) model.fail(fmt::format("\"{}\" is not supported", key));
  }
  spec->ignore_merges = model.boolean_or("ignore_merges", false);
  spec->fuse_unknown = model.boolean_or("fuse_unk", false);
  if (model.has("unk_token")) {
    const std::string& unknown = model.at("unk_token").text();
    const auto found = std::find(vocab.begin(), vocab.end(), unknown);
    if (found == vocab.end()) {
      model.fail(fmt::format("unk_token \"{}\" is not in the vocabulary", printable(unknown)));
    }
    spec->unknown = static_cast<int32_t>(found - vocab.begin());
  }
  if (spec->characters && model.boolean_or("byte_fallback", false)) {
    parse_byte_fallback(vocab, spec);
  }
}

BpeSpec parse(std::string_view text) {
  TokenizerJson file = read_tokenizer_json(text);
  const Node root(file.rest, "");
  const Node model = root.at("model");
  if (!model.is_object()) model.fail("expected an object");
  const std::string type = model.text_or("type", "BPE");
  if (type != "BPE") model.refuse(type);
  if (!file.vocab_is_object) model.fail("\"vocab\" is missing or not an object");

  BpeSpec spec;
  if (root.has("added_tokens")) parse_added_tokens(root.at("added_tokens"), &spec);
  if (root.has("normalizer")) parse_normalizer(root.at("normalizer"), &spec);
  const bool byte_level =
      root.has("pre_tokenizer") && parse_pre_tokenizer(root.at("pre_tokenizer"), &spec);
  spec.characters = !byte_level;
  if (root.has("post_processor")) parse_post_processor(root.at("post_processor"), &spec);
  Decoder decoder;
  if (!root.has("decoder")) root.fail("\"decoder\" is missing");
  parse_decoder(root.at("decoder"), &spec, &decoder);
  if (byte_level != decoder.byte_level) {
    root.fail("ByteLevel must be both the pre_tokenizer (its last part) and the decoder");
  }
  if (byte_level && (decoder.byte_fallback || !decoder.replacements.empty())) {
    root.at("decoder").fail("ByteLevel together with other decoders is not supported");
  }

  const std::vector<std::string> vocab = vocabulary(&file, spec);
  byte_level ? set_byte_level_tokens(vocab, &spec) : set_character_tokens(vocab, decoder, &spec);
  parse_model(model, vocab, &spec);
  spec.merges = resolve_merges(vocab, file.merges);
  return spec;
}

}  // namespace

BpeSpec parse_tokenizer_json(const std::string& source, std::string_view text) {
  return with_context(source, [&] {
    BpeSpec spec = parse(text);
    spec.source = source;
    return spec;
  });
}

}  // namespace lowbit
