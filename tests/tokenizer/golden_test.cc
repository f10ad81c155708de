// Ids and decoded text equal those of tokenizers, tiktoken and sentencepiece.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cstring>
#include <sstream>

#include "base/file.h"
#include "base/hash.h"
#include "base/text.h"
#include "base/utf8.h"
#include "tokenizer/spec.h"
#include "tokenizer/strings.h"

namespace lowbit {
namespace {

std::unique_ptr<Tokenizer> open(const std::string& path) {
  const Bytes bytes = map_file(path);
  if (path.ends_with(".json")) return make_bpe_tokenizer(parse_tokenizer_json(path, bytes.text()));
  if (path.ends_with("llama2.model") || path.find("-spm") != std::string::npos) {
    return make_spm_tokenizer(parse_sentencepiece(path, bytes.text()));
  }
  return make_bpe_tokenizer(parse_tiktoken(path, bytes.text()));
}

uint8_t case_hash(const std::vector<int32_t>& ids, const std::string& text) {
  std::string bytes(4 * ids.size(), '\0');
  if (!ids.empty()) std::memcpy(bytes.data(), ids.data(), bytes.size());
  const uint64_t value = fnv1a(bytes + "\xff\xff\xff\xff" + text);
  return static_cast<uint8_t>((value ^ (value >> 32)) >> 24);
}

// The same strings as the script's, or no golden below means anything.
TEST(TokenizerGolden, StringsAreThoseOfTheOracle) {
  uint64_t hash = fnv1a("");
  for (const std::string& text : test_strings()) {
    const auto size = static_cast<uint32_t>(text.size());
    char prefix[4];
    std::memcpy(prefix, &size, sizeof(size));
    hash = fnv1a(text, fnv1a({prefix, 4}, hash));
  }
  EXPECT_EQ(fmt::format("{:016x}", hash), "10d735eedc23c0af");
}

struct Golden {
  std::string name;    // of NAME.hashes
  std::string path;    // of the tokenizer
  bool parse_special;  // what the oracle's call does
};

std::string here(const std::string& name, const std::string& file) {
  return golden_path(name + "/" + file);
}

std::vector<Golden> goldens() {
  const std::string files = "data/tokenizers/";
  return {
      {"tiny-spm", here("tiny-spm", "tokenizer.model"), false},
      {"tiny-spm-other", here("tiny-spm-other", "tokenizer.model"), false},
      {"tiny-tiktoken", here("tiny-tiktoken", "tokenizer.model"), false},
      {"tiny-llama3", here("tiny-llama3", "tokenizer.json"), false},
      {"tiny-llama3.special", here("tiny-llama3", "tokenizer.json"), true},
      {"tiny-gpt2", here("tiny-gpt2", "tokenizer.json"), true},
      {"tiny-mixed", here("tiny-mixed", "tokenizer.json"), true},
      {"tiny-llama2", here("tiny-llama2", "tokenizer.json"), true},
      {"tiny-metaspace", here("tiny-metaspace", "tokenizer.json"), true},
      {"prose-7m", LB_SOURCE_DIR "/models/prose-7m/tokenizer.json", true},
      {"llama2", shared_path(files + "llama2.model"), false},
      {"llama3", shared_path(files + "llama3.tiktoken"), false},
      {"llama3.special", shared_path(files + "llama3.tiktoken"), true},
      // Made by tokenizer_oracle.py --large-json: other files of the same tokenizers.
      {"llama2-json", shared_path(files + "llama2-json/tokenizer.json"), true},
      {"llama3", shared_path(files + "llama3-json/tokenizer.json"), false},
      {"llama3.special", shared_path(files + "llama3-json/tokenizer.json"), true},
  };
}

class TokenizerGolden : public testing::TestWithParam<Golden> {};

TEST_P(TokenizerGolden, TenThousandStringsEqualTheOracle) {
  const Golden& golden = GetParam();
  if (!file_exists(golden.path)) GTEST_SKIP() << golden.path << " is absent";
  const auto tokenizer = open(golden.path);
  const Bytes file = map_file(golden_path(golden.name + ".hashes"));
  const std::string_view expected = file.text();
  const std::vector<std::string>& strings = test_strings();
  ASSERT_EQ(expected.size(), strings.size());
  const bool takes_bytes = tokenizer->describe().starts_with("sentencepiece");
  int wrong = 0;
  for (size_t i = 0; i < strings.size(); ++i) {
    const std::string text = takes_bytes ? strings[i] : replace_invalid_utf8(strings[i]);
    const std::vector<int32_t> ids =
        tokenizer->encode(text, {.add_bos = false, .parse_special = golden.parse_special});
    const std::string decoded = replace_invalid_utf8(tokenizer->decode(ids));
    if (case_hash(ids, decoded) == static_cast<uint8_t>(expected[i])) continue;
    if (++wrong > 5) continue;
    ADD_FAILURE() << "tokenizer_oracle.py --show " << golden.name << " " << i << "\n"
                  << printable(text, 2000) << "\n"
                  << testing::PrintToString(ids) << "\n"
                  << printable(decoded, 2000);
  }
  EXPECT_EQ(wrong, 0);
}

INSTANTIATE_TEST_SUITE_P(All, TokenizerGolden, testing::ValuesIn(goldens()),
                         [](const auto& golden) {
                           std::string name = golden.param.name;
                           for (char& c : name) c = std::isalnum(c) ? c : '_';
                           const bool json =
                               golden.param.path.find("llama3-json") != std::string::npos;
                           return name + (json ? "_json" : "");
                         });

// data/tokenizers/NAME.inp and .out: cases between separator lines, a line of ids for each.
void check_published_cases(const std::string& name, const std::string& file) {
  const std::string folder = shared_path("data/tokenizers/");
  if (!file_exists(folder + file)) GTEST_SKIP() << folder + file << " is absent";
  const auto tokenizer = open(folder + file);
  const Bytes inputs = map_file(folder + name + ".inp");
  const Bytes outputs = map_file(folder + name + ".out");
  constexpr std::string_view kSeparator = "\n__ggml_vocab_test__\n";
  std::string_view rest = inputs.text();
  size_t cases = 0;
  for (const std::string_view line : split(outputs.text(), '\n')) {
    const size_t end = rest.find(kSeparator);
    if (end == std::string_view::npos) break;
    std::vector<int32_t> expected;
    std::istringstream ids{std::string(line)};
    for (int32_t id; ids >> id;) expected.push_back(id);
    EXPECT_EQ(tokenizer->encode(rest.substr(0, end), {.add_bos = false}), expected)
        << printable(rest.substr(0, end));
    rest.remove_prefix(end + kSeparator.size());
    ++cases;
  }
  EXPECT_GT(cases, 40u);
}

TEST(TokenizerGolden, PublishedLlama2Cases) { check_published_cases("llama2", "llama2.model"); }
TEST(TokenizerGolden, PublishedLlama3Cases) { check_published_cases("llama3", "llama3.tiktoken"); }

}  // namespace
}  // namespace lowbit
