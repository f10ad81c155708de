// Which tokenizer files a folder has, and what tokenizer_config.json adds to them.
#include <algorithm>

#include "base/check.h"
#include "base/file.h"
#include "base/text.h"
#include "tokenizer/json_reader.h"
#include "tokenizer/spec.h"

namespace lowbit {
namespace {

using Json = nlohmann::json;

// Tokens that end a generation by their well-known names, for folders that do not say.
constexpr std::string_view kEndTokens[] = {"</s>",       "<|end_of_text|>", "<|eot_id|>",
                                           "<|eom_id|>", "<|endoftext|>",   "<|im_end|>"};

struct Config {
  std::optional<bool> add_bos;
  std::optional<std::string> bos, eos;
};

// A token is a string, an AddedToken object with its content, or null.
std::optional<std::string> token_name(const Json& config, const char* key) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return std::nullopt;
  const Json& value =
      found->is_object() && found->contains("content") ? (*found)["content"] : *found;
  if (!value.is_string()) throw_error("{}: expected a string", key);
  return value.get<std::string>();
}

Config read_config(const Folder& folder) {
  const std::string name = "tokenizer_config.json";
  const auto bytes = folder.find(name);
  Config config;
  if (!bytes) return config;
  return with_context(folder.path_of(name), [&] {
    const Json json = read_json(bytes->text());
    if (const auto found = json.find("add_bos_token"); found != json.end() && !found->is_null()) {
      if (!found->is_boolean()) throw_error("add_bos_token: expected true or false");
      config.add_bos = found->get<bool>();
    }
    config.bos = token_name(json, "bos_token");
    config.eos = token_name(json, "eos_token");
    return config;
  });
}

std::optional<int32_t> find_added(const BpeSpec& spec, std::string_view text) {
  for (const AddedToken& token : spec.added) {
    if (token.text == text) return token.id;
  }
  return std::nullopt;
}

void apply(const Config& config, BpeSpec* spec) {
  if (!spec->bos && config.bos) {
    spec->bos = find_added(*spec, *config.bos);
    spec->add_bos = config.add_bos.value_or(false);
  }
  if (config.eos) {
    if (const auto id = find_added(*spec, *config.eos)) spec->eos = {*id};
  }
  if (!spec->eos.empty()) return;
  for (const std::string_view name : kEndTokens) {
    if (const auto id = find_added(*spec, name)) spec->eos.push_back(*id);
  }
}

// Rank files are text that begins with base64; a sentencepiece model begins with the byte 0x0a.
bool looks_like_tiktoken(std::string_view text) {
  const std::string_view line = text.substr(0, std::min<size_t>(text.find('\n'), 2000));
  const size_t space = line.find(' ');
  return space != std::string_view::npos && space > 0 && parse_int(trim(line.substr(space + 1))) &&
         std::all_of(line.begin(), line.end(), [](char c) { return c >= ' ' || c == '\r'; });
}

std::unique_ptr<Tokenizer> load_model(const std::string& path, const Bytes& bytes,
                                      const Config& config) {
  if (looks_like_tiktoken(bytes.text())) {
    BpeSpec spec = parse_tiktoken(path, bytes.text());
    if (config.add_bos) spec.add_bos = *config.add_bos;
    return make_bpe_tokenizer(std::move(spec));
  }
  SpmSpec spec = parse_sentencepiece(path, bytes.text());
  if (config.add_bos) spec.add_bos = *config.add_bos;
  return make_spm_tokenizer(std::move(spec));
}

}  // namespace

std::unique_ptr<Tokenizer> load_tokenizer(const Folder& folder) {
  if (const auto bytes = folder.find("tokenizer.json")) {
    BpeSpec spec = parse_tokenizer_json(folder.path_of("tokenizer.json"), bytes->text());
    apply(read_config(folder), &spec);
    return make_bpe_tokenizer(std::move(spec));
  }
  std::string name = "tokenizer.model";
  auto bytes = folder.find(name);
  if (!bytes) {
    std::vector<std::string> found;
    for (const std::string& candidate : folder.names()) {
      if (candidate.ends_with(".tiktoken")) found.push_back(candidate);
    }
    if (found.empty()) return nullptr;
    if (found.size() > 1) {
      throw_error("{}: has several *.tiktoken files ({}); keep one", folder.path(),
                  join(found, ", "));
    }
    name = found[0];
    bytes = folder.find(name);
    if (!bytes) return nullptr;
    BpeSpec spec = parse_tiktoken(folder.path_of(name), bytes->text());
    const Config config = read_config(folder);
    if (config.add_bos) spec.add_bos = *config.add_bos;
    return make_bpe_tokenizer(std::move(spec));
  }
  return load_model(folder.path_of(name), *bytes, read_config(folder));
}

}  // namespace lowbit
