#include "load/gguf_tokenizer.h"

#include "tokenizer/spec.h"

namespace lowbit {
namespace {

std::optional<int64_t> id(const Hyperparams& values, std::string_view key) {
  if (!values.has(key)) return std::nullopt;
  return values.integer(key, 0, INT32_MAX);
}

std::optional<bool> flag(const Hyperparams& values, std::string_view key) {
  if (!values.has(key)) return std::nullopt;
  return values.boolean_or(key, false);
}

std::vector<std::string> copy(const std::vector<std::string_view>& texts) {
  return {texts.begin(), texts.end()};
}

}  // namespace

std::unique_ptr<Tokenizer> load_gguf_tokenizer(const GgufFile& file) {
  const Hyperparams& values = file.values();
  if (!values.has("tokenizer.ggml.model")) return nullptr;
  GgufVocab vocab;
  vocab.source = file.path();
  vocab.model = values.text("tokenizer.ggml.model");
  vocab.pre = values.text_or("tokenizer.ggml.pre", "");
  vocab.tokens = copy(file.texts("tokenizer.ggml.tokens"));
  vocab.scores = file.floats("tokenizer.ggml.scores");
  vocab.types = file.integers("tokenizer.ggml.token_type");
  vocab.merges = copy(file.texts("tokenizer.ggml.merges"));
  vocab.bos = id(values, "tokenizer.ggml.bos_token_id");
  vocab.eos = id(values, "tokenizer.ggml.eos_token_id");
  vocab.eot = id(values, "tokenizer.ggml.eot_token_id");
  vocab.unknown = id(values, "tokenizer.ggml.unknown_token_id");
  vocab.add_bos = flag(values, "tokenizer.ggml.add_bos_token");
  vocab.add_space_prefix = flag(values, "tokenizer.ggml.add_space_prefix");
  vocab.remove_extra_whitespaces = flag(values, "tokenizer.ggml.remove_extra_whitespaces");
  return make_gguf_tokenizer(vocab);
}

}  // namespace lowbit
