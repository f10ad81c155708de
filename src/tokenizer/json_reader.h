// Reads tokenizer.json (9 to 17 MB for Llama 3) without building a tree of its vocabulary.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lowbit {

struct TokenizerJson {
  nlohmann::json rest;  // everything but model.vocab and model.merges
  std::vector<std::pair<std::string, int64_t>> vocab;
  std::vector<std::pair<std::string, std::string>> merges;  // "a b" and ["a", "b"] alike
  bool vocab_is_object = false;                             // else it is some other model's
};

// Errors: not JSON, nested too deeply, a key twice, a merge or an id of another type.
TokenizerJson read_tokenizer_json(std::string_view text);

// An ordinary small JSON file (tokenizer_config.json), with the same errors.
nlohmann::json read_json(std::string_view text);

}  // namespace lowbit
